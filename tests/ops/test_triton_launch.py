"""Where the Triton kernels are launched; what they compute is in test_triton_psa.py."""

from collections import defaultdict
from contextlib import contextmanager
from types import SimpleNamespace

import torch

from segkit.ops import triton_psa
from segkit.ops.psa_grouped import Groups


def test_kernels_are_launched_on_the_device_of_their_tensors(monkeypatch):
    """Triton takes the current device, which a network on a second GPU need not be."""
    current, launches = [], []

    @contextmanager
    def device_of(tensor):
        current.append(tensor.device)
        yield
        current.pop()

    def kernel(name):
        def launch(*arguments, **constants):
            tensors = [t for t in arguments if isinstance(t, torch.Tensor)]
            launches.append((name, {t.device for t in tensors}, set(current)))

        return defaultdict(lambda: launch)  # whatever the grid

    names = ('softmax_rows', 'softmax_columns', 'exp_rows', 'backward_rows')
    kernels = SimpleNamespace(**{name: kernel(name) for name in names})
    monkeypatch.setattr(triton_psa, '_kernels', lambda: kernels)
    monkeypatch.setattr(torch.cuda, 'device_of', device_of)

    groups = Groups(2, 3, 4, 1, 3, 3)
    band = torch.empty(groups.band_shape, device='meta')
    for collect in (True, False):
        attention, lse = triton_psa.skew_softmax(band, groups, collect)
        triton_psa.skew_exp(band, lse, groups, collect)
        triton_psa.softmax_backward_unskew(attention, attention, lse, groups, collect)
    assert {name for name, *_ in launches} == set(names)
    assert all(on == where == {band.device} for _, on, where in launches)
