"""What a label says to a loss: which pixels count, and values that no loss can digest.

A label outside [0, K) that is not the ignored one reads beyond the logits: an obscure error on a
CPU, a device-side assert that takes the process down on a GPU. Here is the one sentence for it
(``stray_sentence``), wherever it is found: in a head, before the first steps, in a look at the
whole data set, in the metric.

A head checks a batch at once on a CPU. On a GPU reading the verdict would stall the stream, so
strays are turned into ignored pixels (nothing asserts) and the verdict is copied in the background.
A Runner reads it at the end of the iteration (``NonFiniteLossHook``), since it reads the losses
there anyway; without one it is read with a later batch, once it has arrived, and ``flush`` after
the last batch reads the rest.

Legend: label (N, 1, H, W) or any other shape, K classes.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segkit.errors import UserError
from segkit.models.layers import at_least_float32

MAX_PENDING = 64  # batches; a GPU lags behind by far fewer
MOST_SHOWN = 10
BINARY_CURE = 'num_classes=2, out_channels=1 and loss_decode.use_sigmoid=True'
EPS = torch.finfo(torch.float32).eps


def fits(value: int, dtype: torch.dtype) -> bool:
    """Whether labels of this dtype can hold the value."""
    if dtype.is_floating_point or dtype == torch.bool:
        return True
    info = torch.iinfo(dtype)
    return info.min <= value <= info.max


def comparable(label: Tensor) -> Tensor:
    """The label, as int64 where torch stores its dtype and can hardly compute with it."""
    return label.long() if label.dtype in (torch.uint16, torch.uint32, torch.uint64) else label


def labelled(label: Tensor, ignore_index: int | None) -> Tensor:
    """Where the label is not ``ignore_index``, of which None is no label; bool, of its shape.

    torch wraps the number into the dtype: 156 of uint8 would count as the -100 it cannot hold.
    """
    if ignore_index is not None and fits(ignore_index, label.dtype):
        return label != ignore_index
    return torch.ones_like(label, dtype=torch.bool)


def average_factor(
    label: Tensor, class_weight: Tensor | None, ignore_index: int | None, avg_non_ignore: bool
) -> float | Tensor:
    """What the mean over pixels divides by; a tensor unless it is known without looking.

    All pixels, ignored ones included: the published weights were trained so, and
    ``avg_non_ignore`` switches to the labelled ones. With class weights (K,) the sum of the pixels'
    weights, as torch has it; an ignored pixel then counts 1 in the default mode, so that weights
    of 1 change nothing.
    """
    if class_weight is None and not avg_non_ignore:
        return label.numel()
    valid = labelled(label, ignore_index)
    if class_weight is None:
        return valid.sum()
    weights = at_least_float32(class_weight)[(label * valid).long()]
    return torch.where(valid, weights, 0.0 if avg_non_ignore else 1.0).sum()


def percent(correct: Tensor, total: Tensor) -> Tensor:
    """Hits over total in percent, shape (1,); with nothing labelled it reads 100, as published."""
    return ((correct.float() + EPS) * 100.0 / (total.float() + EPS)).reshape(1)


def strays(label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Where the label is neither a class nor ignored; bool, of the label's shape."""
    label = comparable(label)
    bad = labelled(label, ignore_index)
    outside = torch.zeros_like(bad)
    if label.is_floating_point():
        outside |= label != label.trunc()
    if fits(num_classes, label.dtype):  # a uint8 255 cannot reach 256 classes
        outside |= label >= num_classes
    if label.dtype.is_signed:
        outside |= label < 0
    return bad & outside


