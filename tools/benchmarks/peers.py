"""Networks of other toolboxes beside ours: the same config, weights and pictures.

mmsegmentation 1.2.2 without a compiler: no mmcv of today builds, so its Python goes into a folder
of its own, and the names of mmcv.ops that it imports stand empty, but for PSAMask, which is ours.

    pip install --no-deps --target peers mmsegmentation==1.2.2 mmcv-lite==2.1.0 ftfy
    PYTHONPATH=peers python tools/benchmarks/bench_peers.py --csv

onnxruntime and OpenVINO: pip install onnx onnxscript onnxruntime openvino
"""

import importlib.util
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from torch import Tensor, nn

from segkit.apis import init_model

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 19
# name -> base config, what is changed in it
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    'PSPNet R-50': ('pspnet_r50-d8', {}),
    'PSANet R-50': ('psanet_r50-d8', {}),
    'DANet R-50': ('danet_r50-d8', {}),
    'ISANet R-50': ('isanet_r50-d8', {}),
    'PSPNet R-18': (
        'pspnet_r50-d8',
        {
            'backbone.depth': 18,
            'decode_head.in_channels': 512,
            'decode_head.channels': 128,
            'auxiliary_head.in_channels': 256,
            'auxiliary_head.channels': 64,
        },
    ),
    'SegFormer MiT-b0': ('segformer_mit-b0', {'backbone.drop_path_rate': 0.0}),
}
Step = Callable[[], Any]


def config_of(network: str) -> Config:
    """The published network with 19 classes, without dropout, which would be drawn differently."""
    base, changes = NETWORKS[network]
    cfg = Config.fromfile(ROOT / 'configs/_base_/models' / f'{base}.py')
    changes = {**changes, 'pretrained': None, 'decode_head.dropout_ratio': 0.0}
    if cfg.model.get('auxiliary_head'):
        changes['auxiliary_head.dropout_ratio'] = 0.0
    cfg.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    _without_sync(cfg.model)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    data = dict(type='ShapesDataset', split='train', num_images=8, size=(512, 512))
    cfg.train_dataloader = dict(dataset=data)  # ranges of int8 need some picture; speed does not
    cfg.test_dataloader = dict(dataset=dict(pipeline=pipeline))
    return cfg


def _without_sync(part: Any) -> None:
    for key, value in part.items() if isinstance(part, dict) else ():
        if key == 'norm_cfg' and value and value['type'] == 'SyncBN':
            part[key] = dict(value, type='BN')
        _without_sync(value)


def weights_of(network: str, folder: Path, size: tuple[int, int]) -> Path:
    """A checkpoint of random weights whose norms fit what flows, kept in ``folder``."""
    path = folder / f'{network.replace(" ", "_")}.pth'
    if path.exists():
        return path
    torch.manual_seed(0)
    model: Any = init_model(config_of(network))
    nn.init.normal_(model.decode_head.conv_seg.weight, std=0.1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over the pictures that come now
    pooled = getattr(model.decode_head, 'psp_modules', None)
    model.train()
    if pooled is not None:
        pooled.eval()  # over one pooled value a batch has hardly any variance
    with torch.no_grad():
        model.decode_head(model.extract_feat(torch.randn(2, 3, *size)))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def mmseg_there() -> bool:
    return importlib.util.find_spec('mmseg') is not None


def mmseg_network(network: str, weights: Path | None) -> nn.Module:
    """The same network built by mmsegmentation, of the same weights."""
    import mmcv

    from segkit.ops import PSAMask

    if 'mmcv.ops' not in sys.modules:
        ops: Any = types.ModuleType('mmcv.ops')
        for name in ('CrissCrossAttention', 'point_sample', 'sigmoid_focal_loss'):
            setattr(ops, name, type(name, (), {}))
        ops.PSAMask = PSAMask
        sys.modules['mmcv.ops'] = mmcv.ops = ops
    import mmseg.models  # noqa: F401  registers its parts
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config_of(network).model)
    if weights is not None:
        state = torch.load(weights, weights_only=True)['state_dict']
        model.load_state_dict(state, strict=True)
    return model.eval()


def samples(module: str, count: int, size: tuple[int, int], labels: bool) -> list[Any]:
    """Data samples of ``mmseg.structures`` or ``segkit.structures``."""
    SegDataSample = importlib.import_module(module).SegDataSample
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size, padding_size=(0, 0, 0, 0))
    made = [SegDataSample(metainfo=dict(meta)) for _ in range(count)]
    generator = torch.Generator().manual_seed(1)
    for sample in made if labels else ():
        drawn = torch.randint(0, CLASSES, (1, *size), generator=generator)
        sample.gt_sem_seg = PixelData(data=drawn if module.startswith('mmseg') else drawn.byte())
    return made


def predicting(model: nn.Module, module: str, image: Tensor, bf16: bool = False) -> Step:
    """Normalised picture to classes (H, W)."""
    size = (image.shape[2], image.shape[3])

    def step() -> Tensor:
        given = samples(module, 1, size, False)
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            return model(image, given, mode='predict')[0].pred_sem_seg.data[0]

    return step


def training(model: nn.Module, module: str, images: Tensor) -> Step:
    """Forward, losses, backward, SGD; gives the sum of the losses."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    labelled = samples(module, len(images), (images.shape[2], images.shape[3]), True)

    def step() -> Tensor:
        optimizer.zero_grad()
        losses: Mapping[str, Tensor] = model(images, labelled, mode='loss')
        total = sum(value for name, value in losses.items() if 'loss' in name)
        assert isinstance(total, Tensor)
        total.backward()
        optimizer.step()
        return total.detach()

    return step
