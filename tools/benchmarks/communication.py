#!/usr/bin/env python
"""What data-parallel training of each network sends per step, and for how long, on paper.

    python tools/benchmarks/communication.py        writes results/communication.csv, prints a table

Nothing is timed: networks are built of tensors without memory, parameters are counted and the
operations of a forward pass added up. Model of a step, per GPU:

    compute      3 x forward (backward costs two forwards) / sustained rate
    gradients    ring all-reduce: 2 (n - 1) / n x 4 bytes x parameters / slowest link's bandwidth;
                 hidden behind the backward pass, two thirds of the compute, as far as it fits
    SyncBN       two exchanges a layer (statistics forward, their gradients backward), each of a
                 few kilobytes: latency alone, log2(n) hops, and nothing to hide behind
"""

import argparse
import csv
import math
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CONFIGS = (
    'fcn_r50-d8_512x1024_80k_cityscapes',
    'pspnet_r50-d8_512x1024_80k_cityscapes',
    'pspnet_r101-d8_512x1024_80k_cityscapes',
    'psanet_r50-d8_512x1024_80k_cityscapes',
    'psanet_r101-d8_512x1024_80k_cityscapes',
    'danet_r50-d8_512x1024_80k_cityscapes',
    'danet_r101-d8_512x1024_80k_cityscapes',
    'isanet_r50-d8_512x1024_80k_cityscapes',
    'isanet_r101-d8_512x1024_80k_cityscapes',
)
RATE = 100e12  # operations a second that a current GPU sustains on these convolutions in bf16
IN_NODE = 200e9  # bytes a second over NVLink, as an all-reduce sees them
# A ring crosses the link between two nodes once, whatever the number of GPUs in a node.
BETWEEN = 40e9  # bytes a second through one 400 Gb/s InfiniBand card a node
ETHERNET = 2.8e9  # bytes a second through 25 Gb/s Ethernet
HOP = 6e-6  # seconds a small message takes
PLACES = ((8, IN_NODE, ''), (64, BETWEEN, ''), (512, BETWEEN, ''), (64, ETHERNET, '_25GbE'))
RESULTS = Path(__file__).parent / 'results' / 'communication.csv'


def measure(name: str) -> dict:
    """Parameters, operations per image and SyncBN layers of a shipped config."""
    import torch
    from torch._subclasses import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    from segkit.engine.config import load_config
    from segkit.registry import MODELS

    cfg = load_config(name)
    model_cfg = dict(cfg.model, pretrained=None, data_preprocessor=None)
    with FakeTensorMode():
        model = MODELS.build(model_cfg).eval()
        image = torch.empty(1, 3, *cfg.crop_size)
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            maps = model.backbone(image)
            model.decode_head(maps)
            model.auxiliary_head(maps)
    parameters = sum(p.numel() for p in model.parameters())
    layers = sum(isinstance(m, torch.nn.SyncBatchNorm) for m in model.modules())
    batch = cfg.train_dataloader.batch_size
    return dict(config=name, parameters=parameters, flops=counter.get_total_flops() * batch,
                sync_bn_layers=layers, batch_per_gpu=batch)  # fmt: skip


def step(row: dict, gpus: int, bandwidth: float) -> tuple[float, float, float]:
    """(compute, exposed gradient exchange, SyncBN) in seconds."""
    compute = 3 * row['flops'] / RATE
    exchange = 2 * (gpus - 1) / gpus * 4 * row['parameters'] / bandwidth
    sync_bn = 2 * row['sync_bn_layers'] * math.ceil(math.log2(gpus)) * HOP
    return compute, max(0.0, exchange - compute * 2 / 3), sync_bn


def with_times(row: dict) -> dict:
    """``row`` with its times in milliseconds and its efficiencies."""
    row = dict(row, gradient_MB=round(4 * row['parameters'] / 1e6, 1))
    row['compute_ms'] = round(1e3 * step(row, 8, IN_NODE)[0], 1)
    for gpus, bandwidth, suffix in PLACES:
        compute, exposed, sync_bn = step(row, gpus, bandwidth)
        sent = 2 * (gpus - 1) / gpus * 4 * row['parameters']
        row[f'exchange_ms_{gpus}{suffix}'] = round(1e3 * sent / bandwidth, 1)
        row[f'sync_bn_ms_{gpus}{suffix}'] = round(1e3 * sync_bn, 1)
        share = compute / (compute + exposed + sync_bn)
        row[f'efficiency_{gpus}{suffix}'] = round(share, 2)
    return row


def table(rows: list[dict]) -> str:
    """The Markdown table of docs/clusters.md."""
    head = ['network', 'gradients, MB', 'compute, ms']
    head += [f'exchange / SyncBN, ms; efficiency: {p[2][1:] or "InfiniBand"}, {p[0]} GPUs'
             for p in PLACES]  # fmt: skip
    head[3] = head[3].replace('InfiniBand', 'NVLink')
    lines = ['| ' + ' | '.join(head) + ' |', '| --- |' + ' ---: |' * (len(head) - 1)]
    for row in rows:
        cells = [row['config'].split('-d8')[0], str(row['gradient_MB']), str(row['compute_ms'])]
        for gpus, _, suffix in PLACES:
            key = f'{gpus}{suffix}'
            times = f'{row[f"exchange_ms_{key}"]} / {row[f"sync_bn_ms_{key}"]}'
            cells.append(f'{times}; {row[f"efficiency_{key}"]}')
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=RESULTS)
    args = parser.parse_args()
    rows = [with_times(measure(name)) for name in CONFIGS]
    print(table(rows))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with open(args.out, 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


if __name__ == '__main__':
    main()
