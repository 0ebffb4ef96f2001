"""A whole training step of PSPNet R-50 against the same network with its head written out.

Written out: the pooled maps are upsampled and concatenated before the bottleneck, and the logits
upsampled before loss and accuracy, as mmsegmentation does it. Backbone and weights are shared.

    python tools/benchmarks/bench_train_step.py [--device cuda] [--size 256 256] [--csv]
"""

import argparse
from collections.abc import Callable, Sequence

import torch
from harness import interleaved, peak_memory, run
from torch import Tensor, nn
from written_out import joined

from segkit.models.backbones import ResNetV1c
from segkit.models.decode_heads import BaseDecodeHead, FCNHead, PSPHead
from segkit.models.losses import accuracy, cross_entropy
from segkit.structures import PixelData, SegDataSample

NORM = {'type': 'BN'}


class _WrittenLoss(BaseDecodeHead):
    """Mixin: upsample the logits, keep them, classify their pixels."""

    def losses(self, seg_logit: Tensor, seg_label: Tensor) -> dict[str, Tensor]:
        wide, label = self._resize(seg_logit, seg_label.shape[2:]), seg_label.squeeze(1).long()
        weight = self.loss_decode.loss_weight
        loss = weight * cross_entropy(wide, label, ignore_index=self.ignore_index)
        return {'loss_ce': loss, 'acc_seg': accuracy(wide, label, ignore_index=self.ignore_index)}


class WrittenFCNHead(_WrittenLoss, FCNHead):
    """The auxiliary head."""


class WrittenPSPHead(_WrittenLoss, PSPHead):
    """Pyramid pooling with the concatenation."""

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        x = inputs[self.in_index]
        return joined(self, [x, *(module(x) for module in self.psp_modules)], False)


HEADS = {'written out': (WrittenPSPHead, WrittenFCNHead), 'segkit': (PSPHead, FCNHead)}


def make_network(form: str, classes: int) -> nn.ModuleDict:
    """Backbone, decode head and auxiliary head of the published PSPNet R-50."""
    torch.manual_seed(0)
    decode, auxiliary = HEADS[form]
    common = {'num_classes': classes, 'norm_cfg': NORM, 'dropout_ratio': 0.1}
    aux_loss = {'type': 'CrossEntropyLoss', 'loss_weight': 0.4}
    return nn.ModuleDict(
        {
            'backbone': ResNetV1c(
                depth=50, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), norm_cfg=NORM,
                contract_dilation=True,
            ),
            'decode': decode(in_channels=2048, channels=512, in_index=3, **common),
            'aux': auxiliary(
                in_channels=1024, channels=256, in_index=2, num_convs=1, concat_input=False,
                loss_decode=aux_loss, **common,
            ),
        }
    )  # fmt: skip


def prepare(
    form: str, size: Sequence[int], classes: int = 150, batch: int = 2, device: str = 'cpu'
) -> Callable[[], None]:
    """One step: forward, losses, backward, SGD."""
    network = make_network(form, classes).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    images = torch.randn(batch, 3, *size, device=device)
    labels = torch.randint(0, classes, (batch, 1, *size), device=device, dtype=torch.uint8)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]

    def step() -> None:
        optimizer.zero_grad()
        maps = network['backbone'](images)
        losses = [network[name].loss(maps, samples)['loss_ce'] for name in ('decode', 'aux')]
        sum(losses).backward()
        optimizer.step()

    return step


def measure(args: argparse.Namespace) -> dict:
    """The row of the table."""
    case = {
        'size': args.size,
        'classes': args.classes,
        'batch': args.batch,
        'device': args.device,
    }
    calls = {form: prepare(form, **case) for form in HEADS}
    seconds = interleaved(calls, args.repeats, device=args.device)
    mib = {form: peak_memory(__file__, 'prepare', form=form, **case) for form in HEADS}
    old, new = HEADS
    return {
        'network': 'PSPNet R-50',
        'input': f'{args.batch}x3x{args.size[0]}x{args.size[1]}',
        'classes': args.classes,
        'written out s': round(seconds[old], 2),
        'segkit s': round(seconds[new], 2),
        'speed-up': round(seconds[old] / seconds[new], 2),
        'written out MiB': round(mib[old]),
        'segkit MiB': round(mib[new]),
        'memory ratio': round(mib[new] / mib[old], 2),
    }


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--size', type=int, nargs=2, default=[256, 256])
    parser.add_argument('--classes', type=int, default=150)
    parser.add_argument('--batch', type=int, default=2)


if __name__ == '__main__':
    run(__doc__, {'train_step_{device}': lambda args: [measure(args)]}, 3, add)
