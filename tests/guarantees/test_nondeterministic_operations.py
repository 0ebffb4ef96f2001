"""What `--deterministic` has to deal with on CUDA is known, listed and dealt with.

Every network, loss, pixel sampler and operator runs here on the CPU, forward and backward, while
each operation it dispatches is noted; those that torch documents as nondeterministic on CUDA are
the ones docs/cuda_extension.md lists, no more and no fewer.
"""

import re
from collections import defaultdict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from segkit.engine.data_order import make_deterministic
from segkit.models.layers import CellPool

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'cuda_extension.md'
# Name in torch's list -> the operations that are dispatched for it, as a pattern.
DOCUMENTED = {
    'nn.Conv1d nn.Conv2d nn.Conv3d nn.ConvTranspose1d nn.ConvTranspose2d nn.ConvTranspose3d':
        r'convolution(_backward)?',
    'nn.ReplicationPad1d nn.ReplicationPad2d nn.ReplicationPad3d':
        r'replication_pad\dd_backward',
    'bmm': r'bmm\.sparse',
    'Tensor.__getitem__ Tensor.index_put': r'_?(unsafe_)?index_put(_impl)?_?',
    'Tensor.put_': r'put_?',
    'Tensor.scatter_add_ gather': r'scatter_add_?',
    'index_add index_select': r'index_add_?',
    'repeat_interleave': r'repeat_interleave',
    'Tensor.index_copy': r'index_copy_?',
    'Tensor.scatter': r'scatter_?\.src',
    'Tensor.scatter_reduce': r'scatter_reduce_?',
    'nn.MaxPool3d': r'max_pool3d_with_indices_backward',
    'nn.AvgPool3d': r'avg_pool3d_backward',
    'nn.AdaptiveAvgPool2d nn.AdaptiveAvgPool3d': r'_adaptive_avg_pool\dd_backward',
    'nn.AdaptiveMaxPool2d': r'adaptive_max_pool2d_backward',
    'nn.FractionalMaxPool2d nn.FractionalMaxPool3d': r'fractional_max_pool\dd_backward',
    'nn.MaxUnpool1d nn.MaxUnpool2d nn.MaxUnpool3d': r'max_unpool\dd',
    'nn.functional.interpolate': r'_?upsample_(linear|bilinear|bicubic|trilinear)\dd\w*_backward',
    'nn.ReflectionPad1d nn.ReflectionPad2d nn.ReflectionPad3d': r'reflection_pad\dd_backward',
    'nn.NLLLoss': r'nll_loss(2d)?_forward',
    'nn.CTCLoss': r'_ctc_loss_backward',
    'nn.EmbeddingBag': r'_embedding_bag\w*backward',
    'histc': r'histc',
    'bincount': r'bincount',
    'median': r'(nan)?median\.dim',
    'nn.functional.grid_sample': r'grid_sampler_\dd_backward',
    'cumsum': r'cumsum_?',
    'Tensor.resize_': r'resize_\.quantized',
}  # fmt: skip
# Not in that list, but in the operation's own documentation.
ATTENTION = 'scaled_dot_product_attention'


class Noted(TorchDispatchMode):
    """The operations that were dispatched, by name."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        schema = func._schema
        self.names |= {
            schema.name.split('::')[1],
            f'{schema.name.split("::")[1]}.{schema.overload_name}',
        }
        return func(*args, **(kwargs or {}))


def documented(names: set[str]) -> set[str]:
    """Those of the operations that torch documents as nondeterministic on CUDA."""
    patterns = [*DOCUMENTED.values(), ATTENTION]
    found = {n for n in names for p in patterns if re.fullmatch(p, n)}
    return {name.split('.')[0] for name in found}


@pytest.fixture(scope='module')
def used() -> dict[str, set[str]]:
    """Operation that is documented as nondeterministic -> names of the cases that use it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'tools' / 'benchmarks'))
        import gpu_cases
    found, swept, count = defaultdict(set), set(), 0
    attend, asked = F.scaled_dot_product_attention, set()

    def noting(*args: object, **options: object) -> torch.Tensor:
        asked.add(ATTENTION)
        return attend(*args, **options)

    for case in gpu_cases.cases():
        case.module.train()
        asked.clear()
        with Noted() as noted, pytest.MonkeyPatch.context() as patch:
            patch.setattr(F, ATTENTION, noting)
            case.answers()
        noted.names |= asked
        swept |= case.swept
        count += 1
        for name in documented(noted.names):
            found[name].add(case.name)
    assert count >= 59
    assert not gpu_cases.uncovered(swept)
    return found


def test_every_operation_in_the_list_of_torch_is_known():
    text = torch.use_deterministic_algorithms.__doc__
    bullets = re.findall(r'^\s+\* :(?:class|func):`torch\.([\w.]+)', text, re.M)
    assert len(bullets) >= 30
    assert set(bullets) <= {name for names in DOCUMENTED for name in names.split()}
    assert 'nondeterministic' in F.scaled_dot_product_attention.__doc__


def test_the_page_lists_what_the_networks_use(used):
    section = PAGE.read_text().split('## The same bits twice')[1].split('\n## ')[0]
    listed = set(re.findall(r'^\| `(\w+)` \|', section, re.M))
    assert listed == set(used), {name: sorted(cases)[:3] for name, cases in used.items()}


@pytest.fixture
def deterministic(monkeypatch):
    """As `--deterministic` leaves a process that has a GPU; put back afterwards."""
    cuda = torch.backends.cuda
    before = [cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.cudnn_sdp_enabled()]
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', False)
    make_deterministic()
    yield
    torch.use_deterministic_algorithms(False)
    for enable, value in zip(
        (cuda.enable_flash_sdp, cuda.enable_mem_efficient_sdp, cuda.enable_cudnn_sdp), before
    ):
        enable(value)


def test_fused_attention_is_off_where_bits_must_repeat(deterministic):
    """torch only warns of these kernels under ``warn_only``; what is left is products."""
    query = torch.randn(1, 1, 6, 4, requires_grad=True)
    with Noted() as noted:
        F.scaled_dot_product_attention(query, query, query).sum().backward()
    assert 'bmm' in noted.names
    assert not [name for name in noted.names if 'attention' in name]


def test_pooling_repeats_its_bits_and_is_the_same_pooling(deterministic):
    x = torch.randn(2, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    for cells in (1, 2, 3, 6):
        with Noted() as noted:
            ours = CellPool(cells)(x)
            (gradient,) = torch.autograd.grad(ours.square().sum(), x)
        assert not documented(noted.names)
        torch.use_deterministic_algorithms(False)
        plain = F.adaptive_avg_pool2d(x, cells)
        (wanted,) = torch.autograd.grad(plain.square().sum(), x)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.testing.assert_close(ours, plain)
        torch.testing.assert_close(gradient, wanted)
    half = torch.randn(2, 3, 7, 9, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(CellPool(3)(half), F.adaptive_avg_pool2d(half, 3))
