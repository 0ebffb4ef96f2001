#!/usr/bin/env bash
# Train under Slurm, one task a GPU:
#     [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#         tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
# Works from a login node (srun makes the allocation) and inside an sbatch script. A job that Slurm
# stops is saved and, inside sbatch --requeue, put back into the queue; it goes on where it was.
if [ $# -lt 3 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
source "$(dirname "${BASH_SOURCE[0]}")/launch_lib.sh"
PARTITION="$1"
JOB_NAME="$2"
CONFIG="$3"
shift 3
# A requeued job starts from the top: it must find its checkpoint, or start as it is told at first.
case " $* " in
    *" --resume"* | *" --auto-resume "*) ;;
    *) set -- "$@" --resume ;;
esac
become_srun "$PARTITION" "$JOB_NAME" "$HERE/train.py" "$CONFIG" "$@" &
STEP=$!
# srun passes SIGUSR1 on to the tasks and goes on waiting for them.
trap 'kill -USR1 $STEP 2>/dev/null' TERM USR1
STATUS=0
wait "$STEP" || STATUS=$?
while kill -0 "$STEP" 2>/dev/null; do
    STATUS=0
    wait "$STEP" || STATUS=$?
done
if [ "$STATUS" = 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$STATUS"
