"""The steps a Runner asks for, against mmengine's BaseModel."""

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny_net import sample_of, tiny_segmentor
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import nn

from segkit.models.data_preprocessor import SegDataPreProcessor
from segkit.models.segmentors import BaseSegmentor
from segkit.registry import MODELS


class Ours(BaseSegmentor):
    def __init__(self, preprocessor=None, init_cfg=None):
        super().__init__(preprocessor or SegDataPreProcessor(), init_cfg)
        self.first, self.second = nn.Linear(2, 2), Part()


class Part(nn.Module):
    """A part that starts its weight by itself, and not its bias."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def init_weights(self):
        nn.init.constant_(self.linear.weight, 5)


def test_losses_are_reduced_as_mmengine_does():
    losses = {
        'decode.loss_ce': torch.tensor([1.0, 3.0]),
        'decode.acc_seg': torch.tensor([80.0]),
        'aux.loss_ce': [torch.tensor(0.5), torch.tensor([2.0, 4.0])],
    }

    total, to_log = Ours().parse_losses(losses)

    expected, logged = BaseModel.parse_losses(None, losses)
    assert total == expected == 5.5
    assert list(to_log) == list(logged)
    assert all(torch.equal(to_log[key], logged[key]) for key in logged)


def test_a_loss_that_is_no_tensor_is_named():
    with pytest.raises(TypeError, match=r'decode\.loss_ce is a float'):
        Ours().parse_losses({'decode.loss_ce': 1.0})


def test_init_cfg_comes_before_what_the_parts_do_themselves():
    model = Ours(init_cfg={'type': 'Constant', 'layer': 'Linear', 'val': 2, 'bias': 3})

    model.init_weights()

    assert (model.first.weight == 2).all()
    assert (model.second.linear.weight == 5).all()
    assert (model.second.linear.bias == 3).all()


def test_whole_weights_have_the_last_word(tmp_path):
    source = Ours()
    torch.save(source.state_dict(), tmp_path / 'all.pth')
    model = Ours(init_cfg=[{'type': 'Pretrained', 'checkpoint': str(tmp_path / 'all.pth')}])

    model.init_weights()

    assert torch.equal(model.second.linear.weight, source.second.linear.weight)


@pytest.mark.parametrize('preprocessor', [SegDataPreProcessor(), BaseDataPreprocessor()])
def test_the_preprocessor_follows_the_network(preprocessor):
    model = Ours(preprocessor).to('meta')

    cast = model.data_preprocessor.cast_data({'inputs': [torch.zeros(3, 4, 4)], 'name': 'a'})

    assert cast['inputs'][0].device.type == 'meta'
    assert cast['name'] == 'a'


class Plain(BaseSegmentor):
    """As a segmentor of mmsegmentation is written: the preprocessor comes as it may."""

    def __init__(self, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs, data_samples, mode


class AsTuple(BaseDataPreprocessor):
    def forward(self, data, training=False):
        return torch.stack(data['inputs']), data['data_samples']


@pytest.mark.parametrize('preprocessor', [None, {'type': 'SegDataPreProcessor', 'pad_val': 3}])
def test_a_preprocessor_is_built_from_its_config_and_there_by_default(preprocessor):
    model = Plain(preprocessor)

    inputs, samples, mode = model.val_step({'inputs': [torch.ones(3, 4, 4, dtype=torch.uint8)]})

    assert isinstance(model.data_preprocessor, SegDataPreProcessor)
    assert model.data_preprocessor.pad_val == (3 if preprocessor else 0)
    assert inputs.shape == (1, 3, 4, 4)
    assert (samples, mode) == (None, 'predict')


def test_a_preprocessor_may_return_the_arguments_in_their_order():
    inputs, samples, _ = Plain(AsTuple()).val_step({'inputs': [torch.ones(2)], 'data_samples': 'a'})

    assert inputs.shape == (1, 2)
    assert samples == 'a'


class Cascade(BaseSegmentor):
    """A segmentor of one's own, as projects write it: two heads, the second is asked."""

    def __init__(self, backbone, decode_head, test_cfg=None, data_preprocessor=None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.backbone = MODELS.build(backbone)
        self.decode_head = nn.ModuleList(MODELS.build(head) for head in decode_head)
        self.align_corners = self.decode_head[-1].align_corners
        self.test_cfg = test_cfg

    def extract_feat(self, inputs):
        return self.backbone(inputs)

    def encode_decode(self, inputs, batch_img_metas):
        maps = self.extract_feat(inputs)
        return self.decode_head[-1].predict(maps, batch_img_metas, self.test_cfg)

    def _forward(self, inputs, data_samples=None):
        return self.decode_head[-1](self.extract_feat(inputs))

    def loss(self, inputs, data_samples):
        maps = self.extract_feat(inputs)
        losses = [head.loss(maps, data_samples) for head in self.decode_head]
        return {f'{i}.{name}': v for i, each in enumerate(losses) for name, v in each.items()}

    def predict(self, inputs, data_samples=None):
        metas = [sample.metainfo for sample in data_samples]
        return self.postprocess_result(self.encode_decode(inputs, metas), data_samples)


def test_a_segmentor_of_ones_own_has_the_modes_and_the_way_back_to_the_image():
    other = tiny_segmentor()  # registers its backbone
    head = {'type': 'FCNHead', 'in_channels': 6, 'channels': 6, 'num_classes': 4, 'num_convs': 0}
    model = Cascade({'type': 'segkit_test_tiny'}, [{**head, 'concat_input': False}] * 2)
    image, samples = torch.randn(1, 3, 40, 48), [sample_of((40, 48), ori_shape=(37, 50))]
    samples[0].set_metainfo({'img_shape': (40, 48)})
    assert {'0.loss_ce', '1.loss_ce'} < set(model(image, samples, mode='loss'))
    assert model.eval()(image).shape == (1, 4, 5, 6)
    logits = model.encode_decode(image, [{'img_shape': (40, 48)}])
    logits = F.interpolate(logits, (37, 50), mode='bilinear')
    got = model(image, samples, mode='predict')[0].pred_sem_seg.data
    assert torch.equal(got.long(), logits.argmax(1))
    assert (model.with_neck, other.with_neck, other.with_auxiliary_head) == (False, False, False)
