"""Two minutes of real training on a GPU: generated pictures through the full loader, bfloat16.

    python tools/benchmarks/gpu_training.py

tools/train.py on PSPNet R-50 and crops of 512x1024, stopped by SIGTERM as a scheduler does it. From
its log: images a second, the share of a step that waits for data, and the loss, which must fall;
from nvidia-smi beside it: how busy the GPU was once training had begun.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import gpu_device as device
from gpu_bench import Bench

SECONDS, ENOUGH_LINES = 120.0, 10**9
HEIGHT, WIDTH, BATCH, DEPTH, INTERVAL = 512, 1024, 8, 50, 10
WORKERS = max(1, min(14, (os.cpu_count() or 2) - 2))
if device.REHEARSAL:
    HEIGHT, WIDTH, BATCH, DEPTH, INTERVAL, WORKERS, ENOUGH_LINES = 64, 96, 2, 18, 1, 1, 3
CONFIG = f"""
_base_ = '{device.ROOT}/configs/demo/pspnet_r18-d8_shapes.py'
size = ({HEIGHT}, {WIDTH})
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=size[::-1], ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')]
model = dict(
    data_preprocessor=dict(size=size),
    backbone=dict(depth={DEPTH}, stem_channels=64, base_channels=64),
    decode_head=dict(in_channels={512 if DEPTH == 18 else 2048}, channels=512),
    auxiliary_head=dict(in_channels={256 if DEPTH == 18 else 1024}, channels=256))
train_dataloader = dict(
    batch_size={BATCH}, num_workers={WORKERS},
    dataset=dict(size=size, pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=100000, by_epoch=False)]
train_cfg = dict(max_iters=100000, val_interval=100000)
default_hooks = dict(logger=dict(interval={INTERVAL}))
"""


def lines(work_dir: Path) -> list[dict]:
    """What the run has logged of its training steps."""
    found = [json.loads(line) for path in work_dir.rglob('scalars.json') for line in path.open()]
    return [line for line in found if 'loss' in line and 'data_time' in line]


def train(bench: Bench, case: str, work_dir: Path) -> None:
    config = work_dir / 'config.py'
    config.write_text(CONFIG)
    words = [sys.executable, str(device.ROOT / 'tools' / 'train.py'), str(config), '--work-dir']
    words += [str(work_dir / 'run'), '--amp', '--amp-dtype', 'bf16', '--no-validate', '--seed', '0']
    process = subprocess.Popen(words)
    try:

        def logged_or_ended(count: int) -> bool:
            return process.poll() is not None or len(lines(work_dir)) >= count

        device.watch(bench.left(), lambda: logged_or_ended(1))  # not busy before the first steps
        busy = device.watch(min(SECONDS, bench.left() - 10), lambda: logged_or_ended(ENOUGH_LINES))
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)
    finally:
        process.kill()
    logged = lines(work_dir)[1:]  # the first steps choose algorithms
    if not logged:
        raise RuntimeError(f'nothing was logged; status {status}')
    losses = [line['loss'] for line in logged]
    quarter = max(1, len(losses) // 4)
    first, last = (statistics.mean(part) for part in (losses[:quarter], losses[-quarter:]))
    seconds = statistics.median(line['time'] for line in logged)
    waiting = statistics.median(line['data_time'] / line['time'] for line in logged)
    good = status in (0, 75) and (last < first or device.REHEARSAL)
    note = f'status {status}, {logged[-1]["step"]} steps, loss {first:.3f} to {last:.3f}, '
    note += f'{waiting:.1%} of a step waiting for data, GPU busy {statistics.mean(busy):.0f} %, '
    note += f'{WORKERS} workers, {len(busy)} samples'
    bench.add(
        case, 'ok' if good else 'failed', ms=seconds * 1e3, fps=BATCH / seconds, note=note,
        mib=float(logged[-1].get('memory', 0)),
    )  # fmt: skip


def main() -> None:
    bench = Bench('training', __doc__)
    with tempfile.TemporaryDirectory() as folder:
        bench.run(f'PSPNet R-{DEPTH} {BATCH}x{HEIGHT}x{WIDTH} bf16', train, Path(folder))
    raise SystemExit(bench.status)


if __name__ == '__main__':
    main()
