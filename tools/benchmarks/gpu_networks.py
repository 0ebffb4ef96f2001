"""Whole networks on a GPU, inference and training step, beside the same networks written out.

    python tools/benchmarks/gpu_networks.py

Every network of configs/ with ResNet-50 where it has one, on random images: image to classes, and
losses, gradients and SGD step. Written out: maps upsampled and concatenated, attention with its
matrix in memory, logits upsampled before loss, accuracy and argmax. ``error`` is the difference of
the two networks' logits. A row is below its bar if the written-out form is faster.
"""

import copy
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

import gpu_device as device
import torch
import torch.nn.functional as F
from bench_pam import written_out as written_pixel_attention
from gpu_bench import Bench
from gpu_cases import random_labels, samples_of, small
from torch import Tensor, nn
from written_out import to_classes, written_attention

from segkit.engine.config import load_config
from segkit.engine.config_files import shipped_home
from segkit.engine.model_setup import NETWORK_PARTS
from segkit.models.decode_heads import BaseDecodeHead
from segkit.models.inference.fuse import speed_up
from segkit.models.layers import resize_to, revert_sync_bn
from segkit.models.losses import accuracy
from segkit.registry import MODELS

Variant = tuple[bool, bool, bool]  # channels_last, bf16, compiled
FAST, COMPILED = (True, True, False), (True, True, True)
HALF, FLOAT32 = (False, True, False), (False, False, False)
MODES = ('inference', 'training step')
FIRST = ('psanet', 'pspnet', 'danet', 'isanet', 'fcn')
SIZES, BATCH = [(512, 1024), (769, 769)], 4  # of a training step
if device.REHEARSAL:
    FIRST, SIZES, BATCH = ('psanet', 'isanet'), [(40, 56)], 2


def concatenated(
    module: nn.Module, x: Tensor, lows: Sequence[Tensor], align_corners: bool, first: bool = False
) -> Tensor:
    """``join_upsampled`` as the papers have it."""
    wide = [resize_to(low, x.shape[2:], align_corners) for low in lows]
    return module(torch.cat([*wide, x] if first else [x, *wide], dim=1))


def attention(
    value: Tensor, feat: Tensor, weight: Tensor, psa_type: str, mask_size: tuple,
    softmax: bool = True, scale: float = 1.0, save_attention: bool = True,
) -> Tensor:  # fmt: skip
    """``psa_attention`` with its over-complete map."""
    return written_attention(value, feat, weight, psa_type, mask_size) * scale


def dot_product_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``F.scaled_dot_product_attention`` with its matrix in memory."""
    logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return logits.softmax(-1).to(value.dtype) @ value


def losses(head: BaseDecodeHead, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Cross-entropy and accuracy of logits at label size."""
    wide, label = head._resize(logits.float(), label.shape[2:]), label.squeeze(1).long()
    loss = F.cross_entropy(wide, label, ignore_index=head.ignore_index, reduction='none').mean()
    accurate = accuracy(wide, label, ignore_index=head.ignore_index)
    return {'loss_ce': loss * head._each_loss()[0].loss_weight, 'acc_seg': accurate}


FORMS = {
    'join_upsampled': concatenated, 'psa_attention': attention,
    'pixel_attention': written_pixel_attention,
}  # fmt: skip


@contextmanager
def written_out() -> Iterator[None]:
    """Heads compute as the papers write them, wherever they took a form of ours from."""
    heads = [m for name, m in sys.modules.items() if name.startswith('segkit.models.decode_heads.')]
    with ExitStack() as stack:
        for module in heads:
            for name in FORMS.keys() & vars(module).keys():
                stack.enter_context(patch.object(module, name, FORMS[name]))
        stack.enter_context(patch.object(BaseDecodeHead, 'losses', losses))
        stack.enter_context(patch.object(F, 'scaled_dot_product_attention', dot_product_attention))
        yield


