"""Small networks on fixed inputs: losses, gradients and predictions to compare with.

Weights, pictures and labels come from NumPy's generators by name, so that nothing depends on the
order in which a network draws its weights. All in float32.
"""

import zlib

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from segkit.apis import inference_model, init_model
from segkit.structures import PixelData, SegDataSample

HEADS = {
    'FCNHead': dict(num_convs=2, concat_input=True),
    'PSPHead': dict(pool_scales=(1, 2, 3, 6)),
    'PSAHead': dict(mask_size=(9, 11)),
    'DAHead': dict(pam_channels=8),
    'ISAHead': dict(isa_channels=8, down_factor=(3, 4)),
    'ASPPHead': dict(dilations=(1, 2, 4)),
    'DepthwiseSeparableASPPHead': dict(dilations=(1, 2, 4), c1_in_channels=8, c1_channels=10),
    'UPerHead': dict(in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3]),
    'SegformerHead': dict(in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], channels=24),
}
CLASSES = 5
BEFORE_SOFTMAX = ('conv_seg', 'query', 'key', 'in_proj')
MODES = {
    'whole': (dict(mode='whole'), False),
    'slide': (dict(mode='slide', crop_size=(32, 40), stride=(20, 24)), False),
    'ms+flip': (dict(mode='whole'), True),
}
PREPROCESSOR = dict(
    type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
)  # fmt: skip
BACKBONE = dict(
    type='ResNetV1c', depth=18, num_stages=4, out_indices=(0, 1, 2, 3), base_channels=8,
    stem_channels=8, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True,
    norm_cfg=dict(type='BN'), norm_eval=False, style='pytorch',
)  # fmt: skip
# Where a head comes with an encoder of its own; channels as above.
ENCODERS = {
    'SegformerHead': dict(
        type='MixVisionTransformer', embed_dims=8, num_heads=(1, 2, 4, 8), num_layers=(2, 2, 2, 2),
        mlp_ratio=2, sr_ratios=(4, 2, 2, 1)),
}  # fmt: skip
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(56, 48), keep_ratio=True),
    dict(type='PackSegInputs'),
]


def network(head: str) -> nn.Module:
    """A segmentor with that head and an auxiliary FCN, its weights drawn by their names."""
    shared = dict(num_classes=CLASSES, dropout_ratio=0, norm_cfg=dict(type='BN'))
    model = dict(
        type='EncoderDecoder', data_preprocessor=PREPROCESSOR,
        backbone=ENCODERS.get(head, BACKBONE),
        decode_head={
            'type': head, 'in_channels': 64, 'in_index': 3, 'channels': 16, 'align_corners': False,
            **HEADS[head], **shared},
        auxiliary_head=dict(
            type='FCNHead', in_channels=32, in_index=2, channels=8, num_convs=1,
            concat_input=False, loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
            **shared),
    )  # fmt: skip
    cfg = Config(dict(model=model, test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))
    made = init_model(cfg)
    with torch.no_grad():
        for name, value in made.state_dict().items():
            if value.is_floating_point() and not name.startswith('data_preprocessor'):
                value.copy_(torch.from_numpy(_drawn(name, tuple(value.shape))))
    return made


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def _drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values that make every term count, and keep maps of about the same size through layers.

    Scores stay small, so that a softmax over them does not end at 0 and 1.
    """
    generator = _generator(name)
    if len(shape) >= 2:
        scale = (2 / np.prod(shape[1:])) ** 0.5
        scale *= 0.1 if any(part in name for part in BEFORE_SOFTMAX) else 1
        return (generator.standard_normal(shape) * scale).astype(np.float32)
    if name.endswith(('running_var', '.weight')):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    return np.asarray(generator.standard_normal(shape) * 0.3, np.float32)


def picture() -> np.ndarray:
    """(48, 56, 3) uint8 with structure, so that views of other sizes differ."""
    coarse = _generator('picture').uniform(0, 255, (6, 7, 3))
    fine = _generator('grain').uniform(-20, 20, (48, 56, 3))
    return (coarse.repeat(8, axis=0).repeat(8, axis=1) + fine).clip(0, 255).astype(np.uint8)


def batch() -> tuple[Tensor, list[SegDataSample]]:
    """Two normalised images (2, 3, 48, 56) and their uint8 labels, a fifth of them ignored."""
    inputs = _generator('inputs').standard_normal((2, 3, 48, 56)).astype(np.float32)
    labels = _generator('labels').integers(0, CLASSES, (2, 12, 14), dtype=np.uint8)
    labels[_generator('ignored').random(labels.shape) < 0.2] = 255
    labels = labels.repeat(4, axis=1).repeat(4, axis=2)
    samples = []
    for label in labels:
        sample = SegDataSample(metainfo=dict(img_shape=(48, 56), ori_shape=(48, 56)))
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(label[None].copy()))
        samples.append(sample)
    return torch.from_numpy(inputs), samples


def trained(head: str) -> dict:
    """Losses, the norm of each parameter's gradient and the first values of some."""
    model = network(head).train()
    inputs, samples = batch()
    losses = model(inputs, samples, mode='loss')
    total = sum(value for name, value in losses.items() if 'loss' in name)
    total.backward()
    gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    return dict(
        losses={name: float(value.detach()) for name, value in losses.items()},
        norms={name: float(g.double().norm()) for name, g in gradients.items()},
        values={k: g.flatten()[:4].tolist() for k, g in gradients.items() if 'conv' in k},
    )


def predicted(head: str) -> dict[str, dict]:
    """Scores and classes of one picture: whole, by windows, and of many views."""
    found = {}
    for mode, (test_cfg, views) in MODES.items():
        model = network(head)
        model.test_cfg = dict(test_cfg, keep_logits=True)
        sample = inference_model(model, picture(), aug_test=views)
        scores = sample.seg_logits.data.double()
        classes = sample.pred_sem_seg.data[0]
        found[mode] = dict(
            norms=scores.flatten(1).norm(dim=1).tolist(),
            values=scores[:, ::9, ::11].flatten().tolist(),
            classes=[''.join(map(str, row)) for row in classes.tolist()],
        )
    return found
