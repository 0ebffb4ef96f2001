# Shared by dist_*.sh, which start torchrun and pass on signals and exit status, and slurm_*.sh.

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
PYTHON="${PYTHON:-python}"

free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}

# Nodes must agree on a port, so only a job on one node may pick any free one.
choose_port() {
    if [ -n "${PORT:-}" ]; then
        echo "$PORT"
    elif [ "${NNODES:-1}" = 1 ]; then
        free_port
    else
        echo 29500
    fi
}

# run_torchrun GPUS SCRIPT ARGS...
run_torchrun() {
    local gpus="$1" code_file
    shift
    code_file="$(mktemp)"
    export SEGKIT_EXIT_FILE="$code_file"
    "$PYTHON" -m torch.distributed.run \
        --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="$(choose_port)" \
        --nproc_per_node="$gpus" --max_restarts="${MAX_RESTARTS:-0}" \
        "$@" --launcher pytorch &
    local child=$!
    # torchrun ends its workers on SIGTERM only: SIGUSR1 is passed on as that, once.
    trap 'kill -TERM $child 2>/dev/null' TERM USR1
    trap 'kill -INT $child 2>/dev/null' INT
    local status=0
    wait "$child" || status=$?
    while kill -0 "$child" 2>/dev/null; do
        status=0
        wait "$child" || status=$?
    done
    # torchrun turns every failure into 1; the run says here when it wants to be started again.
    if [ -s "$code_file" ]; then
        status="$(cat "$code_file")"
    fi
    rm -f "$code_file"
    return "$status"
}

# become_srun PARTITION JOB_NAME SCRIPT ARGS...: one task a GPU. This very process becomes srun, so
# that its process id, in the background too, is the one to signal.
become_srun() {
    local partition="$1" job_name="$2"
    shift 2
    local gpus="${GPUS:-4}"
    local per_node="${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}"
    # shellcheck disable=SC2086  # SRUN_ARGS holds several arguments
    exec srun --partition="$partition" --job-name="$job_name" \
        --gres="gpu:$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "$PYTHON" -u "$@" --launcher slurm
}
