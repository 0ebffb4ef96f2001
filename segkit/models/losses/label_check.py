"""Labels a loss cannot digest, found before it sees them.

A label outside [0, K) that is not the ignored one reads beyond the logits: an obscure error on a
CPU, a device-side assert that takes the process down on a GPU. Legend: label (N, 1, H, W), K
classes. On a CPU a batch is checked at once. On a GPU reading the verdict would stall the stream,
so strays are turned into ignored pixels (nothing asserts) and the verdict is copied in the
background. A Runner reads it at the end of the iteration (``NonFiniteLossHook``), since it reads
the losses there anyway; without one it is read with a later batch, once it has arrived, and
``flush`` after the last batch reads the rest.
"""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from .utils import fits, labelled

MAX_PENDING = 64  # batches; a GPU lags behind by far fewer
CURES = (
    'If the labels count classes from 1 and keep 0 for "unlabelled", set reduce_zero_label=True '
    'in the dataset; if other values stand for classes (masks of 0 and 255, or city ids), map '
    'them with label_map={value: class} in the metainfo; else correct num_classes.'
)
BINARY_CURE = 'num_classes=2, out_channels=1 and loss_decode.use_sigmoid=True'


def _strays(label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Where the label is neither a class nor ignored; bool, of the label's shape."""
    bad = labelled(label, ignore_index)
    if num_classes <= torch.iinfo(label.dtype).max:  # a uint8 255 cannot reach 256 classes
        bad &= label >= num_classes
    else:
        bad.zero_()
    if label.dtype.is_signed:
        bad |= (label < 0) & labelled(label, ignore_index)
    return bad


def _files(meta: dict) -> str:
    """The files of one sample, as far as its metainfo tells."""
    label, image = meta.get('seg_map_path'), meta.get('img_path')
    if label is None:
        return f'The label map of {image}' if image else 'A label map'
    return f'Label map {label}' + (f' (image {image})' if image else '')


def _message(label: Tensor, num_classes: int, ignore_index: int, metas: Sequence[dict]) -> str:
    """The sentence for the first sample that holds strays."""
    bad = _strays(label, num_classes, ignore_index)
    first = int(bad.flatten(1).any(1).nonzero()[0])
    one, meta = label[first], metas[first]
    values = one[bad[first]].unique().tolist()
    shown = ', '.join(map(str, values[:10])) + (', ...' if len(values) > 10 else '')
    few = [int(v) for v in one.unique().tolist()]
    hint = ''
    if len(few) == 2 and few[0] == 0 and few[1] != num_classes:
        hint = f' It looks like a binary mask: label_map={{{few[1]}: 1}} reads it.'
    elif values == [num_classes] and num_classes > 1:
        hint = f' The only one is {num_classes}, as when classes are counted from 1.'
    binary = f'Background and one class are two classes: set {BINARY_CURE} in the heads.'
    cures = binary if num_classes == 1 else CURES
    return (
        f'{_files(meta)} holds the value(s) {shown}, but the head has num_classes={num_classes}: '
        f'a label is 0..{num_classes - 1}, or {ignore_index} for ignored.{hint} {cures}'
    )


def _metas(data_samples: Sequence | None, count: int) -> list[dict]:
    """Metainfo of each sample; empty where there is none."""
    if data_samples is None:
        return [{}] * count
    return [dict(getattr(sample, 'metainfo', {})) for sample in data_samples]


def check_labels(
    label: Tensor, num_classes: int, ignore_index: int = 255, data_samples: Sequence | None = None
) -> None:
    """Raise ValueError naming file, values and cure if a label is neither a class nor ignored.

    Reads the verdict at once, which synchronises on a GPU; ``LabelCheck`` does not.
    """
    if bool(_strays(label, num_classes, ignore_index).any()):
        metas = _metas(data_samples, len(label))
        raise ValueError(_message(label, num_classes, ignore_index, metas))


class LabelCheck:
    """The check of a head: at once on a CPU, some batches late and without a stall on a GPU."""

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self._pending: deque[tuple] = deque()

    def __getstate__(self) -> dict:
        """A copy or pickle starts without the batch under way (CUDA events cannot be copied)."""
        return {**self.__dict__, '_pending': deque()}

    def __call__(self, label: Tensor, data_samples: Sequence | None = None) -> Tensor:
        """The label, safe to index with; ValueError for this batch, on a GPU for an earlier one.

        It comes back in the dtype it has, or as int64 where that cannot hold ``ignore_index``.
        """
        if not fits(self.ignore_index, label.dtype):
            label = label.long()
        if not label.is_cuda:
            check_labels(label, self.num_classes, self.ignore_index, data_samples)
            return label
        self.flush(wait=len(self._pending) >= MAX_PENDING)
        bad = _strays(label, self.num_classes, self.ignore_index)
        verdict = torch.empty((), dtype=torch.bool, pin_memory=True)
        verdict.copy_(bad.any(), non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(label.device))
        self._pending.append((done, verdict, label, _metas(data_samples, len(label))))
        return label.masked_fill(bad, self.ignore_index)

    def flush(self, wait: bool = True) -> None:
        """Read the verdicts under way; without ``wait``, those that have arrived.

        Raises ValueError for the first batch that held strays.
        """
        while self._pending and (wait or self._pending[0][0].query()):
            done, verdict, label, metas = self._pending.popleft()
            done.synchronize()
            if bool(verdict):
                raise ValueError(_message(label, self.num_classes, self.ignore_index, metas))
