"""A training step of UPerNet with segkit and with segmentation_models.pytorch, in turn.

    python tools/benchmarks/bench_camvid_step.py --weights lite0.pth [--csv]

The network and the batch of docs/camvid.md: forward, loss, backward, AdamW. Needs
segmentation_models_pytorch.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from harness import interleaved, run
from torch import Tensor, nn
from torch.nn import functional

from segkit.registry import MODELS
from segkit.structures import PixelData, SegDataSample


def stepping(network: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(network.train().parameters(), 1e-4)

    def step() -> None:
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def measure(args: argparse.Namespace) -> Iterable[dict]:
    from camvid import CLASSES, CONFIG, VOID, smp_network

    from segkit.engine.config import load_config
    from segkit.engine.model_setup import use_channels_last

    model = load_config(str(CONFIG)).model
    model.backbone.pretrained = str(args.weights)
    model.decode_head.norm_cfg = dict(type='BN')
    ours, theirs = use_channels_last(MODELS.build(model)), smp_network(args.weights)
    images = torch.randn(4, 3, 256, 256).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (4, 1, 256, 256), dtype=torch.uint8)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    target = labels.squeeze(1).long()
    calls = {
        'segkit': stepping(ours, lambda: ours.loss(images, samples)['decode.loss_ce']),
        'smp': stepping(
            theirs, lambda: functional.cross_entropy(theirs(images), target, ignore_index=VOID)
        ),
    }
    seconds = interleaved(calls, args.repeats, warmup=2)
    for name, network in (('segkit', ours), ('smp', theirs)):
        yield {
            'toolbox': name,
            'parameters': sum(p.numel() for p in network.parameters()),
            'CPU s a step': f'{seconds[name]:.3f}',
            'speed-up': f'{seconds["smp"] / seconds[name]:.2f}',
        }


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--weights', type=Path, required=True)


if __name__ == '__main__':
    run(__doc__, {'camvid_step': measure}, repeats=7, add=add)