def stray_sentence(
    outside: Sequence[int],
    present: Sequence[int],
    num_classes: int,
    ignore_index: int = 255,
    where: str = '',
    shifted: bool = False,
    set_aside: int | None = None,
) -> str:
    """What is wrong with labels that hold the values ``outside``, and what to do.

    Args:
        outside: the stray values, as the loss sees them, rising.
        present: all values that the labels hold, strays and ignored ones among them.
        where: on how many pixels or images, as in ' on 12 pixels'.
        shifted: ``reduce_zero_label`` moved the stored values down by one: those are shown.
        set_aside: the ignore_index of the dataset, which may be another.
    """
    shown = ', '.join(str(value + shifted) for value in outside[:MOST_SHOWN])
    shown += ', ...' if len(outside) > MOST_SHOWN else ''
    zero = ', nor 0, which reduce_zero_label ignores' if shifted else ''
    return (
        f'label value(s) {shown}{where} are neither one of the {num_classes} classes '
        f'({int(shifted)} to {num_classes - 1 + shifted}) nor ignored ({ignore_index}){zero}. '
        + _cure(list(outside), present, num_classes, ignore_index, shifted, set_aside)
    )


def _cure(
    outside: list[int],
    present: Sequence[int],
    k: int,
    ignored: int,
    shifted: bool,
    set_aside: int | None,
) -> str:
    """Settings that read such labels, each under the name and in the place where it works."""
    values = sorted(set(present) - {ignored})
    only = outside[0] if len(outside) == 1 else None
    if set_aside in outside:
        return (
            f'The dataset ignores {set_aside}, as its padding does: set ignore_index={set_aside} '
            f'in all heads and the metric, or ignore_index={ignored} in the dataset.'
        )
    if shifted:
        key = 'stored value - 1' if only is None else str(only)
        return (
            'If the labels count classes from 0, leave reduce_zero_label out of the dataset; if '
            f'they hold further ids, set label_map={{{key}: class}} in the dataset, whose keys are '
            'the values after reduce_zero_label.'
        )
    if outside[0] < 0:
        return (
            f'No image file holds a negative value: where a transform or a dataset of your own '
            f'sets it for pixels that do not count, let it set {ignored}, or set '
            f'ignore_index={outside[0]} in the dataset, all heads and the metric.'
        )
    mask = f'set label_map={{{only}: 1}} in the dataset' if values in ([only], [0, only]) else ''
    if k == 1 and (only == 1 or mask):
        more = f', and {mask}' if only != 1 else ''
        return f'Background and one class are two classes: set {BINARY_CURE} in the heads{more}.'
    if only == k and 0 not in values:
        sure = values == list(range(1, k + 1))
        return f'They count from 1: {_ZERO}.' if sure else f'If they count from 1, {_ZERO}.'
    if k == 2 and mask:
        return f'They look like a mask: {mask}.'
    if only == k:
        return (
            f'If 0 means "unlabelled", {_ZERO}; if {k} is a class of its own, there are {k + 1}: '
            'set num_classes in all heads, and the classes of the dataset.'
        )
    if only is not None:
        return (
            f'If {only} marks what does not count, set label_map={{{only}: {ignored}}} in the '
            f'dataset, or ignore_index={only} in the dataset, all heads and the metric; else set '
            f'label_map={{{only}: class}} in the dataset, or correct num_classes in all heads.'
        )
    return (
        f'If they count classes from 1 and keep 0 for "unlabelled", {_ZERO}; if other values '
        'stand for classes, set label_map={stored value: class} in the dataset; else correct '
        'num_classes in all heads.'
    )


_ZERO = 'set reduce_zero_label=True in the dataset'


def mask_cure(ignored: int) -> str:
    """What to do where an ignored value may be that of the objects in masks."""
    return f'If {ignored} marks the objects, set label_map={{{ignored}: 1}} in the dataset.'


def ignored_apart(meta: Any, num_classes: int, ignore_index: int, who: str) -> str:
    """What is to be said where the dataset of a sample ignores what ``who`` takes for a class; ''
    where they agree. (Where it is no class, it is a stray.)"""
    own = meta.get('ignore_index', None)
    if own is None or own == ignore_index or not 0 <= own < num_classes:
        return ''
    return (
        f'The dataset ignores label {own}, {who} {ignore_index}: {own} counts as a class there. '
        'Set one ignore_index in the dataset, all heads and the metric.'
    )


