"""ISAHead against explicit loops over blocks and places, in float64."""

import pytest
import torch
import torch.nn.functional as F
from helpers.heads import check_head

from segkit.models.decode_heads import ISAHead


def relation(block, x, groups):
    """One relation on x (N, C, H, W); norms see the whole batch, as in the head."""
    n, c, h, w = x.shape
    q, k, v = (p(x) for p in (block.query_project, block.key_project, block.value_project))
    out = torch.zeros_like(v).flatten(2)
    for image in range(n):
        for pixels in groups:
            own, other, values = (t[image].flatten(1)[:, pixels] for t in (q, k, v))
            weights = (own.T @ other / own.shape[0] ** 0.5).softmax(dim=1)
            out[image][:, pixels] = values @ weights.T
    return block.output_project(out.reshape(n, c, h, w))


def written(head, x):
    x = head.in_conv(x)
    (h, w), (ph, pw) = x.shape[2:], head.down_factor
    more_h, more_w = -h % ph, -w % pw
    padding = (more_w // 2, more_w - more_w // 2, more_h // 2, more_h - more_h // 2)
    padded = F.pad(x, padding)
    big_h, big_w = padded.shape[2:]
    index = torch.arange(big_h * big_w).reshape(big_h, big_w)
    same_place = [index[i::ph, j::pw].flatten() for i in range(ph) for j in range(pw)]
    same_block = [
        index[i : i + ph, j : j + pw].flatten()
        for i in range(0, big_h, ph)
        for j in range(0, big_w, pw)
    ]
    out = relation(head.global_relation, padded, same_place)
    out = relation(head.local_relation, out, same_block)
    out = out[:, :, more_h // 2 : more_h // 2 + h, more_w // 2 : more_w // 2 + w]
    return head.conv_seg(head.out_conv(torch.cat([out, x], dim=1)))


@pytest.mark.parametrize(
    ('size', 'down_factor'),
    [((8, 12), (4, 4)), ((9, 10), (4, 3)), ((5, 6), (8, 8)), ((11, 7), (2, 5))],
    ids=['divisible', 'odd padding', 'smaller than a block', 'mixed'],
)
@pytest.mark.parametrize('align_corners', [False, True])
def test_matches_loops_over_blocks(size, down_factor, align_corners):
    check_head(
        ISAHead,
        written,
        size=size,
        isa_channels=4,
        down_factor=down_factor,
        align_corners=align_corners,
    )
