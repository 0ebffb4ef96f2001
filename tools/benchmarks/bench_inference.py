"""Time and memory of testing around the network, and of PSPNet, against the written-out path.

    python tools/benchmarks/bench_inference.py [--repeats 5] [--csv]

For every case the ratio of medians (how many times faster), of peak
memory (share of the written-out path's), and how many pixels differ. Logits are random maps: what
is counted here does not depend on them.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import written_out
from harness import interleaved, peak_memory, run
from torch import Tensor

from segkit.models.inference.logits import Geometry, ImageLogits, Logits
from segkit.models.inference.sliding_window import window_boxes
from segkit.models.inference.views import merge_views

BUDGET = 1 << 30
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
Call = Callable[[], Tensor]

# name: classes, network input, original image, align_corners
WHOLE = {
    'classes 19 x 1024 x 2048': (19, (1024, 2048), (1024, 2048), False),
    'classes 19, 1025 x 2049 to 1024 x 2048': (19, (1025, 2049), (1024, 2048), True),
    'classes 150 x 512 x 683': (150, (512, 683), (512, 683), False),
    'classes 150, 512 x 768 to 2000 x 3000': (150, (512, 768), (2000, 3000), False),
}
VIEWS = {
    'ms+flip 19 x 1024 x 2048': (19, (1024, 2048), (1024, 2048), False),
    'ms+flip 150 x 512 x 683': (150, (512, 683), (512, 683), False),
}
SLIDE = 'sliding, 8 windows of 769'
PSPNET = 'PSPNet R-50-D8, 512 x 512'


def _small(classes: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Logits on the grid of one eighth."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((classes, -(-size[0] // 8), -(-size[1] // 8)), generator=generator) * 3


def whole(name: str, variant: str) -> Call:
    classes, size, ori_shape, align = WHOLE[name]
    small = _small(classes, size)
    if variant == 'written out':
        return lambda: written_out.to_classes(small, size, ori_shape, align)
    logits = ImageLogits(Logits(small[None], size, align), Geometry(ori_shape))
    return lambda: logits.classes(0.3, BUDGET)[0]


def slide(name: str, variant: str) -> Call:
    size, ori_shape = (1025, 2049), (1024, 2048)
    boxes = window_boxes(size, (769, 769), (513, 513))
    small = torch.stack([_small(19, (769, 769), seed) for seed in range(len(boxes))])
    if variant == 'written out':
        return lambda: written_out.slide_to_classes(small, boxes, size, ori_shape, True)
    windows = Logits(small, (769, 769), True).placed(boxes, size)
    logits = ImageLogits(windows, Geometry(ori_shape))
    return lambda: logits.classes(0.3, BUDGET)[0]


def views(name: str, variant: str) -> Call:
    classes, base, ori_shape, align = VIEWS[name]
    sizes = [(int(base[0] * r + 0.5), int(base[1] * r + 0.5)) for r in RATIOS]
    # Views come from a network one by one; small logits made beforehand would count as kept.
    each = [(size, mirrored, seed) for seed, size in enumerate(sizes) for mirrored in (0, 1)]

    def plain() -> Tensor:
        made = ((_small(classes, size, seed), size, flip) for size, flip, seed in each)
        return written_out.merge_views(list(made), ori_shape, align)

    def lean() -> Tensor:
        made = (
            ImageLogits(
                Logits(_small(classes, size, seed)[None], size, False),
                _view_geometry(ori_shape, flip),
            )
            for size, flip, seed in each
        )
        budget = BUDGET if variant == 'default' else 0
        return merge_views(made, budget).classes(0.3, budget)[0]

    return plain if variant == 'written out' else lean


def _view_geometry(ori_shape: tuple[int, int], mirrored: bool) -> Geometry:
    return Geometry(ori_shape, flip='horizontal' if mirrored else None, flip_last=True)


def pspnet(name: str, variant: str) -> Call:
    """Image to classes with the published ADE20K architecture on random weights."""
    from mmengine.config import Config

    from segkit.models.inference.fuse import speed_up
    from segkit.models.layers import revert_sync_bn
    from segkit.registry import MODELS

    root = Path(__file__).resolve().parents[2]
    cfg = Config.fromfile(root / 'configs/pspnet/pspnet_r50-d8_512x512_80k_ade20k.py')
    torch.manual_seed(0)
    model = revert_sync_bn(MODELS.build({**cfg.model, 'pretrained': None}))
    model.init_weights()
    image = torch.randn(1, 3, 512, 512)
    _calibrate(model, image)
    if variant == 'written out':
        return torch.no_grad()(lambda: _written_out_pspnet(model, image))
    folded = variant == 'folded, channels_last, bf16'
    speed_up(model, fuse_bn=folded, channels_last=folded, bf16=folded)
    return lambda: model.predict(image)[0].pred_sem_seg.data[0]


def _calibrate(model: torch.nn.Module, image: Tensor) -> None:
    """Statistics from the image itself, and a classifier whose classes differ by pixel.

    The pooled branches keep their statistics: over one pooled value a batch has hardly any
    variance, and a norm would blow rounding up to the size of the signal.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    model.train().decode_head.psp_modules.eval()
    with torch.no_grad():
        model.decode_head(model.extract_feat(image.repeat(2, 1, 1, 1)))
    model.eval()


def _written_out_pspnet(model: torch.nn.Module, image: Tensor) -> Tensor:
    small = written_out.written_psp_head(model.decode_head, model.backbone(image)[-1])
    return written_out.to_classes(small[0], (512, 512), (512, 512), False)


CASES = {
    **dict.fromkeys(WHOLE, (whole, ('default',))),
    SLIDE: (slide, ('default',)),
    **dict.fromkeys(VIEWS, (views, ('default', 'above the memory budget'))),
    PSPNET: (pspnet, ('default', 'folded, channels_last, bf16')),
}


def prepare(name: str, variant: str) -> Call:
    """What `peak_memory` runs in a process of its own."""
    torch.set_num_threads(1)
    return CASES[name][0](name, variant)


def measure(name: str, repeats: int) -> list[dict]:
    build, variants = CASES[name]
    calls = {variant: build(name, variant) for variant in ('written out', *variants)}
    results = {variant: call().clone() for variant, call in calls.items()}
    seconds = interleaved(calls, repeats, warmup=0)
    peaks = {v: peak_memory(__file__, 'prepare', name=name, variant=v) for v in calls}
    rows = []
    for variant in variants:
        differ = (results[variant].long() != results['written out']).sum().item()
        rows.append(
            {
                'case': name,
                'variant': variant,
                'times faster': f'{seconds["written out"] / seconds[variant]:.2f}',
                'share of memory': f'{peaks[variant] / peaks["written out"]:.3f}',
                'pixels that differ': differ,
                'of pixels': results[variant].numel(),
                'written out s': f'{seconds["written out"]:.3f}',
                'written out MiB': f'{peaks["written out"]:.0f}',
            }
        )
    return rows


def rows(args: argparse.Namespace) -> list[dict]:
    return [row for name in CASES for row in measure(name, args.repeats)]


if __name__ == '__main__':
    run(__doc__, {'inference': rows})
