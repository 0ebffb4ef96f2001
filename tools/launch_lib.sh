# Shared by dist_train.sh and dist_test.sh: starts torchrun and passes on signals and exit status.

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
