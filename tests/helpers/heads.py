"""One checker for every decode head: a new head's test is its written-out formula and a line.

A head in float32 is compared with an oracle in float64, which reads the same parameters: logits,
losses, and the gradient of the input and of every parameter, with batch statistics and with fixed
ones. Legend: x (N, 16, h, w), labels 8 times as large.
"""

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.structures import PixelData, SegDataSample

Oracle = Callable[[nn.Module, Tensor], Tensor | tuple[Tensor, ...]]
Maps = Callable[[Tensor], list[Tensor]]
SMALL = {'in_channels': 16, 'channels': 8, 'num_classes': 5, 'norm_cfg': {'type': 'BN'}}
RELATIVE = 2e-4
IGNORED = 255


def samples_of(labels: Tensor, **metainfo: object) -> list[SegDataSample]:
    """Data samples for labels (N, H, W)."""
    samples = [SegDataSample(metainfo=metainfo) for _ in labels]
    for sample, label in zip(samples, labels):
        sample.gt_sem_seg = PixelData(data=label[None])
    return samples


def random_labels(n: int, size: Sequence[int], classes: int = 5) -> Tensor:
    """uint8 labels (N, H, W), a fifth of them ignored."""
    labels = torch.randint(0, classes, (n, *size), dtype=torch.uint8)
    return labels.masked_fill_(torch.rand(n, *size) < 0.2, IGNORED)


def with_random_state(head: nn.Module) -> nn.Module:
    """Values that make every term count (a factor left at 0 would hide its branch)."""
    with torch.no_grad():
        for name, value in [*head.named_parameters(), *head.named_buffers()]:
            if name.endswith(('running_var', 'bn.weight')):
                value.uniform_(0.5, 1.5)
            elif name.endswith(('running_mean', 'bias', 'scale')):
                value.normal_(0, 0.3)
            elif value.dim() == 4:
                value.normal_(0, (1 / value[0].numel()) ** 0.5)
    return head


def written_loss(logits: Tensor, labels: Tensor, align_corners: bool) -> Tensor:
    """The published loss: upsample, cross-entropy, mean over all pixels, ignored ones too."""
    wide = F.interpolate(logits, labels.shape[1:], mode='bilinear', align_corners=align_corners)
    total = F.cross_entropy(wide, labels.long(), ignore_index=IGNORED, reduction='sum')
    return total / labels.numel()


def assert_close(got: Tensor, want: Tensor, what: str, scale: float | None = None) -> None:
    """Within 2e-4 of the largest value (or of ``scale``)."""
    assert got.shape == want.shape, f'{what}: shape {tuple(got.shape)}, want {tuple(want.shape)}'
    scale = max(float(want.abs().max()), scale or 0.0)
    error = float((got.double() - want).abs().max())
    assert error <= RELATIVE * scale, f'{what}: off by {error:.2e} at a scale of {scale:.2e}'


def _all_of(out: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return out if isinstance(out, tuple) else (out,)


def _gradients(loss: Tensor, head: nn.Module, x: Tensor) -> dict[str, Tensor]:
    named = {'input': x, **dict(head.named_parameters())}
    return dict(zip(named, torch.autograd.grad(loss, list(named.values()))))


def only(x: Tensor) -> list[Tensor]:
    return [x]


def _compare(head: nn.Module, oracle: Oracle, x: Tensor, labels: Tensor, maps: Maps) -> None:
    """Logits, total loss and gradients, in the mode the head is in."""
    exact = copy.deepcopy(head).double()
    x, x64 = x.clone().requires_grad_(), x.double().requires_grad_()
    want = _all_of(oracle(exact, x64))
    losses = head.loss(maps(x), samples_of(labels))
    total = sum(value for name, value in losses.items() if 'loss' in name)
    want_total = sum(written_loss(out, labels, head.align_corners) for out in want)
    assert_close(total.detach(), want_total.detach(), 'loss')
    got, wanted = _gradients(total, head, x), _gradients(want_total, exact, x64)
    floor = 1e-2 * max(float(g.abs().max()) for g in wanted.values())  # some are 0 but for rounding
    for name, gradient in wanted.items():
        assert_close(got[name], gradient, f'gradient of {name}', floor)
    with torch.no_grad():
        for index, (out, exact_out) in enumerate(zip(_all_of(head(maps(x))), want)):
            assert_close(out, exact_out.detach(), f'logits {index}')


def check_head(
    cls: type[nn.Module],
    oracle: Oracle,
    size: Sequence[int] = (9, 10),
    batch: int = 2,
    maps: Maps = only,
    **kwargs: object,
) -> nn.Module:
    """Compare ``cls(**kwargs)`` with ``oracle(head64, x)``, then train it in bfloat16.

    ``maps`` makes what the head is fed of x; the oracle makes the same of its x.
    """
    torch.manual_seed(0)
    head = with_random_state(cls(**{**SMALL, 'dropout_ratio': 0, **kwargs}))
    x = torch.randn(batch, 16, *size)
    labels = random_labels(batch, [8 * s for s in size])
    for training in (True, False):
        _compare(head.train(training), oracle, x, labels, maps)
    _check_bfloat16(head, maps(x), labels)
    return head


def _check_bfloat16(head: nn.Module, inputs: list[Tensor], labels: Tensor) -> None:
    """Under autocast a few steps of SGD lower the loss, and gradients stay finite."""
    head.train()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.05)
    _check_bfloat16_prediction(head, inputs, labels)
    history = []
    for _ in range(4):
        optimizer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            losses = head.loss(inputs, samples_of(labels))
        total = sum(value for name, value in losses.items() if 'loss' in name)
        total.backward()
        assert all(p.grad.isfinite().all() for p in head.parameters())
        optimizer.step()
        history.append(float(total.detach()))
    assert history[-1] < history[0], f'no progress under bfloat16: {history}'


def _check_bfloat16_prediction(head: nn.Module, inputs: list[Tensor], labels: Tensor) -> None:
    """Within a few units of bfloat16 of the float32 prediction."""
    head.eval()
    metas = [{'img_shape': tuple(labels.shape[1:])}] * len(labels)
    with torch.no_grad():
        want = head.predict(inputs, metas)
        with torch.autocast('cpu', torch.bfloat16):
            got = head.predict(inputs, metas)
    head.train()
    assert (got - want).abs().max() <= 0.05 * want.abs().max()


def upsampled(low: Tensor, x: Tensor, align_corners: bool) -> Tensor:
    """``low`` at the size of ``x``, as the written-out heads do it."""
    return F.interpolate(low, x.shape[2:], mode='bilinear', align_corners=align_corners)
