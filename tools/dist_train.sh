#!/usr/bin/env bash
# Train on the GPUs of one or several machines through torchrun:
#     tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# On several machines run it on each, with NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR and PORT.
# Without a GPU the GPUS processes run on the CPU.
# Exit status 75: stopped by a signal after saving; start again with --resume.
if [ $# -lt 2 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
source "$(dirname "${BASH_SOURCE[0]}")/launch_lib.sh"
CONFIG="$1"
GPUS="$2"
shift 2
run_torchrun "$GPUS" "$HERE/train.py" "$CONFIG" "$@"
exit "$STATUS"
