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
run_srun "$PARTITION" "$JOB_NAME" "$HERE/train.py" "$CONFIG" "$@"
# Put the job back; of a job array this task alone, where the id of the job would mean all of them.
# One that is ending for another reason than its time was cancelled, and stays away, or was put back
# by hand.
if [ "$STATUS" = "$REQUEUE" ] && [ -n "${SLURM_JOB_ID:-}" ]; then
    JOB="$SLURM_JOB_ID"
    [ -z "${SLURM_ARRAY_JOB_ID:-}" ] || JOB="${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    NOW="$(scontrol show job "$JOB" 2>/dev/null)"
    if [[ "$NOW" =~ JobState=(COMPLETING|CANCELLED) && "$NOW" != *Reason=TimeLimit* ]]; then
        echo "job $JOB was cancelled or requeued by hand: saved, and not put back from here" >&2
    else
        scontrol requeue "$JOB"
    fi
fi
exit "$STATUS"
