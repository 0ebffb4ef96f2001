"""The attention of chosen pixels, read from a head while it runs.

``probe(head)`` listens to the features a head's attention is made of and afterwards computes
the rows that were asked for, with the head's own layers. Nothing in the head changes.

- PSAHead (ECCV 2018): ``collect``, what the pixel gathers from each other; ``distribute``, what it
  sends to each other. Both are predicted by the pixel itself, as in the paper's figure 6.
- DAHead (arXiv:1809.02983): ``position``, softmax over all pixels of <query, key>.
- ISAHead (arXiv:1907.12273): ``interlaced``, both sparse steps multiplied out: pixels of its own
  block, each with the pixels at the same place of all other blocks.

Legend: maps (h, w) on the head's attention grid; a point is (row, column) as shares of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segkit.errors import UserError

if TYPE_CHECKING:
    from segkit.models.decode_heads import DAHead, ISAHead, PSAHead

Point = tuple[float, float]
Read = Callable[[Sequence[Point]], dict[str, list[Tensor]]]


class NoAttentionError(UserError):
    """The head has no attention over pixels."""


@contextmanager
def probe(head: nn.Module) -> Iterator[Read]:
    """Listen to ``head`` inside the block; then ``read(points)`` gives name -> (h, w) maps.

    Raises:
        NoAttentionError: there is nothing to listen to in this kind of head.
    """
    kind = next((_PROBES[c.__name__] for c in type(head).__mro__ if c.__name__ in _PROBES), None)
    if kind is None:
        raise NoAttentionError(
            f'{type(head).__name__} has no attention over pixels; choose a network with one of '
            f'{", ".join(_PROBES)}.'
        )
    kept: dict[str, Tensor] = {}
    modules, read = kind(head)
    handles = [
        module.register_forward_hook(lambda _, args, out, n=name: kept.update({n: (args[0], out)}))
        for name, module in modules.items()
    ]
    try:
        yield torch.no_grad()(lambda points: read(head, kept, points))
    finally:
        for handle in handles:
            handle.remove()


def _place(point: Point, size: Sequence[int]) -> tuple[int, int]:
    row, column = (min(n - 1, int(share * n)) for share, n in zip(point, size))
    return row, column


def _psa(head: PSAHead) -> tuple[dict, Callable]:
    if head.psa_type == 'bi-direction':
        return {'collect': head.attention[0], 'distribute': head.attention_p[0]}, _read_psa
    return {head.psa_type: head.attention[0]}, _read_psa


def _read_psa(head: PSAHead, kept: dict, points: Sequence[Point]) -> dict[str, list[Tensor]]:
    from segkit.models.layers import is_plain
    from segkit.ops import psa_logits, psa_mask

    maps = {}
    for direction, (_, feat) in kept.items():
        size = feat.shape[2:]
        second = direction == 'distribute' and head.psa_type == 'bi-direction'
        predictor: Any = (head.attention_p if second else head.attention)[1]
        if head.compact:
            # Channels are the others: (other, own) -> (own, other).
            pairs = predictor(feat)[0].flatten(1).t()
        elif is_plain(predictor):
            pairs = psa_logits(feat[:1], predictor.weight, head.mask_size)[0]
        else:  # somebody's own: (own, other)
            pairs = psa_mask(predictor(feat[:1]), 'distribute', head.mask_size)[0].flatten(1)
        if head.psa_softmax:
            pairs = pairs.softmax(1 if direction == 'collect' else 0)
        maps[direction] = [pairs[_index(p, size)].reshape(*size) for p in points]
    return maps


def _index(point: Point, size: Sequence[int]) -> int:
    row, column = _place(point, size)
    return row * size[1] + column


def _dual(head: DAHead) -> tuple[dict, Callable]:
    return {'query': head.pam.query_project, 'key': head.pam.key_project}, _read_dual


def _read_dual(head: DAHead, kept: dict, points: Sequence[Point]) -> dict[str, list[Tensor]]:
    query, key = kept['query'][1][0], kept['key'][1][0]
    size = query.shape[1:]
    query, key = query.flatten(1), key.flatten(1)
    rows = [(query[:, _index(p, size)] @ key).softmax(0).reshape(*size) for p in points]
    return {'position': rows}


def _interlaced(head: ISAHead) -> tuple[dict, Callable]:
    blocks = {'far': head.global_relation, 'near': head.local_relation}
    names = {
        f'{name}.{part}': getattr(block, f'{part}_project')
        for name, block in blocks.items()
        for part in ('query', 'key')
    }
    return {'input': head.in_conv, **names}, _read_interlaced


def _read_interlaced(head: ISAHead, kept: dict, points: Sequence[Point]) -> dict[str, list[Tensor]]:
    h, w = kept['input'][1].shape[2:]
    ph, pw = head.down_factor
    far, near = (_weights(kept[f'{n}.query'][1], kept[f'{n}.key'][1]) for n in ('far', 'near'))
    qh, qw = kept['far.query'][1].shape[2:]
    far = far[: ph * pw]  # the first image: (P pixels of a block, Q blocks own, Q blocks other)
    top, left = (qh * ph - h) // 2, (qw * pw - w) // 2
    maps = []
    for point in points:
        row, column = _place(point, (h, w))
        row, column = row + top, column + left
        block = row // ph * qw + column // pw
        inside = near[block][row % ph * pw + column % pw]  # (P,)
        both = inside[:, None] * far[:, block]  # (P, Q): pixel of a block, block
        full = both.reshape(ph, pw, qh, qw).permute(2, 0, 3, 1).reshape(qh * ph, qw * pw)
        maps.append(full[top : top + h, left : left + w])
    return {'interlaced': maps}


def _weights(query: Tensor, key: Tensor) -> Tensor:
    """(G, D, h, w) twice -> (G, L, L) softmax over the last."""
    query, key = query.flatten(2), key.flatten(2)
    return torch.softmax(query.transpose(1, 2) @ key * query.shape[1] ** -0.5, dim=-1)


_PROBES: dict[str, Callable] = {'PSAHead': _psa, 'DAHead': _dual, 'ISAHead': _interlaced}
