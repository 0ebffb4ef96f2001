"""Every shipped config: its keys and shapes are the published ones, its values the recipe's."""

import ast
import csv
from inspect import signature
from pathlib import Path

import pytest
import torch
from helpers.published_keys import published_shapes
from mmengine.config import Config

from segkit.engine.config_files import shipped_configs
from segkit.model_zoo import PUBLISHED, read_rows
from segkit.registry import DATASETS
from segkit.weights import build_undrawn, load_into

RECIPES = {
    row['config']: row
    for row in csv.DictReader(PUBLISHED.with_name('recipes.csv').open(newline=''))
}
CONFIGS = shipped_configs()
ABLATION = sorted(n for n, path in CONFIGS.items() if path.parent.name == 'ablation')
BASELINES = sorted(n for n, path in CONFIGS.items() if path.parent.name == 'fcn')
MIT_FILES = (
    'mit_b0_20220624-7e0fe6dd.pth',
    'mit_b1_20220624-02e5a6a1.pth',
    'mit_b2_20220624-66e8bf70.pth',
    'mit_b3_20220624-13b1141c.pth',
    'mit_b4_20220624-d588d980.pth',
    'mit_b5_20220624-658746d9.pth',
)
MIT = [
    'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/' + name
    for name in MIT_FILES
]
# 2 depths x (4 on Cityscapes, 2 each on ADE20K, VOC-aug and Pascal Context)
NUM_BASELINES = 2 * (4 + 2 + 2 + 2)


def load(name: str) -> Config:
    return Config.fromfile(CONFIGS[name])


def transform(cfg: Config, loader: str, kind: str) -> dict:
    """The one transform of a type in the pipeline of a loader, the same in all its datasets."""
    dataset = cfg[loader].dataset
    parts = dataset.get('datasets', [dataset])
    found = [t for part in parts for t in part.pipeline if t.type == kind]
    assert found
    assert all(t == found[0] for t in found)
    return found[0]


def test_there_are_as_many_configs_as_published_rows():
    rows = read_rows()

    assert len(RECIPES) == len(rows) == 199
    assert {row.config for row in rows} == set(RECIPES)
    assert set(RECIPES) <= set(CONFIGS)
    assert len(BASELINES) == NUM_BASELINES
    assert len(ABLATION) >= 9


def test_configs_lie_in_the_folder_of_their_method():
    for name in RECIPES:
        assert CONFIGS[name].parent.name == name.split('_')[0]


@pytest.mark.parametrize('name', RECIPES)
def test_keys_and_shapes_are_the_published_ones(name):
    model = build_undrawn(load(name).model)

    ours = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}

    expected = published_shapes(name.split('_')[0], RECIPES[name])
    assert ours == expected
    assert list(ours) == list(expected), 'an optimiser saves its state by their order'


TRAINED_ON_ADE20K = [
    f'{method}_r{depth}{stride}_512x512_80k_ade20k'
    for method, stride in {
        **dict.fromkeys(
            ['psanet', 'pspnet', 'danet', 'isanet', 'deeplabv3', 'deeplabv3plus'], '-d8'
        ),
        'upernet': '',
    }.items()
    for depth in (50, 101)
] + [f'segformer_mit-b{i}_512x512_160k_ade20k' for i in (0, 5)]


@pytest.mark.parametrize('name', TRAINED_ON_ADE20K)
def test_a_published_file_fills_a_model_without_weights(name):
    """Expanded zeros take no memory, whatever their shape."""
    shapes = published_shapes(name.split('_')[0], RECIPES[name])
    state = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    classes = tuple(f'c{i}' for i in range(150))
    model = build_undrawn(load(name).model)

    report = load_into(model, {'meta': {'CLASSES': classes}, 'state_dict': state}, assign=True)

    assert report.rows() == []
    assert model.dataset_meta['classes'] == list(classes)
    assert not any(tensor.any() for tensor in model.decode_head.state_dict().values())
    mean = model.data_preprocessor.mean.flatten().tolist()
    assert mean == pytest.approx([123.675, 116.28, 103.53])


