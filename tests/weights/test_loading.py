"""Weights into models: what is loaded, what is left out, and who is told."""

import pytest
import torch
from helpers.checkpoint_files import CLASSES, PALETTE, published, save, tiny_model
from torch import nn

from segkit.weights import CheckpointError, load_into


def test_testing_loads_everything_and_takes_the_classes(tmp_path):
    theirs, ours = tiny_model(seed=1), tiny_model(seed=2)

    report = load_into(ours, save(published(theirs), tmp_path / 'a.pth'))

    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(),
                                                 theirs.state_dict().values()))  # fmt: skip
    assert report.rows() == []
    assert len(report.loaded) == len(theirs.state_dict())
    assert ours.dataset_meta == {'classes': list(CLASSES), 'palette': PALETTE}


def test_another_class_count_is_an_error_in_testing(tmp_path):
    path = save(published(tiny_model(classes=3)), tmp_path / 'three.pth')
    model = tiny_model(classes=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    with pytest.raises(CheckpointError) as caught:
        load_into(model, path)

    message = str(caught.value)
    assert 'three.pth' in message
    assert 'decode_head.conv_seg.weight' in message
    assert 'trained for 3 classes and the model has 5' in message
    assert 'num_classes=3' in message
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_another_class_count_is_a_table_in_fine_tuning(tmp_path):
    theirs = tiny_model(classes=3, seed=1)
    model = tiny_model(classes=5, seed=2)
    own = model.decode_head.conv_seg.weight.clone()

    report = load_into(model, save(published(theirs), tmp_path / 'a.pth'), 'finetune')

    assert torch.equal(model.backbone[0].weight, theirs.backbone[0].weight)
    assert torch.equal(model.decode_head.conv_seg.weight, own)
    assert set(report.mismatched) == {
        'decode_head.conv_seg.weight', 'decode_head.conv_seg.bias',
        'auxiliary_head.conv_seg.weight', 'auxiliary_head.conv_seg.bias',
    }  # fmt: skip
    assert report.mismatched['decode_head.conv_seg.weight'] == ((3, 4, 1, 1), (5, 4, 1, 1))
    assert '(3, 4, 1, 1)' in report.table()
    assert not hasattr(model, 'dataset_meta')


def test_missing_and_unexpected_keys_are_errors_in_testing():
    state = tiny_model().state_dict()
    state['decode_head.other.weight'] = state.pop('decode_head.conv_seg.weight')

    with pytest.raises(CheckpointError) as caught:
        load_into(tiny_model(), {'state_dict': state}, source='x.pth')

    assert '| not in the model | decode_head.other.weight' in str(caught.value)
    assert '| not in the file  | decode_head.conv_seg.weight' in str(caught.value)


def test_an_auxiliary_head_does_not_matter_in_testing():
    state = tiny_model().state_dict()
    without = {k: v for k, v in state.items() if not k.startswith('auxiliary_head')}

    report = load_into(tiny_model(), {'state_dict': without})

    assert report.missing == ['auxiliary_head.conv_seg.weight', 'auxiliary_head.conv_seg.bias']
    assert report.complete


def test_batch_counters_may_be_missing():
    state = tiny_model().state_dict()
    del state['backbone.1.num_batches_tracked']

    assert load_into(tiny_model(), {'state_dict': state}).missing == []


@pytest.mark.parametrize('purpose', ['test', 'finetune'])
def test_a_file_of_another_network_is_always_an_error(purpose):
    with pytest.raises(CheckpointError, match=r'Nothing in the file fits this model'):
        load_into(tiny_model(), nn.Linear(2, 2).state_dict(), purpose)


def test_a_wrapped_model_is_filled(tmp_path):
    wrapper = nn.Module()
    wrapper.module = tiny_model(seed=3)
    theirs = tiny_model(seed=1)

    load_into(wrapper, save(published(theirs), tmp_path / 'a.pth'))

    assert torch.equal(wrapper.module.backbone[0].weight, theirs.backbone[0].weight)


def test_half_precision_files_leave_the_model_as_it_is():
    half = {name: tensor.half() for name, tensor in tiny_model(seed=1).state_dict().items()}
    model = tiny_model(seed=2)

    load_into(model, half)

    assert model.backbone[0].weight.dtype == torch.float32
    assert torch.equal(model.backbone[0].weight, half['backbone.0.weight'].float())


def test_assigned_weights_are_the_tensors_of_the_file():
    theirs = tiny_model(seed=1)
    model = tiny_model(seed=2)
    state = theirs.state_dict()

    load_into(model, {'state_dict': state}, assign=True)

    assert model.backbone[0].weight.data_ptr() == state['backbone.0.weight'].data_ptr()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_assigned_weights_are_laid_out_as_usual():
    """A run with channels_last writes such tensors, and a convolution's answer follows them."""
    theirs = tiny_model(seed=1).to(memory_format=torch.channels_last)
    model = tiny_model(seed=2)
    assert not theirs.backbone[0].weight.is_contiguous()

    load_into(model, {'state_dict': theirs.state_dict()}, assign=True)

    assert model.backbone[0].weight.is_contiguous()
    assert torch.equal(model.backbone[0].weight, theirs.backbone[0].weight)


def test_copied_weights_are_the_models_own():
    theirs = tiny_model(seed=1)
    model = tiny_model(seed=2)
    weight = model.backbone[0].weight
    state = theirs.state_dict()

    load_into(model, {'state_dict': state})

    assert model.backbone[0].weight is weight
    assert weight.data_ptr() != state['backbone.0.weight'].data_ptr()
    assert torch.equal(weight, state['backbone.0.weight'])


def test_assigned_weights_take_the_dtype_of_the_model():
    model = tiny_model().double()

    load_into(model, {'state_dict': tiny_model(seed=1).state_dict()}, assign=True)

    assert {p.dtype for p in model.parameters()} == {torch.float64}
