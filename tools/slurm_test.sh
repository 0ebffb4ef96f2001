#!/usr/bin/env bash
# Test under Slurm, one task a GPU:
#     [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#         tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
if [ $# -lt 4 ]; then
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
source "$(dirname "${BASH_SOURCE[0]}")/launch_lib.sh"
PARTITION="$1"
JOB_NAME="$2"
CONFIG="$3"
CHECKPOINT="$4"
shift 4
run_srun "$PARTITION" "$JOB_NAME" "$HERE/test.py" "$CONFIG" "$CHECKPOINT" "$@"
exit "$STATUS"