@pytest.mark.parametrize('name', RECIPES)
def test_values_are_those_of_the_recipe(name):
    cfg, recipe = load(name), RECIPES[name]
    model, optimizer = cfg.model, cfg.optim_wrapper.optimizer
    *warm_up, schedule = cfg.param_scheduler
    ours = {
        'depth': model.backbone.get('depth', ''),
        'optimizer': optimizer.type,
        'warmup_iters': warm_up[0].end if warm_up else '',
        'strides': model.backbone.get('strides', ''),
        'dilations': model.backbone.get('dilations', ''),
        'head_dilations': model.decode_head.get('dilations', ''),
        'embed_dims': model.backbone.get('embed_dims', ''),
        'num_layers': model.backbone.get('num_layers', ''),
        'num_classes': model.decode_head.num_classes,
        'align_corners': model.decode_head.align_corners,
        'mask_size': model.decode_head.get('mask_size', ''),
        'pam_channels': model.decode_head.get('pam_channels', ''),
        'isa_channels': model.decode_head.get('isa_channels', ''),
        'train_scale': transform(cfg, 'train_dataloader', 'RandomResize').scale,
        'crop_size': transform(cfg, 'train_dataloader', 'RandomCrop').crop_size,
        'test_scale': transform(cfg, 'test_dataloader', 'Resize').scale,
        'batch_per_gpu': cfg.train_dataloader.batch_size,
        'workers': cfg.train_dataloader.num_workers,
        'lr': optimizer.lr,
        'momentum': optimizer.get('momentum', ''),
        'weight_decay': optimizer.weight_decay,
        'poly_power': schedule.power,
        'min_lr': schedule.eta_min,
        'max_iters': cfg.train_cfg.max_iters,
        'val_interval': cfg.train_cfg.val_interval,
        'test_mode': model.test_cfg.mode,
        'test_crop': model.test_cfg.get('crop_size', ''),
        'test_stride': model.test_cfg.get('stride', ''),
    }
    # Blank where the pages of the first four methods say nothing of it.
    given = {k: v for k, v in ours.items() if recipe[k] or k not in EVERYWHERE}
    differing = {k: (v, recipe[k]) for k, v in given.items() if v != _parse(recipe[k])}
    assert not differing


EVERYWHERE = ('optimizer', 'strides', 'dilations')


def _parse(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def weights_of(name: str, recipe: dict) -> str:
    if 'mit-b' in name:
        size = name.split('mit-')[1][:2]
        return next(w for w in MIT if f'mit_{size}_' in w)
    plain = name.split('_')[1].startswith(f'r{recipe["depth"]}b')
    source = 'torchvision://resnet{}' if plain else 'open-mmlab://resnet{}_v1c'
    return source.format(recipe['depth'])


@pytest.mark.parametrize('name', RECIPES)
def test_the_rest_of_the_recipe_is_consistent(name):
    cfg, recipe = load(name), RECIPES[name]
    model = cfg.model

    assert model.pretrained == weights_of(name, recipe)
    if name.split('_')[0] == 'segformer':
        assert model.auxiliary_head is None
    else:
        assert model.auxiliary_head.num_classes == model.decode_head.num_classes
        assert model.auxiliary_head.align_corners == model.decode_head.align_corners
    assert model.data_preprocessor.size == _parse(recipe['crop_size'])
    assert cfg.optim_wrapper.optimizer.type == (recipe['optimizer'] or 'SGD')
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters
    assert not any(schedule.by_epoch for schedule in cfg.param_scheduler)
    assert transform(cfg, 'train_dataloader', 'RandomResize').ratio_range == (0.5, 2.0)
    assert transform(cfg, 'train_dataloader', 'RandomCrop').cat_max_ratio == 0.75
    assert transform(cfg, 'train_dataloader', 'RandomFlip').prob == 0.5
    for loader in ('train_dataloader', 'test_dataloader'):
        annotations = transform(cfg, loader, 'LoadAnnotations')
        dataset = cfg[loader].dataset
        own = signature(DATASETS.get(dataset.type)).parameters.get('reduce_zero_label')
        default = own.default if own else False
        zero = annotations.get('reduce_zero_label', dataset.get('reduce_zero_label', default))
        assert bool(zero) is _parse(recipe['reduce_zero_label'])
    batch = int(recipe['batch_per_gpu']) * int(recipe['gpus'])
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=batch)


