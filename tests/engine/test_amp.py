"""Mixed precision on CPU: the forward in bf16 or fp16, the weights in float32."""

import pytest
import torch
from torch import nn

from segkit.engine.amp import AmpOptimWrapper, choose_amp_dtype


def wrapper(model: nn.Module, **kwargs) -> AmpOptimWrapper:
    return AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **kwargs)


@pytest.mark.parametrize(
    ('dtype', 'expected'), [(None, torch.bfloat16), ('bf16', torch.bfloat16), ('fp16', torch.half)]
)
def test_the_forward_runs_in_the_chosen_type(dtype, expected):
    model = nn.Linear(4, 4)
    optim = wrapper(model, dtype=dtype)
    with optim.optim_context(model):
        out = model(torch.ones(2, 4))
    assert out.dtype is expected
    optim.update_params(out.float().sum())
    assert model.weight.dtype is torch.float32


def test_only_fp16_scales_its_loss():
    model = nn.Linear(4, 1)
    assert wrapper(model, dtype='bf16').loss_scaler.get_scale() == 1.0
    assert wrapper(model, dtype='fp16', loss_scale=256.0).loss_scaler.get_scale() == 256.0


def test_a_fixed_scale_stays_for_longer_than_any_run():
    scaler = wrapper(nn.Linear(4, 1), dtype='fp16', loss_scale=256.0).loss_scaler
    assert scaler.get_growth_interval() > 10**9


def test_an_overflow_skips_the_step_and_halves_the_scale():
    model = nn.Linear(4, 1)
    optim = wrapper(model, dtype='fp16', loss_scale=dict(init_scale=8.0))
    before = model.weight.clone()
    optim.update_params((model(torch.ones(1, 4)) * float('inf')).sum())
    assert torch.equal(model.weight, before)
    assert optim.loss_scaler.get_scale() == 4.0


def test_clipping_sees_unscaled_gradients():
    model = nn.Linear(1, 1, bias=False)
    optim = wrapper(model, dtype='fp16', loss_scale=1024.0, clip_grad=dict(max_norm=1.0))
    before = model.weight.item()
    optim.update_params((model(torch.full((1, 1), 50.0))).sum())
    assert model.weight.item() == pytest.approx(before - 0.1, rel=1e-4)


def test_the_scale_survives_a_resume():
    model = nn.Linear(4, 1)
    first = wrapper(model, dtype='fp16', loss_scale=dict(init_scale=2.0))
    second = wrapper(model, dtype='fp16')
    second.update_params(model(torch.ones(1, 4)).sum())  # a scaler sets itself up at first use
    second.load_state_dict(first.state_dict())
    assert second.loss_scaler.get_scale() == 2.0


def test_an_unknown_type_is_named():
    with pytest.raises(ValueError, match=r"optim_wrapper\.dtype='fp8' is unknown.*bf16"):
        choose_amp_dtype('fp8')
