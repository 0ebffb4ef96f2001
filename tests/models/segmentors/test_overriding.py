"""Each step of a prediction may be replaced, in a subclass or on an object, and then runs."""

import functools
from unittest.mock import MagicMock

import pytest
import torch
from helpers.tiny_net import sample_of, tiny_segmentor
from torch import Tensor

from segkit.models.segmentors import EncoderDecoder
from segkit.structures import ImageViews

MARK = 3  # the class that a replaced step makes of every pixel
SIZES = ((40, 56), (33, 48))


def bytes_of(*size):
    return torch.randint(0, 256, (3, *size), dtype=torch.uint8)


def run(model, kind):
    """The classes of a prediction of one kind: of equal sizes, of a list of sizes, of views."""
    torch.manual_seed(0)
    if kind == 'batch':
        data = [bytes_of(40, 56), bytes_of(40, 56)]
    elif kind == 'sizes':
        data = [bytes_of(*size) for size in SIZES]
    else:
        data = [ImageViews([bytes_of(*size) for size in SIZES], 'horizontal')]
    samples = [sample_of(ori_shape=(37, 50)) for _ in data]
    return [s.pred_sem_seg.data for s in model.test_step({'inputs': data, 'data_samples': samples})]


def marked(method, seen):
    """``method`` with the marked class far ahead of the others; tensors in, tensors out."""

    @functools.wraps(method)
    def replacement(*args):
        given = next(a for a in args if isinstance(a, Tensor | tuple | list))
        given = given if isinstance(given, Tensor) else given[0]
        assert type(given) is Tensor
        assert given.dim() == 4
        logits = method(*args)
        assert type(logits) is Tensor
        seen.append(logits.shape[2:])
        logits = logits.clone()
        logits[:, MARK] += 1e4
        return logits

    return replacement


def marked_before(method, seen):
    """The same for a step whose input are logits."""

    @functools.wraps(method)
    def replacement(*args):
        args = list(args)
        at = next(i for i, a in enumerate(args) if isinstance(a, Tensor))
        assert type(args[at]) is Tensor
        assert args[at].dim() == 4
        seen.append(args[at].shape[2:])
        args[at] = args[at].clone()
        args[at][:, MARK] += 1e4
        return method(*args)

    return replacement


def marked_after(method, seen):
    """The same for a step whose output are samples."""

    @functools.wraps(method)
    def replacement(*args):
        samples = method(*args)
        for sample in samples:
            sample.pred_sem_seg.data.fill_(MARK)
        seen.append(len(samples))
        return samples

    return replacement


def traced(method, seen):
    """A step that is only looked at: its result must be that of before."""

    @functools.wraps(method)
    def replacement(*args):
        seen.append(len(args))
        return method(*args)

    return replacement


STEPS = [
    ('', 'encode_decode', marked),
    ('', 'inference', marked),
    ('', 'whole_inference', marked),
    ('', 'slide_inference', marked),
    ('', 'postprocess_result', marked_before),
    ('', 'postprocess_result', marked_after),
    ('', 'predict', marked_after),
    ('decode_head', 'predict', marked),
    ('decode_head', 'predict_by_feat', marked),
    ('decode_head', 'predict_by_feat', marked_before),
    ('decode_head', 'forward', marked),
    ('decode_head', 'cls_seg', marked),
]


def replace(owner, name, change, way, seen):
    """Replace a step in a subclass of the owner's class, or on the owner itself."""
    if way == 'instance':
        setattr(owner, name, change(getattr(owner, name), seen))
        return
    cls = type(owner)
    owner.__class__ = type(f'My{cls.__name__}', (cls,), {name: change(getattr(cls, name), seen)})


def applies(name, mode):
    return name != {'whole': 'slide_inference', 'slide': 'whole_inference'}[mode]


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('kind', ['batch', 'sizes', 'views'])
@pytest.mark.parametrize('way', ['subclass', 'instance'])
@pytest.mark.parametrize(('part', 'name', 'change'), STEPS)
def test_a_replaced_step_runs_on_tensors(part, name, change, way, kind, mode):
    model, seen = tiny_segmentor(mode).eval(), []
    before = run(model, kind)
    owner = getattr(model, part) if part else model
    replace(owner, name, change, way, seen)
    after = run(model, kind)
    if not applies(name, mode):
        assert not seen
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        return
    assert seen
    assert all((classes == MARK).all() for classes in after)
    assert not all((classes == MARK).all() for classes in before)


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('kind', ['batch', 'sizes', 'views'])
def test_steps_that_only_look_change_no_pixel(kind, mode):
    model = tiny_segmentor(mode).eval()
    before = run(model, kind)
    names = {(part, name) for part, name, _ in STEPS} | {('', 'extract_feat')}
    for part, name in sorted(names):
        owner, seen = getattr(model, part) if part else model, []
        replace(owner, name, traced, 'instance', seen)
        after = run(model, kind)
        assert bool(seen) == applies(name, mode), name
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), name


