#!/usr/bin/env bash
# All that a GPU has to say about segkit, in about nine minutes: docs/cuda_extension.md.
#     [PYTHON=python3] [WHEELS=folder] [OUT=folder] [TOTAL=540] [REHEARSE=1] bash gpu_check.sh
# WHEELS: what that Python lacks (`make gpu-wheels`), put beside the installation, not into it.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
PYTHON="$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)')"
SCRATCH="$(mktemp -d)"
trap 'rm -rf "$SCRATCH"' EXIT
export OUT="${OUT:-$ROOT/gpu_results}" TMPDIR="$SCRATCH" PYTHONPATH="$ROOT" PYTHONUNBUFFERED=1
export SEGKIT_GPU_REHEARSAL="${REHEARSE:-0}" PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
export PATH="$PATH:/usr/local/cuda/bin" # compute-sanitizer and ncu, where the toolkit is
if [ -n "${WHEELS:-}" ]; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir \
        --target "$SCRATCH/site" "$WHEELS"/*.whl
    PYTHONPATH="$PYTHONPATH:$SCRATCH/site"
fi
cd "$ROOT"
status=0
if [ "$SEGKIT_GPU_REHEARSAL" = 1 ]; then
    export OMP_NUM_THREADS=1 SEGKIT_GPU_LINES="$SCRATCH/lines"
    mkdir "$SEGKIT_GPU_LINES"
    "$PYTHON" tools/benchmarks/gpu_lines.py tools/benchmarks/gpu_check.py || status=$?
    "$PYTHON" tools/benchmarks/gpu_lines.py || status=$?
else
    "$PYTHON" tools/benchmarks/gpu_check.py || status=$?
fi
exit "$status"