@pytest.mark.parametrize('name', BASELINES + ABLATION)
def test_baselines_and_ablation_build(name):
    cfg = load(name)
    depth = 101 if '_r101-' in name else 50

    model = build_undrawn(cfg.model)

    ours = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    classes = cfg.model.decode_head.num_classes
    sample = next(r for r in RECIPES.values() if r['depth'] == str(depth) and not r['mask_size'])
    published = published_shapes('pspnet', {**sample, 'num_classes': str(classes)})
    # The backbone and the auxiliary head are common to all of them.
    shared = {k: s for k, s in published.items() if not k.startswith('decode_head')}
    assert {k: s for k, s in ours.items() if not k.startswith('decode_head')} == shared
    assert ours['decode_head.conv_seg.weight'][0] == classes
    assert (
        cfg.train_cfg.max_iters == int(next(p for p in name.split('_') if p[-1] == 'k')[:-1]) * 1000
    )


def test_r101_configs_are_two_line_children():
    for name in RECIPES:
        if '_r101-' in name and name.replace('_r101-', '_r50-') in CONFIGS:
            lines = [line for line in CONFIGS[name].read_text().splitlines() if line.strip()]
            assert len(lines) == 2, name
            assert lines[0] == f"_base_ = './{name.replace('_r101-', '_r50-')}.py'"


SMALL = {'psanet': (9, 9), 'pspnet': None, 'danet': None, 'isanet': None, 'fcn': None,
         'deeplabv3': None, 'deeplabv3plus': None}  # fmt: skip


@pytest.mark.parametrize('method', SMALL)
def test_one_training_step_of_each_family(method):
    """R-50 with an eighth of its channels, on CPU: finite losses, gradients everywhere."""
    from segkit.registry import MODELS
    from segkit.structures import SegDataSample

    torch.manual_seed(0)
    cfg = _slim(load(f'{method}_r50-d8_512x1024_40k_cityscapes').model, SMALL[method])
    model = MODELS.build(cfg).train()
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    samples = [SegDataSample() for _ in images]
    for sample in samples:
        label = torch.randint(0, 19, (1, 64, 64), dtype=torch.uint8)
        label[:, :5] = 255
        sample.set_data(dict(gt_sem_seg=_pixel_data(label)))

    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    losses = model(**data, mode='loss')
    total, log = model.parse_losses(losses)
    total.backward()

    assert torch.isfinite(total)
    assert {'aux.loss_ce', 'aux.acc_seg'} <= set(losses)
    expected = {'decode.pam_cam.loss_ce', 'decode.pam.loss_ce', 'decode.cam.loss_ce'}
    assert (expected if method == 'danet' else {'decode.loss_ce'}) <= set(losses)
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


def _slim(cfg: Config, mask_size: tuple | None) -> dict:
    cfg = cfg.copy()
    cfg.pretrained = None
    cfg.backbone.update(depth=18)
    cfg.data_preprocessor.size = (64, 64)
    cfg.decode_head.update(in_channels=512, channels=32, norm_cfg=dict(type='BN'))
    if 'c1_in_channels' in cfg.decode_head:
        cfg.decode_head.c1_in_channels = 64
    for name, width in (('pam_channels', 8), ('isa_channels', 16), ('mask_size', mask_size)):
        if name in cfg.decode_head and width is not None:
            cfg.decode_head[name] = width
    cfg.auxiliary_head.update(in_channels=256, channels=16, norm_cfg=dict(type='BN'))
    cfg.backbone.norm_cfg = dict(type='BN', requires_grad=True)
    return cfg


def _pixel_data(label: torch.Tensor):
    from mmengine.structures import PixelData

    return PixelData(data=label)


def test_no_config_repeats_the_normalisation():
    files = list((Path(__file__).parents[1] / 'configs').rglob('*.py'))
    naming = [p for p in files if "'BN'" in p.read_text() or 'SyncBN' in p.read_text()]

    assert len(files) > 100
    assert len([p for p in naming if p.parent.name != 'demo']) == 1
