"""Steps written anew run as `speed_up` set the network, as 0.x wrote them, and in training."""

import contextlib
import functools
from types import MethodType

import pytest
import torch
from helpers.tiny_net import sample_of, tiny_segmentor
from torch.nn.functional import interpolate

from segkit.models.inference.fuse import speed_up
from segkit.structures import ImageViews

SWITCHES = {
    'as it is': {}, 'fused': dict(fuse_bn=True, channels_last=True), 'bf16': dict(bf16=True),
    'bfloat16': dict(weights=torch.bfloat16), 'float16': dict(weights=torch.float16),
    'float64': dict(weights=torch.float64),
}  # fmt: skip
SIZES = ((40, 56), (33, 48))


def run(model, kind='batch'):
    torch.manual_seed(0)
    pictures = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in SIZES]
    given = {
        'batch': [pictures[0]] * 2, 'sizes': pictures, 'views': [ImageViews(pictures, 'horizontal')]
    }[kind]  # fmt: skip
    samples = [sample_of(ori_shape=(37, 50)) for _ in given]
    found = model.test_step({'inputs': given, 'data_samples': samples})
    return [sample.pred_sem_seg.data for sample in found]


def encode_decode(model):
    model.encode_decode = lambda inputs, metas: model.decode_head.predict(
        model.extract_feat(inputs), metas, model.test_cfg
    )


def resized_logits(model):
    def mine(inputs, metas):
        logits = model.decode_head(model.extract_feat(inputs))
        return interpolate(logits.float(), inputs.shape[2:], mode='bilinear')

    model.encode_decode = mine


def extract_feat(model):
    model.extract_feat = lambda inputs: model.backbone(inputs)


def both(model):
    encode_decode(model)
    extract_feat(model)


def inference(model):
    model.inference = lambda inputs, metas: model.encode_decode(inputs, metas)


@pytest.mark.parametrize('step', [encode_decode, resized_logits, extract_feat, both, inference])
@pytest.mark.parametrize('switch', SWITCHES)
@pytest.mark.parametrize('kind', ['batch', 'sizes', 'views'])
def test_a_step_written_anew_runs_in_the_precision_that_was_set(kind, switch, step):
    model, types = speed_up(tiny_segmentor('whole'), **SWITCHES[switch]), []
    model.decode_head.register_forward_hook(lambda m, args, out: types.append(out.dtype))
    before, want = run(model, kind), {*types}
    step(model)
    types.clear()
    for mine, its in zip(run(model, kind), before, strict=True):
        assert (mine == its).float().mean() > 0.998  # a tie of half precision
    assert {*types} == want


@pytest.mark.parametrize('switch', SWITCHES)
def test_pictures_are_taken_in_float32_from_outside(switch):
    model, image = speed_up(tiny_segmentor(), **SWITCHES[switch]), torch.randn(1, 3, 40, 48)
    assert model(image).shape == (1, 4, 5, 6)
    assert model._forward(image).shape == (1, 4, 5, 6)
    assert model.extract_feat(image)[0].shape == (1, 6, 5, 6)
    assert model.encode_decode(image, [{}]).shape == (1, 4, 40, 48)
    assert model.encode_decode(image, [{}]).dtype == max(
        torch.float32, model.weights_dtype or torch.float32, key=lambda dtype: dtype.itemsize
    )


def counted(method):
    """A decorator that tells nothing of the arguments, as many are."""

    @functools.wraps(method)
    def call(*args, **kwargs):
        return method(*args, **kwargs)

    return call


def older(self, img, img_meta, rescale):
    assert rescale is False
    return self.encode_decode(img, img_meta)


def by_keyword(self, img, img_meta, *, rescale=True):
    return older(self, img, img_meta, rescale)


class Callable:
    def __init__(self, model):
        self.model = model

    def __call__(self, img, img_meta, rescale=True):
        return older(self.model, img, img_meta, rescale)


OLDER = {
    'plain': lambda model: MethodType(older, model),
    'no_grad': lambda model: MethodType(torch.no_grad()(older), model),
    'decorated': lambda model: MethodType(counted(older), model),
    'by keyword': lambda model: MethodType(by_keyword, model),
    'partial': lambda model: functools.partial(older, model),
    'object': Callable,
}


@pytest.mark.parametrize('form', OLDER)
@pytest.mark.parametrize('name', ['inference', 'whole_inference', 'slide_inference'])
def test_a_step_of_0x_is_told_not_to_resize_however_it_is_decorated(name, form):
    model = tiny_segmentor('slide' if name == 'slide_inference' else 'whole').eval()
    calls = []
    step = OLDER[form](model)
    setattr(model, name, step)
    ask = model.encode_decode
    model.encode_decode = lambda *args: (calls.append(1), ask(*args))[1]
    run(model)
    assert calls


TRAINING = {
    '': ('loss', 'extract_feat', '_decode_head_forward_train', '_auxiliary_head_forward_train',
         'parse_losses', 'forward'),
    'decode_head': ('loss', 'loss_by_feat', 'losses', 'forward', 'cls_seg', '_stack_batch_gt',
                    '_transform_inputs', '_forward_feature'),
    'auxiliary_head': ('loss', 'loss_by_feat', 'forward', 'cls_seg'),
    'data_preprocessor': ('forward',),
    'backbone': ('forward',),
}  # fmt: skip
STEPS = [(part, name) for part, names in TRAINING.items() for name in names]


def by_mixin(owner, name, seen):
    class Mixin:
        pass

    def method(self, *args, **kwargs):
        seen.append(args)
        return getattr(super(Mixin, self), name)(*args, **kwargs)

    setattr(Mixin, name, method)
    owner.__class__ = type('Mine', (Mixin, type(owner)), {})


def by_object(owner, name, seen):
    method = getattr(owner, name)
    setattr(owner, name, lambda *args, **kw: (seen.append(args), method(*args, **kw))[1])


class NoUpdates:
    def optim_context(self, model):
        return contextlib.nullcontext()

    def update_params(self, loss):
        pass


def trained(model):
    torch.manual_seed(1)
    pictures = [torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8) for _ in range(2)]
    samples = [sample_of(labels=(32, 32)) for _ in pictures]
    return model.train_step({'inputs': pictures, 'data_samples': samples}, NoUpdates())


@pytest.mark.parametrize('way', [by_mixin, by_object])
@pytest.mark.parametrize(('part', 'name'), STEPS)
def test_a_replaced_step_of_training_runs(part, name, way):
    assert len(STEPS) >= 20
    model, seen = tiny_segmentor(aux=1).train(), []
    want = trained(model)
    way(getattr(model, part) if part else model, name, seen)
    got = trained(model)
    assert seen
    assert got.keys() == want.keys()
    for key, value in want.items():
        torch.testing.assert_close(got[key], value)
    if name == 'losses':
        assert seen[0][1].dtype == torch.int64
