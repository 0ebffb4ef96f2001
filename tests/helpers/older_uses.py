"""Every name of the table, and of the places that are modules here too, built or called once.

USES: name -> what is done with what the name gave; it fails or returns something that is true.
SHARED: the places that mmsegmentation has as well, with the names that code imports from them.
"""

import functools
import io
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from PIL import Image

from segkit.familiar.table import _REGISTRIES

SMALL = dict(in_channels=16, channels=8, num_classes=3)
X = torch.randn(2, 16, 8, 8)
TOKENS = X.flatten(2).transpose(1, 2)
IMAGE = np.arange(32 * 40 * 3, dtype=np.uint8).reshape(32, 40, 3)
LABEL = (np.arange(32 * 40).reshape(32, 40) // 7 % 3).astype(np.uint8)


def sample(**more: Any) -> dict:
    return dict(
        img=IMAGE.copy(), gt_seg_map=LABEL.copy(), seg_fields=['gt_seg_map'], img_shape=(32, 40),
        ori_shape=(32, 40), img_path='a.jpg', **more,
    )  # fmt: skip


def step(*args: Any, **kwargs: Any) -> Callable:
    """A transform is built and given a sample."""
    return lambda cls: cls(*args, **kwargs)(sample()) is not None


def head(**more: Any) -> Callable:
    """A head gives a loss that can be minimised."""

    def use(cls: type) -> bool:
        built = cls(**SMALL, **more)
        losses = built.loss([X], labelled(), {})
        total = sum(v.sum() for k, v in losses.items() if 'loss' in k)
        total.backward()
        return bool(total > 0)

    return use


def labelled() -> list:
    from segkit.structures import SegDataSample

    samples = [SegDataSample(metainfo=dict(img_shape=(32, 40), ori_shape=(32, 40))) for _ in X]
    for one in samples:
        one.gt_sem_seg = PixelData(data=torch.from_numpy(LABEL)[None])
    return samples


@functools.cache
def home() -> Path:
    """A folder pair of three pictures."""
    root = Path(tempfile.mkdtemp())
    for folder, suffix, pixels in (('images', '.jpg', IMAGE), ('labels', '.png', LABEL)):
        (root / folder).mkdir()
        for i in range(3):
            Image.fromarray(pixels).save(root / folder / f'{i}{suffix}')
    return root


def folders(**more: Any) -> dict:
    prefix = dict(img_path='images', seg_map_path='labels')
    return dict(data_root=str(home()), data_prefix=prefix, **more)


def some_classes(cls: type) -> dict:
    meta = getattr(cls, 'METAINFO', {}) or {}
    return {} if meta.get('classes') else dict(metainfo=dict(classes=('a', 'b', 'c')))


def data_set(cls: type) -> bool:
    built = cls(**folders(img_suffix='.jpg', seg_map_suffix='.png', **some_classes(cls)))
    return len(built) == 3 and len(built.metainfo['classes']) >= 3


def of_data_sets(cls: type) -> bool:
    from segkit.datasets import BaseSegDataset

    load = [dict(type='LoadImageFromFile')]
    part = BaseSegDataset(**folders(metainfo=dict(classes=('a', 'b', 'c')), pipeline=load))
    if cls.__name__ == 'MultiImageMixDataset':
        built = cls(dataset=part, pipeline=[dict(type='RandomFlip', prob=1.0)])
        return built[0]['img'].shape == (32, 40, 3)
    return len(cls([part, part]) if 'Concat' in cls.__name__ else cls(part, times=2)) == 6


@functools.cache
def model() -> Any:
    from segkit.apis import init_model

    return init_model('fcn_r18-d8_shapes')


def loader(build: Callable) -> Any:
    from segkit.datasets import BaseSegDataset

    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    steps.append(dict(type='PackSegInputs'))
    part = BaseSegDataset(**folders(metainfo=dict(classes=('a', 'b', 'c')), pipeline=steps))
    return build(part, samples_per_gpu=1, workers_per_gpu=0, dist=False, shuffle=False)


def tested(test: Callable) -> bool:
    from segkit.datasets.builder import build_dataloader

    return [p.shape for p in test(model(), loader(build_dataloader))] == [(32, 40)] * 3


def trained(train: Callable) -> bool:
    from helpers.old_configs import v0_config

    text = v0_config('fcn_r50-d8_512x1024_40k_cityscapes')
    cfg = Config.fromstring(text.replace('max_iters=40000', 'max_iters=-1'), '.py')
    try:
        train(None, [], cfg)
    except Exception as error:  # it was read; tests/familiar/test_projects.py trains with it
        return 'max_iters' in str(error) or isinstance(error, (AttributeError, IndexError))
    return False


def pair(function: Callable, *metric: Any) -> bool:
    found = function([LABEL], [LABEL], 3, 255, *metric)
    return found['aAcc'] == 1


def areas(function: Callable) -> Any:
    from segkit.core.evaluation import intersect_and_union

    return function, [intersect_and_union(LABEL, LABEL, 3, 255)]


def read(name: str, value: object = None) -> Callable:
    return lambda thing: getattr(thing, name)() if value is None else getattr(thing, name) == value


def built_by_type(cls: type, **args: Any) -> Any:
    from segkit.registry import TRANSFORMS

    return TRANSFORMS.build(dict(type=cls.__name__, **args))


def kind_of(*keys: str) -> Callable:
    return lambda registry: all(registry.get(key) is not None for key in keys)


def build(kind: str, **args: Any) -> Callable:
    return lambda function: function(dict(type=kind, **args)) is not None


def is_a_type(thing: Any) -> bool:
    return isinstance({}, thing) if isinstance(thing, type) else 'ict' in str(thing) or bool(thing)


def classes(function: Callable) -> bool:
    return len(function()) >= 6


def loss(cls: type) -> bool:
    return bool(cls()(torch.randn(1, 3, 4, 4), torch.ones(1, 4, 4).long()) > 0)


def block(cls: type) -> bool:
    halved = cls(16, 16 // cls.expansion, 2, downsample=torch.nn.AvgPool2d(2))
    return halved(X).shape[2:] == (4, 4) and cls(16, 16 // cls.expansion)(X).shape == X.shape


def attention(cls: type) -> bool:
    switches = dict.fromkeys(['share_key_query', 'matmul_norm', 'with_out'], True)
    norms = dict(key_query_norm=True, value_out_norm=False, conv_cfg=None, norm_cfg=None)
    built = cls(
        16, 16, 4, 8, query_downsample=None, key_downsample=torch.nn.AvgPool2d(2),
        key_query_num_convs=2, value_out_num_convs=1, act_cfg=dict(type='ReLU'), **switches,
        **norms,
    )  # fmt: skip
    return built(X, X).shape == (2, 8, 8, 8)


def shown(function: Callable) -> bool:
    one = function(model(), IMAGE, LABEL, [[0, 0, 0]] * 13, show=False)
    other = function(model(), IMAGE, LABEL, 0.3, 'a', True, True, 0, False, True)
    return one.shape == other.shape == (32, 40, 3) and (one != other).any()


def saw(function: Callable) -> bool:
    found = function(model(), IMAGE)
    found = found[0] if isinstance(found, list) else found.pred_sem_seg.data[0]
    return tuple(found.shape) == (32, 40)


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, LABEL)
    return file.getvalue()


def same(number: int) -> Callable:
    return lambda loss: loss.sum() == number


def stack(function: Callable) -> bool:
    batch, samples = function([torch.ones(3, 32, 40)], labelled()[:1], size=(48, 48), pad_val=2)
    return batch.shape == (1, 3, 48, 48) and samples[0].gt_sem_seg.data[0, 47, 47] == 255


def sampler(cls: type) -> bool:
    from segkit.models.decode_heads import FCNHead

    return cls(FCNHead(**SMALL), thresh=0.7, min_kept=2).sample(
        torch.randn(1, 3, 8, 8), torch.ones(1, 1, 8, 8).long()
    ).shape == (1, 8, 8)


USES: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(
        ['ADE20KDataset', 'BaseSegDataset', 'CustomDataset', 'CityscapesDataset',
         'COCOStuffDataset',
         'DarkZurichDataset', 'NightDrivingDataset', 'PascalContextDataset', 'iSAIDDataset',
         'PascalContextDataset59', 'PascalVOCDataset', 'PotsdamDataset', 'LoveDADataset',
         'ISPRSDataset'], data_set),
    **dict.fromkeys(['ConcatDataset', 'RepeatDataset', 'MultiImageMixDataset'], of_data_sets),
    'DistributedSampler': lambda cls: len(cls(range(5), 2, 0)) == 3,
    'build_dataset': lambda f: len(f(dict(
        type='CustomDataset', img_dir='images', ann_dir='labels', data_root=str(home()),
        classes=('a', 'b', 'c')))) == 3,
    'build_dataloader': lambda f: len(loader(f)) == 3,
    # transforms
    'AdjustGamma': step(2.0), 'CLAHE': step(), 'RGB2Gray': step(), 'Rerange': step(),
    'Albu': lambda cls: cls.__name__ == 'Albu', 'GenerateEdge': step(),
    'RandomFlip': step(prob=1.0),
    'RandomCutOut': step(1.0, 2, cutout_ratio=(0.1, 0.1)), 'RandomRotFlip': step(),
    'RandomMosaic': lambda cls: cls(prob=0.5).get_indices([1, 2]), 'SegRescale': step(0.5),
    'ResizeShortestEdge': step(16, 100), 'ResizeToMultiple': step(16),
    'RandomCrop': step((16, 16)), 'RandomRotate': step(1.0, 10), 'PhotoMetricDistortion': step(),
    'RandomResize': step((20, 16), (0.5, 2.0), keep_ratio=True), 'Resize': step((20, 16)),
    'Pad': step(size=(64, 64)), 'Normalize': step([0, 0, 0], [1, 1, 1]), 'PackSegInputs': step(),
    'ImageToTensor': step(['img']), 'ToTensor': step(['img']),
    'MultiScaleFlipAug': lambda cls: built_by_type(
        cls, transforms=[lambda r: dict(inputs=r['img'], data_sample=0)], scales=[(20, 16)])(
            sample())['inputs'],
    'Compose': lambda cls: cls([dict(type='RandomFlip', prob=1.0)])(sample()),
    'LoadImageFromNDArray': step(), 'to_tensor': lambda f: f(IMAGE).shape == IMAGE.shape,
    'LoadImageFromFile': lambda cls: cls()(dict(img_path=str(home() / 'images/0.jpg'))),
    'LoadAnnotations': lambda cls: cls()(
        dict(seg_map_path=str(home() / 'labels/0.png'), seg_fields=[]))['gt_seg_map'].max() == 2,
    # networks
    **dict.fromkeys(['FCNHead', 'PSPHead', 'ASPPHead'], head(
        norm_cfg=dict(type='GN', num_groups=2))),
    'DepthwiseSeparableASPPHead': lambda cls: cls(
        c1_in_channels=0, c1_channels=0, norm_cfg=dict(type='GN', num_groups=2), **SMALL)(
            [X]).shape[1] == 3,
    'PSAHead': head(mask_size=(9, 9)), 'DAHead': head(pam_channels=4),
    'ISAHead': head(isa_channels=4),
    **dict.fromkeys(['UPerHead', 'SegformerHead'], lambda cls: cls(
        in_channels=[16, 16], in_index=[0, 1], channels=8, num_classes=3,
        norm_cfg=dict(type='GN', num_groups=2))([X, X]).shape[1] == 3),
    'BaseDecodeHead': lambda cls: type('Own', (cls,), dict(forward=None))(**SMALL).cls_seg(
        torch.ones(1, 8, 2, 2)).shape[1] == 3,
    'MixFFN': lambda cls: cls(16, 32)(TOKENS, (8, 8)).shape == TOKENS.shape,
    'EfficientMultiheadAttention': lambda cls: cls(16, 2, sr_ratio=2)(TOKENS, (8, 8)).shape,
    'TransformerEncoderLayer': lambda cls: cls(16, 2, 32, with_cp=True)(TOKENS, (8, 8)).shape,
    '_expand_onehot_labels': lambda f: [t.sum() for t in f(
        torch.tensor([[0, 2, 255]]), None, (1, 3, 3), 255)] == [2, 6, 6],
    **dict.fromkeys(['ResNet', 'ResNetV1c', 'ResNetV1d'], lambda cls: len(
        cls(depth=18, base_channels=4, stem_channels=4).eval()(torch.ones(1, 3, 32, 32))) == 4),
    'MixVisionTransformer': lambda cls: issubclass(cls, torch.nn.Module),
    'TIMMBackbone': lambda cls: cls('resnet18', pretrained=False) if _has_timm() else cls,
    **dict.fromkeys(['BasicBlock', 'Bottleneck'], block),
    'ResLayer': lambda cls: len(cls(_basic(), 16, 16, 2)) == 2,
    'PPM': lambda cls: [m.shape[1:] for m in cls((1, 2), 16, 4)(X)] == [(4, 8, 8)] * 2,
    'ASPPModule': lambda cls: len(cls((1, 2), 16, 4)(X)) == 2,
    'PAM': lambda cls: cls(16, 4)(X).shape == X.shape, 'CAM': lambda cls: cls()(X).shape == X.shape,
    'SelfAttentionBlock': lambda cls: attention(cls) if 'familiar' in cls.__module__ else (
        cls(16, 4)(X).shape == X.shape),
    'Upsample': lambda cls: cls(scale_factor=2)(X).shape[2:] == (16, 16),
    'resize': lambda f: f(X, size=(4, 4), mode='bilinear', align_corners=False).shape[2:] == (4, 4),
    'PatchEmbed': lambda cls: cls(16, 8, kernel_size=2)(X)[1] == (4, 4),
    'PatchMerging': lambda cls: cls(16, 8)(X.flatten(2).transpose(1, 2), (8, 8))[1] == (4, 4),
    'AdaptivePadding': lambda cls: cls(3, 3)(X).shape[2:] == (9, 9),
    'make_divisible': lambda f: f(33, 8) == 32, 'nchw_to_nlc': lambda f: f(X).shape == (2, 64, 16),
    'nlc_to_nchw': lambda f: f(torch.ones(2, 64, 16), (8, 8)).shape == X.shape,
    'nlc2nchw2nlc': lambda f: f(torch.nn.Identity(), torch.ones(2, 64, 16), (8, 8)).shape[1] == 64,
    'nchw2nlc2nchw': lambda f: torch.equal(f(torch.nn.Identity(), X), X),
    'EncoderDecoder': lambda cls: isinstance(model(), cls),
    'BaseSegmentor': lambda cls: isinstance(model(), cls),
    'SegDataPreProcessor': lambda cls: cls(size=(40, 40))(
        dict(inputs=[torch.ones(3, 32, 40)] * 2, data_samples=labelled()), True)[
            'inputs'].shape[2] == 40,
    **dict.fromkeys(['build_segmentor', 'build_head', 'build_neck'], build('FCNHead', **SMALL)),
    'build_backbone': build('ResNetV1c', depth=18), 'build_loss': build('CrossEntropyLoss'),
    **dict.fromkeys(['MODELS', 'BACKBONES', 'HEADS', 'LOSSES', 'NECKS', 'SEGMENTORS', 'ATTENTION'],
                    kind_of('PSPHead', 'ResNetV1c', 'EncoderDecoder')),
    **dict.fromkeys(
        [*_REGISTRIES.split(), 'PIXEL_SAMPLERS'], lambda registry: registry.scope == 'segkit'),
    'DATASETS': kind_of('CityscapesDataset'), 'PIPELINES': kind_of('RandomCrop'),
    **dict.fromkeys(['OPTIMIZER_BUILDERS', 'OPTIMIZER_CONSTRUCTORS'],
                    kind_of('DefaultOptimWrapperConstructor')),
    # losses and samplers
    **dict.fromkeys(
        ['CrossEntropyLoss', 'DiceLoss', 'FocalLoss', 'LovaszLoss', 'TverskyLoss'], loss),
    'Accuracy': lambda cls: cls()(torch.eye(3)[None], torch.ones(1, 3)),
    'accuracy': lambda f: f(torch.eye(3), torch.arange(3)) == 100,
    'cross_entropy': lambda f: f(torch.zeros(1, 2, 4), torch.ones(1, 4).long()) > 0.69,
    'binary_cross_entropy': lambda f: f(torch.zeros(1, 2, 4), torch.ones(1, 4).long()) > 0.69,
    'mask_cross_entropy': lambda f: f(
        torch.zeros(2, 3, 4, 4), torch.ones(2, 4, 4), torch.tensor([0, 2])).shape == (1,),
    'weight_reduce_loss': lambda f: f(torch.ones(4), torch.tensor([0, 1, 1, 2]), 'sum') == 4,
    **dict.fromkeys(['sigmoid_focal_loss', 'py_sigmoid_focal_loss'], lambda f: f(
        torch.zeros(2, 3), torch.eye(3)[:2] if f.__name__[0] == 'p' else torch.arange(2)) > 0),
    'dice_loss': lambda f: f(torch.eye(3)[None, ..., None], torch.eye(3)[None, ..., None]) < 1e-3,
    'tversky_loss': lambda f: f(torch.zeros(1, 2, 4), torch.ones(1, 4, 2), torch.ones(1, 4)) > 0.7,
    'binary_tversky_loss': lambda f: f(torch.ones(1, 4), torch.ones(1, 4), torch.ones(1, 4)) == 0,
    'lovasz_grad': lambda f: f(torch.tensor([1.0, 0.0])).tolist() == [1, 0],
    'flatten_binary_logits': lambda f: len(f(torch.zeros(2, 3), torch.ones(2, 3), 1)[0]) == 0,
    'flatten_probs': lambda f: f(X, torch.ones(2, 8, 8))[0].shape == (128, 16),
    'lovasz_hinge': lambda f: f(torch.zeros(1, 2, 2), torch.ones(1, 2, 2).long()) == 1,
    'lovasz_hinge_flat': lambda f: f(torch.zeros(4), torch.ones(4).long()) == 1,
    'lovasz_softmax': lambda f: f(torch.ones(1, 1, 2, 2), torch.zeros(1, 2, 2).long()) == 0,
    'lovasz_softmax_flat': lambda f: f(torch.ones(4, 2) / 2, torch.ones(4).long()) == 0.5,
    'reduce_loss': lambda f: f(torch.ones(4), 'mean') == 1,
    'weighted_loss': lambda f: f(lambda a, b: (a - b).abs())(torch.ones(4), torch.zeros(4)) == 1,
    'get_class_weight': lambda f: f([1, 2]) == [1.0, 2.0],
    'BasePixelSampler': lambda cls: 'sample' in cls.__abstractmethods__,
    'OHEMPixelSampler': sampler,
    'build_pixel_sampler': lambda f: f(dict(type='OHEMPixelSampler', min_kept=2), context=None),
    # scores
    'IoUMetric': lambda cls: cls(iou_metrics=['mIoU', 'mDice']).metrics == ['mIoU', 'mDice'],
    'CityscapesMetric': lambda cls: cls(output_dir='x', format_only=True).format_only,
    'intersect_and_union': lambda f: [int(a.sum()) for a in f(LABEL, LABEL, 3, 255)] == [1280] * 4,
    'total_intersect_and_union': lambda f: f([LABEL] * 2, [LABEL] * 2, 3, 255)[0].sum() == 2560,
    'total_area_to_metrics': lambda f: f(*areas(f)[1][0], 'mFscore')['Fscore'].tolist() == [1] * 3,
    'pre_eval_to_metrics': lambda f: f(areas(f)[1])['IoU'].tolist() == [1, 1, 1],
    'mean_iou': pair, 'mean_dice': pair, 'mean_fscore': pair, 'eval_metrics': pair,
    'f_score': lambda f: f(0.5, 0.5) == 0.5,
    # names, versions, types
    **dict.fromkeys(
        [f'{name}_{kind}' for kind in ('classes', 'palette') for name in (
            'ade', 'cityscapes', 'cocostuff', 'isaid', 'loveda', 'pcontext', 'potsdam',
            'vaihingen', 'voc')], classes),
    'dataset_aliases': lambda d: 'voc12aug' in d['voc'],
    'get_classes': lambda f: len(f('ade')) == 150,
    'get_palette': lambda f: f('voc')[0] == [0, 0, 0], '__version__': lambda v: v.count('.') == 2,
    'version_info': lambda v: len(v) >= 3,
    'parse_version_info': lambda f: f('1.2.0rc1') == (1, 2, 0, 'rc1'),
    'digit_version': lambda f: f('1.2.0') > f('1.1.9'),
    **dict.fromkeys(
        ['ConfigType', 'OptConfigType', 'MultiConfig', 'OptMultiConfig', 'SampleList',
         'OptSampleList', 'TensorDict', 'TensorList', 'ForwardResults', 'ImageType', 'InputType',
         'InputsType', 'PredType'], is_a_type),
    'SegDataSample': lambda cls: cls(metainfo=dict(a=1)).a == 1,
    'add_prefix': lambda f: f({'a': 1}, 'aux') == {'aux.a': 1}, 'stack_batch': stack,
    'datafrombytes': lambda f: (f(npy(), 'numpy') == LABEL).all(),
    'collect_env': lambda f: 'torch' in f(), 'register_all_modules': lambda f: f(False) is None,
    # running
    **dict.fromkeys(['init_model', 'init_segmentor'], lambda f: f('fcn_r18-d8_shapes').cfg),
    **dict.fromkeys(['inference_model', 'inference_segmentor'], saw), 'show_result_pyplot': shown,
    'MMSegInferencer': lambda cls: cls(model())([IMAGE] * 2)['predictions'][1].shape == (32, 40),
    '_preprare_data': lambda f: f([IMAGE], model())[1] and not f(IMAGE, model())[1],
    **dict.fromkeys(['single_gpu_test', 'multi_gpu_test'], tested), 'train_segmentor': trained,
    'set_random_seed': lambda f: f(3) == 3, 'init_random_seed': lambda f: f(7) == 7,
    'sync_random_seed': lambda f: isinstance(f(5), int), 'check_dist_init': lambda f: f() is False,
    'get_root_logger': lambda f: isinstance(f(), logging.Logger),
    'setup_multi_processes': lambda f: f(dict(mp_start_method=None)) is None,
    'find_latest_checkpoint': lambda f: f(str(home())) is None,
    'SegVisualizationHook': lambda cls: cls(draw=True).draw,
    'SegLocalVisualizer': lambda cls: cls(alpha=0.5).draw_sem_seg(IMAGE).shape == IMAGE.shape,
}  # fmt: skip

SHARED = {
    'apis': 'init_model inference_model init_segmentor inference_segmentor',
    'datasets': (
        'BaseSegDataset ADE20KDataset CityscapesDataset PascalVOCDataset PascalContextDataset '
        'PascalContextDataset59 LoveDADataset COCOStuffDataset PotsdamDataset ISPRSDataset '
        'iSAIDDataset MultiImageMixDataset ConcatDataset RepeatDataset'
    ),
    'datasets.cityscapes': 'CityscapesDataset',
    'datasets.pascal_context': 'PascalContextDataset PascalContextDataset59',
    'datasets.transforms': (
        'LoadAnnotations PackSegInputs RandomCrop PhotoMetricDistortion RandomRotate RandomFlip'
    ),
    'datasets.transforms.loading': 'LoadAnnotations',
    'datasets.transforms.formatting': 'PackSegInputs',
    'evaluation': 'IoUMetric',
    'models': (
        'build_segmentor build_backbone build_head build_loss BaseSegmentor EncoderDecoder '
        'SegDataPreProcessor'
    ),
    'models.backbones': 'ResNet ResNetV1c ResNetV1d MixVisionTransformer',
    'models.backbones.resnet': 'BasicBlock Bottleneck ResNet ResNetV1c ResNetV1d ResLayer',
    'models.builder': (
        'BACKBONES HEADS LOSSES NECKS SEGMENTORS build_head build_backbone build_neck build_loss'
    ),
    'models.data_preprocessor': 'SegDataPreProcessor',
    'models.decode_heads': (
        'FCNHead PSPHead PSAHead DAHead ISAHead BaseDecodeHead UPerHead ASPPHead '
        'DepthwiseSeparableASPPHead SegformerHead'
    ),
    'models.decode_heads.da_head': 'PAM CAM DAHead',
    'models.decode_heads.decode_head': 'BaseDecodeHead',
    'models.decode_heads.isa_head': 'ISAHead SelfAttentionBlock',
    'models.losses': (
        'CrossEntropyLoss accuracy Accuracy cross_entropy binary_cross_entropy weight_reduce_loss '
        'weighted_loss reduce_loss DiceLoss FocalLoss LovaszLoss TverskyLoss'
    ),
    'models.losses.focal_loss': 'FocalLoss',
    'models.losses.lovasz_loss': 'LovaszLoss',
    'models.losses.accuracy': 'accuracy',
    'models.losses.cross_entropy_loss': 'CrossEntropyLoss cross_entropy',
    'models.segmentors': 'EncoderDecoder BaseSegmentor',
    'models.segmentors.base': 'BaseSegmentor',
    'models.segmentors.encoder_decoder': 'EncoderDecoder',
    'structures': 'SegDataSample',
    'visualization': 'SegLocalVisualizer',
    'visualization.local_visualizer': 'SegLocalVisualizer',
}


def _basic() -> type:
    from segkit.models.backbones.resnet import BasicBlock

    return BasicBlock


def _has_timm() -> bool:
    import importlib.util

    return importlib.util.find_spec('timm') is not None