def stray_message(label: Tensor, num_classes: int, ignore_index: int, meta: object) -> str:
    """The sentence for one label map that holds strays, with its files as far as ``meta`` (a
    data sample or its metainfo, asked by ``get``) tells; '' if it holds none."""
    label = comparable(label)
    bad = strays(label, num_classes, ignore_index)
    count = int(bad.sum())
    if not count:
        return ''
    get = getattr(meta, 'get', lambda key, default=None: default)
    path, image = get('seg_map_path', None), get('img_path', None)
    file = f'Label map {path}' if path else 'The label map' if image else 'A label map'
    file += f' (image {image})' if path and image else f' of {image}' if image else ''
    said = stray_sentence(
        label[bad].unique().tolist(),
        [int(value) for value in label.unique().tolist()],
        num_classes,
        ignore_index,
        f' on {count} pixel(s)',
        bool(get('reduce_zero_label', False)),
        get('ignore_index', None),
    )
    return f'{file}: {said}'


def _metas(data_samples: Sequence | None, count: int) -> list[dict]:
    """Metainfo of each sample; empty where there is none."""
    if data_samples is None:
        return [{}] * count
    return [dict(getattr(sample, 'metainfo', {})) for sample in data_samples]


def _first_message(
    label: Tensor, num_classes: int, ignore_index: int, metas: Sequence[dict]
) -> str:
    """The sentence for the first sample that holds strays."""
    said = (stray_message(one, num_classes, ignore_index, meta) for one, meta in zip(label, metas))
    return next(filter(None, said))


def check_labels(
    label: Tensor, num_classes: int, ignore_index: int = 255, data_samples: Sequence | None = None
) -> None:
    """Raise UserError naming file, values and cure if a label is neither a class nor ignored.

    Reads the verdict at once, which synchronises on a GPU; ``LabelCheck`` does not.
    """
    if bool(strays(label, num_classes, ignore_index).any()):
        metas = _metas(data_samples, len(label))
        raise UserError(_first_message(label, num_classes, ignore_index, metas))


class LabelCheck:
    """The check of a head: at once on a CPU, some batches late and without a stall on a GPU."""

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self._pending: deque[tuple] = deque()

    def __getstate__(self) -> dict:
        """A copy or pickle starts without the batch under way (CUDA events cannot be copied)."""
        return {**self.__dict__, '_pending': deque()}

    def __call__(self, label: Tensor, data_samples: Sequence | None = None) -> Tensor:
        """The label, safe to index with; UserError for this batch, on a GPU for an earlier one.

        It comes back in the dtype it has, or as int64 where that cannot hold ``ignore_index``.
        """
        label = comparable(label)
        if not fits(self.ignore_index, label.dtype):
            label = label.long()
        if not label.is_cuda:
            check_labels(label, self.num_classes, self.ignore_index, data_samples)
            return label
        self.flush(wait=len(self._pending) >= MAX_PENDING)
        bad = strays(label, self.num_classes, self.ignore_index)
        verdict = torch.empty((), dtype=torch.bool, pin_memory=True)
        verdict.copy_(bad.any(), non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(label.device))
        self._pending.append((done, verdict, label, _metas(data_samples, len(label))))
        return label.masked_fill(bad, self.ignore_index)

    def flush(self, wait: bool = True) -> None:
        """Read the verdicts under way; without ``wait``, those that have arrived.

        Raises UserError for the first batch that held strays.
        """
        while self._pending and (wait or self._pending[0][0].query()):
            done, verdict, label, metas = self._pending.popleft()
            done.synchronize()
            if bool(verdict):
                raise UserError(_first_message(label, self.num_classes, self.ignore_index, metas))
