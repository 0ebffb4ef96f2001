"""Models whose weights are not drawn, because a file brings them."""

import torch
from helpers.checkpoint_files import tiny_model
from torch import nn

from segkit.registry import MODELS
from segkit.weights import (
    Undrawn,
    build_undrawn,
    initialise,
    load_into,
    without_pretrained,
)


def test_random_values_are_not_drawn_and_the_random_state_stays():
    before = torch.get_rng_state()
    tensors = [nn.Parameter(torch.full((4, 4), 7.0), requires_grad=False) for _ in range(6)]

    with Undrawn():
        tensors[0].normal_()
        tensors[1].uniform_()
        nn.init.normal_(tensors[2])
        nn.init.kaiming_uniform_(tensor=tensors[3])
        nn.init.kaiming_normal_(tensors[4])
        nn.init.xavier_uniform_(tensors[5])

    assert all((tensor == 7).all() for tensor in tensors)
    assert torch.equal(torch.get_rng_state(), before)


def test_constants_and_computed_buffers_are_written():
    with Undrawn():
        norm = nn.BatchNorm2d(3)
        grid = torch.arange(4).float().mul_(2)

    assert norm.weight.tolist() == norm.running_var.tolist() == [1, 1, 1]
    assert norm.bias.tolist() == [0, 0, 0]
    assert grid.tolist() == [0, 2, 4, 6]


def test_what_is_derived_from_random_values_and_in_no_file_is_drawn():
    with Undrawn():
        layer = nn.Module()
        basis = torch.empty(8, 4).normal_(generator=torch.Generator().manual_seed(3))
        layer.register_buffer('basis', basis, persistent=False)

    assert torch.equal(basis, torch.randn(8, 4, generator=torch.Generator().manual_seed(3)))


def test_drawing_goes_on_afterwards():
    with Undrawn():
        pass

    assert nn.Linear(50, 50).weight.std() > 0


@MODELS.register_module(force=True)
class NetWithAGrid(nn.Module):
    """A buffer that no checkpoint holds, as window attention has."""

    def __init__(self, pretrained: str = 'draw') -> None:
        super().__init__()
        self.pretrained = pretrained
        self.conv = nn.Conv2d(3, 2, 1)
        self.register_buffer('grid', torch.arange(5), persistent=False)


class FetchingBackbone(nn.Module):
    """Fetches its weights when it is built, as timm's do."""

    def __init__(self, pretrained: bool = False) -> None:
        super().__init__()
        self.fetched = bool(pretrained)


def test_a_backbone_fetches_nothing_that_the_file_replaces():
    cfg = {'backbone': {'type': FetchingBackbone, 'pretrained': True}, 'pretrained': 'elsewhere'}

    kept = without_pretrained(cfg)

    assert 'pretrained' not in kept
    assert not MODELS.build(kept['backbone']).fetched
    assert cfg['backbone']['pretrained'] is True, 'the config itself stays as it is'


def test_a_built_model_is_filled_from_a_file_and_keeps_its_own_buffers():
    state = nn.Conv2d(3, 2, 1).state_dict(prefix='conv.')

    model = build_undrawn({'type': 'NetWithAGrid', 'pretrained': 'elsewhere'})
    load_into(model, {'state_dict': state}, assign=True)

    assert torch.equal(model.conv.weight, state['conv.weight'])
    assert model.grid.tolist() == [0, 1, 2, 3, 4]
    assert model.pretrained == 'draw', 'weights to start from must not be fetched'


def test_what_the_file_lacks_is_drawn_and_the_rest_kept():
    model = tiny_model()
    head = model.decode_head.conv_seg
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float('nan'))
        head.bias.fill_(3)

    initialise(model, ['decode_head.conv_seg.weight'])

    assert head.weight.isfinite().all()
    assert head.weight.std() > 0
    assert (head.bias == 3).all()
    assert model.backbone[0].weight.isnan().all(), 'not asked for'


def test_a_tensor_of_an_unknown_layer_becomes_zero():
    model = nn.Module()
    model.scale = nn.Parameter(torch.full((3,), float('nan')))
    model.gain = nn.Parameter(torch.ones(3))

    initialise(model, ['scale'])

    assert model.scale.tolist() == [0, 0, 0]
    assert model.gain.tolist() == [1, 1, 1]
    assert model.scale.requires_grad
