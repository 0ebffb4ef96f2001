"""The registered operators: schema, fake tensors, autograd, torch.compile, torch.export."""

import pytest
import torch
from helpers.psa_oracle import random_case
from torch import nn
from torch.export import Dim

from segkit.ops import PSAMask, psa_attention, psa_logits, psa_mask

GEOMETRIES = [((3, 4), (5, 7)), ((3, 4), (3, 3)), ((3, 4), (4, 8))]  # full, truncated, even
OPS = torch.ops.segkit


@pytest.mark.parametrize('mode', [0, 1])
@pytest.mark.parametrize(('size', 'mask'), GEOMETRIES)
def test_mask_passes_opcheck(size, mask, mode):
    windows = torch.randn(1, mask[0] * mask[1], *size, requires_grad=True)
    pairs = torch.randn(1, size[0] * size[1], *size, requires_grad=True)
    torch.library.opcheck(OPS.psa_mask.default, (windows, mode, *mask))
    torch.library.opcheck(OPS.psa_mask_backward.default, (pairs, mode, *mask))


@pytest.mark.parametrize('collect', [True, False])
@pytest.mark.parametrize(
    ('size', 'mask', 'softmax', 'save'),
    [
        ((3, 4), (5, 7), True, False),
        ((3, 4), (3, 3), True, True),
        ((3, 4), (4, 8), False, False),
    ],
)
def test_attention_passes_opcheck(size, mask, softmax, save, collect):
    case = random_case(size, mask, channels=2, n=1)
    torch.library.opcheck(OPS.psa_attention.default, (*case, collect, *mask, softmax, save))


@pytest.mark.parametrize('save', [True, False])
def test_backward_operators_pass_opcheck(save):
    mask = (4, 8)
    case = [t.detach() for t in random_case((3, 4), mask, channels=2, n=1)]
    result = OPS.psa_attention(*case, True, *mask, True, save)
    arguments = (result[0], *case, *result, True, *mask, True)
    torch.library.opcheck(OPS.psa_attention_backward.default, arguments)
    pairs = OPS.psa_logits(*case[1:], *mask)
    torch.library.opcheck(OPS.psa_logits_backward.default, (pairs, *case[1:], *mask))


@pytest.mark.parametrize(('size', 'mask'), GEOMETRIES)
def test_logits_pass_opcheck(size, mask):
    _, feat, weight = random_case(size, mask, channels=2, n=1)
    torch.library.opcheck(OPS.psa_logits.default, (feat, weight, *mask))


@pytest.mark.parametrize('psa_type', ['collect', 'distribute'])
def test_compiles_into_one_graph(psa_type):
    case = random_case((4, 5), (5, 5))
    windows = torch.randn(2, 25, 4, 5, dtype=torch.float64)

    def network(value, feat, weight):
        attended = psa_attention(value.sin(), feat, weight, psa_type, 5, save_attention=True)
        return attended.sum() + psa_logits(feat, weight, 5).cos().sum() + masked(feat).sum()

    def masked(feat):
        return psa_mask(windows * feat.mean(1, keepdim=True), psa_type, 5).sin()

    compiled = torch.compile(network, fullgraph=True, backend='aot_eager')
    out, expected = compiled(*case), network(*case)
    torch.testing.assert_close(out, expected)
    for grad, right in zip(torch.autograd.grad(out, case), torch.autograd.grad(expected, case)):
        torch.testing.assert_close(grad, right)


class Branch(nn.Module):
    def __init__(self, psa_type: str, backend: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(35, 6))
        self.mask = PSAMask(psa_type, (5, 7))
        self.psa_type, self.backend = psa_type, backend

    def forward(self, value, feat):
        out = psa_attention(value, feat, self.weight, self.psa_type, (5, 7), backend=self.backend)
        return out, self.mask(feat.repeat(1, 6, 1, 1)[:, :35])


@pytest.mark.parametrize('backend', ['auto', 'windowed'])
@pytest.mark.parametrize('psa_type', ['collect', 'distribute'])
def test_exports_with_dynamic_height_and_width(psa_type, backend):
    branch = Branch(psa_type, backend)
    free = {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    inputs = torch.randn(2, 3, 6, 7), torch.randn(2, 6, 6, 7)
    program = torch.export.export(branch, inputs, dynamic_shapes=(free, free))
    for size in ((9, 8), (4, 13)):
        inputs = torch.randn(2, 3, *size), torch.randn(2, 6, *size)
        torch.testing.assert_close(program.module()(*inputs), branch(*inputs))
    targets = [str(node.target) for node in program.graph.nodes]
    assert ('segkit.psa_attention.default' in targets) == (backend == 'windowed')