def test_replacing_the_features_and_the_tensor_mode():
    model = tiny_segmentor().eval()
    image = torch.randn(1, 3, 40, 48)
    model.extract_feat = lambda inputs: (torch.zeros(1, 6, 5, 6),)
    assert model(image).std(dim=(2, 3)).max() == 0
    assert (model.predict(image)[0].pred_sem_seg.data.unique().numel()) == 1
    model._forward = lambda inputs, data_samples=None: 'mine'
    assert model(image) == 'mine'


def test_a_step_taken_over_from_the_written_out_toolbox_finds_the_sizes_it_reads():
    """As projects write it: the head is asked directly, with the metainfo as it came."""

    def encode_decode(inputs, batch_img_metas):
        sizes.append(tuple(inputs.shape[2:]))
        logits = model.decode_head.predict(model.extract_feat(inputs), batch_img_metas, {})
        assert logits.shape[2:] == inputs.shape[2:]
        return logits

    for mode in ('whole', 'slide'):
        for kind in ('batch', 'sizes', 'views'):
            model, sizes = tiny_segmentor(mode).eval(), []
            before = run(model, kind)
            model.encode_decode = encode_decode
            assert all(torch.equal(a, b) for a, b in zip(before, run(model, kind), strict=True))
            assert sizes


def test_a_mock_and_a_patched_class_count_as_replaced(monkeypatch):
    model = tiny_segmentor().eval()
    before = run(model, 'views')
    mock = MagicMock(wraps=model.encode_decode)
    monkeypatch.setattr(model, 'encode_decode', mock)
    assert all(torch.equal(a, b) for a, b in zip(before, run(model, 'views'), strict=True))
    assert mock.call_count == len(SIZES)
    monkeypatch.undo()
    seen = []
    monkeypatch.setattr(type(model), 'encode_decode', marked(type(model).encode_decode, seen))
    assert all((classes == MARK).all() for classes in run(model, 'batch'))


@pytest.mark.parametrize('kind', ['batch', 'sizes', 'views'])
def test_forward_hooks_fire(kind):
    model, fired = tiny_segmentor('slide').eval(), set()
    parts = {'backbone': model.backbone, 'head': model.decode_head}
    parts['conv_seg'] = model.decode_head.conv_seg
    for name, part in parts.items():
        part.register_forward_hook(lambda *args, name=name: fired.add(name))
    run(model, kind)
    assert fired == set(parts)


def test_called_from_outside_the_steps_give_tensors_of_the_inputs_size():
    model = tiny_segmentor('slide').eval()
    image, metas = torch.randn(2, 3, 45, 61), [{}, {}]
    for name in ('encode_decode', 'whole_inference', 'slide_inference', 'inference'):
        logits = getattr(model, name)(image, metas)
        assert (type(logits), logits.shape) == (Tensor, (2, 4, 45, 61)), name
    meta = {'img_shape': torch.Size((45, 61))}
    logits = model.decode_head.predict(model.extract_feat(image), [meta] * 2)
    assert (type(logits), logits.shape) == (Tensor, (2, 4, 45, 61))


def test_a_binary_heads_views_reach_a_replaced_postprocessing_as_logits():
    head = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.45}
    loss = {'type': 'CrossEntropyLoss', 'use_sigmoid': True}
    model = tiny_segmentor(**head, loss_decode=loss).eval()
    before = run(model, 'views')[0]
    given = []
    post = model.postprocess_result

    def replacement(seg_logits, data_samples):
        given.append(seg_logits)
        return post(seg_logits, data_samples)

    model.postprocess_result = replacement
    after = run(model, 'views')[0]
    assert (before != after).float().mean() < 0.01  # sigmoid(logit(x)) may round across
    assert given[0].shape == (1, 1, 37, 50)


def test_the_parts_of_a_loss_and_the_making_of_heads_may_be_replaced():
    class Mine(EncoderDecoder):
        def _init_decode_head(self, decode_head):
            super()._init_decode_head({**decode_head, 'num_classes': 5})

        def _init_auxiliary_head(self, auxiliary_head):
            super()._init_auxiliary_head([auxiliary_head] * 2)

        def _decode_head_forward_train(self, inputs, data_samples):
            losses = super()._decode_head_forward_train(inputs, data_samples)
            return {**losses, 'decode.loss_more': inputs[0].mean()}

        def _auxiliary_head_forward_train(self, inputs, data_samples):
            losses = super()._auxiliary_head_forward_train(inputs, data_samples)
            return {name: value for name, value in losses.items() if 'acc' not in name}

    tiny_segmentor()  # registers its backbone
    head = {'type': 'FCNHead', 'in_channels': 6, 'channels': 6, 'num_classes': 4, 'num_convs': 0}
    head['concat_input'] = False
    model = Mine({'type': 'segkit_test_tiny'}, head, auxiliary_head=head)
    losses = model.loss(torch.randn(2, 3, 32, 32), [sample_of(labels=(32, 32))] * 2)
    decode = {'decode.loss_ce', 'decode.acc_seg', 'decode.loss_more'}
    assert set(losses) == decode | {'aux_0.loss_ce', 'aux_1.loss_ce'}
    assert (model.num_classes, model.out_channels) == (5, 5)
