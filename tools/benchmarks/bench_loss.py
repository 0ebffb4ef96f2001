"""The loss of a head by bands against the written-out one: upsampling, cross-entropy, accuracy.

Forward and backward for two images. Memory is what the call needs beside logits and labels.

    python tools/benchmarks/bench_loss.py [--device cuda] [--repeats 5] [--csv]
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness import interleaved, peak_memory, run
from torch import Tensor

from segkit.models.losses import CrossEntropyLoss, accuracy

CASES = {
    'Cityscapes 2x19x512x1024': (19, 512, 1024),
    'ADE20K 2x150x512x512': (150, 512, 512),
}
IGNORED = 255


def make_inputs(case: str, device: str) -> tuple[Tensor, Tensor]:
    """Logits at an eighth of the label's size, and labels with a tenth ignored."""
    torch.manual_seed(0)
    classes, height, width = CASES[case]
    logits = torch.randn(2, classes, height // 8, width // 8, device=device, requires_grad=True)
    labels = torch.randint(0, classes, (2, height, width), device=device, dtype=torch.uint8)
    return logits, labels.masked_fill_(torch.rand(labels.shape, device=device) < 0.1, IGNORED)


def written_out(logits: Tensor, labels: Tensor, with_accuracy: bool) -> None:
    """What mmsegmentation runs."""
    wide = F.interpolate(logits, labels.shape[1:], mode='bilinear', align_corners=False)
    labels = labels.long()
    F.cross_entropy(wide, labels, ignore_index=IGNORED, reduction='none').mean().backward()
    if with_accuracy:
        accuracy(wide, labels, ignore_index=IGNORED)


def by_bands(logits: Tensor, labels: Tensor, with_accuracy: bool) -> None:
    """segkit's."""
    loss = CrossEntropyLoss().forward_small(logits, labels, IGNORED, accurate=with_accuracy).loss
    loss.backward()


FORMS = {'written out': written_out, 'by bands': by_bands}


def prepare(case: str, form: str, with_accuracy: bool = True, device: str = 'cpu') -> Callable:
    """The call that ``peak_memory`` measures, once warm on something small."""
    warm = torch.randn(1, 3, 4, 4, device=device, requires_grad=True)
    FORMS[form](warm, torch.zeros(1, 32, 32, device=device, dtype=torch.uint8), with_accuracy)
    inputs = make_inputs(case, device)
    return lambda: FORMS[form](*inputs, with_accuracy)


def measure(case: str, with_accuracy: bool, device: str, repeats: int) -> dict:
    """One row of the table."""
    calls = {form: prepare(case, form, with_accuracy, device) for form in FORMS}
    seconds = interleaved(calls, repeats, device=device)
    arguments = {'case': case, 'with_accuracy': with_accuracy, 'device': device}
    mib = {form: peak_memory(__file__, 'prepare', form=form, **arguments) for form in FORMS}
    old, new = FORMS
    return {
        'case': case,
        'accuracy': 'yes' if with_accuracy else 'no',
        'written out ms': round(1e3 * seconds[old], 1),
        'bands ms': round(1e3 * seconds[new], 1),
        'time ratio': round(seconds[new] / seconds[old], 3),
        'written out MiB': round(mib[old], 1),
        'bands MiB': round(mib[new], 1),
        'memory ratio': round(mib[new] / mib[old], 3),
    }


def rows(args: argparse.Namespace) -> list[dict]:
    pairs = [(case, accurate) for case in CASES for accurate in (True, False)]
    return [measure(*pair, args.device, args.repeats) for pair in pairs]


if __name__ == '__main__':
    run(__doc__, {'loss_{device}': rows})
