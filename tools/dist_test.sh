#!/usr/bin/env bash
# Test on the GPUS of one or several machines through torchrun:
#     tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
# NNODES, NODE_RANK, MASTER_ADDR and PORT as for tools/dist_train.sh.
if [ $# -lt 3 ]; then
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
source "$(dirname "${BASH_SOURCE[0]}")/launch_lib.sh"
CONFIG="$1"
CHECKPOINT="$2"
GPUS="$3"
shift 3
run_torchrun "$GPUS" "$HERE/test.py" "$CONFIG" "$CHECKPOINT" "$@"
exit "$STATUS"
