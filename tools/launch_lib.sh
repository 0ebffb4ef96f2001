# Shared by dist_*.sh, which start torchrun, and slurm_*.sh, which start srun: both pass signals on
# and end with the status of the run.

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
PYTHON="${PYTHON:-python}"
REQUEUE=75 # saved after a signal: start again with --resume

free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}

# Nodes must agree on a port, so only a job on one node may pick any free one.
choose_port() {
    if [ -n "${PORT:-${MASTER_PORT:-}}" ]; then
        echo "${PORT:-$MASTER_PORT}"
    elif [ "${NNODES:-1}" = 1 ]; then
        free_port
    else
        echo 29500
    fi
}

# follow COMMAND...: run it, pass signals on, and leave how the run ended in STATUS.
# torchrun turns every failure into 1, and srun gives the largest status of its tasks: the ranks
# write theirs into a file. It lies where the job was started, which all nodes see.
follow() {
    local pass_on="$1" signalled='' child
    shift
    SEGKIT_EXIT_FILE="$(mktemp -p "$PWD" .segkit_exit.XXXXXXXX 2>/dev/null || mktemp)"
    export SEGKIT_EXIT_FILE
    "$@" &
    child=$!
    trap 'signalled=1; kill -s "$pass_on" "$child" 2>/dev/null' \
        TERM USR1 USR2 XCPU HUP
    trap 'signalled=1; kill -s INT "$child" 2>/dev/null' INT
    STATUS=0
    wait "$child" || STATUS=$?
    while kill -0 "$child" 2>/dev/null; do
        STATUS=0
        wait "$child" || STATUS=$?
    done
    STATUS="$(how_it_ended "$STATUS" "$signalled")"
    rm -f "$SEGKIT_EXIT_FILE"
}

# how_it_ended STATUS SIGNALLED: a rank that failed decides, then one that saved; a run that was
# signalled before its Python could listen (143, 138, ...) had nothing to save.
how_it_ended() {
    local said
    said="$(cat "$SEGKIT_EXIT_FILE" 2>/dev/null)"
    case "$1" in 0 | 134 | 137 | 139) echo "$1"; return ;; esac
    if grep -qx 1 <<<"$said"; then
        echo 1
    elif grep -qx "$REQUEUE" <<<"$said"; then
        echo "$REQUEUE"
    elif grep -qx 130 <<<"$said"; then
        echo 130
    elif [ -n "$2" ]; then
        case "$1" in 1 | 129 | 138 | 140 | 143 | 152) echo "$REQUEUE" ;; *) echo "$1" ;; esac
    else
        echo "$1"
    fi
}

# run_torchrun GPUS SCRIPT ARGS...: torchrun ends its workers on SIGTERM only, so SIGUSR1 is passed
# on as that.
run_torchrun() {
    local gpus
    case "$1" in
        auto | gpu | cpu) gpus="$1" ;;
        *) gpus="$(number GPUS "$1")" || exit 2 ;;
    esac
    shift
    follow TERM "$PYTHON" -m torch.distributed.run \
        --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="$(choose_port)" \
        --nproc_per_node="$gpus" --max_restarts="${MAX_RESTARTS:-0}" \
        "$@" --launcher pytorch
}

# number NAME VALUE: the value, if it is a number from 1 on; arithmetic would run what is hidden in
# another, and take one that begins with 0 for octal.
number() {
    case "$2" in
        '' | 0* | *[!0-9]*) echo "$1=$2 is not a number from 1 on" >&2; return 1 ;;
        *) echo "$2" ;;
    esac
}

# run_srun PARTITION JOB_NAME SCRIPT ARGS...: one task a GPU. srun passes SIGUSR1 on to the tasks
# and goes on waiting for them; SIGTERM would end it.
run_srun() {
    local partition="$1" job_name="$2"
    shift 2
    local gpus per_node
    gpus="$(number GPUS "${GPUS:-4}")" || exit 2
    per_node="$(number GPUS_PER_NODE "${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}")" || exit 2
    # shellcheck disable=SC2046,SC2086  # several words each, none of them a file pattern
    follow USR1 srun --partition="$partition" --job-name="$job_name" \
        $(gres_words "$partition" "$per_node") --ntasks="$gpus" --ntasks-per-node="$per_node" \
        --cpus-per-task="$(cpus_per_task "$partition" "$per_node")" --kill-on-bad-exit=1 \
        ${SRUN_ARGS:-} "$PYTHON" -u "$@" --launcher slurm
}

# gres_words PARTITION PER_NODE: a partition without GPUs is asked for none.
gres_words() {
    case "$(sinfo -h -p "$1" -o '%G' 2>/dev/null | sort -u)" in
        '(null)') ;;
        *) echo "--gres=gpu:$2" ;;
    esac
}

# cpus_per_task PARTITION PER_NODE: 5, or what the smallest node of the partition has for each.
cpus_per_task() {
    local cores=''
    if [ -n "${CPUS_PER_TASK:-}" ]; then
        echo "$CPUS_PER_TASK"
        return
    fi
    cores="$(sinfo -h -p "$1" -N -o '%c' 2>/dev/null | sort -n | head -n 1)"
    case "$cores" in '' | *[!0-9]*) cores=$((5 * $2)) ;; esac
    cores=$((cores / $2))
    echo $((cores < 1 ? 1 : cores < 5 ? cores : 5))
}