def configs() -> dict[str, Path]:
    """Folder of configs -> its ResNet-50 for crops of Cityscapes, or its first."""
    folders = {path.name: sorted(path.glob('*.py')) for path in shipped_home().iterdir()}
    rest = sorted(folders.keys() - {*FIRST, '_base_', 'demo'})
    order = [*FIRST, *([] if device.REHEARSAL else rest)]
    found = {name: [p for p in folders[name] if 'r50-d8_512x1024' in p.name] for name in order}
    return {name: (found[name] or folders[name])[0] for name in order if folders[name]}


@lru_cache(maxsize=1)
def built(config: Path, variant: Variant) -> tuple[nn.Module, nn.Module]:
    """A network twice, with the switches of the variant."""
    cfg = load_config(config).model
    torch.manual_seed(0)
    with torch.device(device.DEVICE):
        model = MODELS.build(small(cfg) if device.REHEARSAL else {**cfg, 'pretrained': None})
        model.init_weights()
    channels_last, bf16, compiled = variant
    model = speed_up(revert_sync_bn(model), channels_last=channels_last, bf16=bf16)
    both = model, copy.deepcopy(model)
    for each in both if compiled else ():
        for part in NETWORK_PARTS:
            if hasattr(each, part):
                getattr(each, part).compile(backend=device.COMPILER)
    return both


def training(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """One step of SGD, at a rate that leaves the weights as they are."""
    optimizer, samples = torch.optim.SGD(model.parameters(), lr=0.0), samples_of(labels)

    def step() -> None:
        optimizer.zero_grad()
        with model.precision(images):
            found = model(images, samples, mode='loss')
        sum(value.sum() for name, value in found.items() if 'loss' in name).backward()
        optimizer.step()

    return step


def inference(model: nn.Module, images: Tensor, written: bool) -> Callable[[], object]:
    """Images to classes."""

    def classes() -> object:
        if not written:
            return model.predict(images)
        with torch.no_grad(), model.precision(images):
            logits = model(images)
        size = (images.shape[2], images.shape[3])
        return to_classes(logits[0].float(), size, size, model.align_corners)

    return classes


def within(context: Callable, call: Callable[[], object]) -> Callable[[], object]:
    def inside() -> object:
        with context():
            return call()

    return inside


def network(
    bench: Bench, case: str, config: Path, size: tuple[int, int], mode: str, variant: Variant
) -> None:
    model, other = (each.eval() for each in built(config, variant))
    train = mode == MODES[1]
    images = torch.randn(BATCH if train else 1, 3, *size, device=device.DEVICE)
    images = images.contiguous(memory_format=model.memory_format)
    with torch.no_grad(), model.precision(images):
        ours = model(images).float()
        with written_out():
            error = float((other(images).float() - ours).norm() / ours.norm())
    if not error < 0.25:
        raise ValueError(f'the two networks differ by {error:.1e}')
    labels = random_labels(size, model.num_classes, BATCH).to(device.DEVICE)
    if train:
        calls = [training(each.train(), images, labels) for each in (model, other)]
    else:
        calls = [inference(each, images, each is other) for each in (model, other)]
    calls[1] = within(written_out, calls[1])
    bench.compare(case, *calls, 1.0, len(images), error=error)


def main() -> None:
    bench, every, done = Bench('networks', __doc__), configs(), set()
    torch.backends.cudnn.benchmark = True
    plan = [(FAST, FIRST, SIZES, MODES), (COMPILED, FIRST[1:2], SIZES[:1], MODES[:1])]
    plan += [(FLOAT32, FIRST, SIZES[:1], MODES), (FAST, every, SIZES, MODES)]
    plan += [(variant, every, SIZES, MODES) for variant in (HALF, FLOAT32, COMPILED)]
    for variant, names, sizes, modes in plan[: 2 if device.REHEARSAL else None]:
        switches = zip(('channels_last', 'bf16', 'compiled'), variant)
        words = ' '.join(name for name, on in switches if on) or 'float32'
        for name, size, mode in itertools.product(names, sizes, modes):
            case = f'{name} {mode} {size[0]}x{size[1]} {words}'
            if case not in done:
                bench.run(case, network, every[name], size, mode, variant)
            done.add(case)
    raise SystemExit(bench.status)


if __name__ == '__main__':
    main()
