"""A network, batch, crop and length of training for a data set and a machine: stated defaults.

Small networks and crops on a CPU, where an iteration takes a second; on a GPU those of the
published recipes. Lengths are epochs of the training pictures, within bounds.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass

from segkit.engine.config_files import shipped_home
from segkit.errors import UserError

# by what they cost
HEADS = ('fcn', 'upernet', 'deeplabv3plus', 'pspnet', 'isanet', 'danet', 'psanet', 'deeplabv3')
DEPTHS = (18, 34, 50, 101)
ON_CPU, ON_GPU = 'pspnet_r18-d8', 'pspnet_r50-d8'
# ImageNet weights with the stem of ResNetV1c; nobody published those of depth 34.
_WEIGHTS = {depth: f'open-mmlab://resnet{depth}_v1c' for depth in (18, 50, 101)}
_EPOCHS = 100
_FEWEST, _MOST_ON_CPU, _MOST_ON_GPU = 400, 2000, 20000
_SIDE_ON_CPU, _SIDE_ON_GPU = 1024, 2048  # longest side of a picture, beyond it is scaled down
_STRIDE = 8


@dataclass(frozen=True)
class Network:
    """A head of ``configs/_base_/models`` on an encoder.

    Args:
        base: the config, from which ``changes`` (part of the model -> settings) differ.
        weights: where its backbone can begin, None where nothing was published.
        schedule: part of ``configs/_base_/schedules`` with the optimiser it is trained with.
        alone: whether it has no auxiliary head.
    """

    name: str
    base: str
    encoder: str
    weights: str | None
    changes: Mapping[str, dict]
    schedule: str = 'sgd'
    alone: bool = False


# Basic blocks end in a quarter of a bottleneck's channels.
_OF_BASIC_BLOCKS: dict[str, dict] = {
    'isanet': dict(isa_channels=64),
    'danet': dict(pam_channels=16),
    'deeplabv3plus': dict(c1_in_channels=64, c1_channels=12),
    'upernet': dict(in_channels=[64, 128, 256, 512]),
}


def _on_resnet(head: str, depth: int) -> Network:
    stride = '' if head == 'upernet' else '-d8'
    changes: dict[str, dict] = {} if depth == 50 else {'backbone': dict(depth=depth)}
    if depth < 50:
        own = _OF_BASIC_BLOCKS.get(head, {})
        changes['decode_head'] = {'in_channels': 512, 'channels': 128, **own}
        changes['auxiliary_head'] = dict(in_channels=256, channels=64)
    base = f'_base_/models/{head}_r50{stride}.py'
    name, encoder = f'{head}_r{depth}{stride}', f'a ResNet-{depth} V1c'
    return Network(name, base, encoder, _WEIGHTS.get(depth), changes)


# Of each Mix Transformer: channels of an attention head, blocks of its stages, hash of its weights.
_MIX = (
    (32, (2, 2, 2, 2), '7e0fe6dd'),
    (64, (2, 2, 2, 2), '02e5a6a1'),
    (64, (3, 4, 6, 3), '66e8bf70'),
    (64, (3, 4, 18, 3), '13b1141c'),
    (64, (3, 8, 27, 3), 'd588d980'),
    (64, (3, 6, 40, 3), '658746d9'),
)
_MIX_WEIGHTS = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'


def _segformer(size: int) -> Network:
    dims, layers, digits = _MIX[size]
    changes: dict[str, dict] = {
        'backbone': dict(embed_dims=dims, num_layers=layers),
        'decode_head': dict(in_channels=[dims * heads for heads in (1, 2, 5, 8)]),
    }
    return Network(
        f'segformer_mit-b{size}', '_base_/models/segformer_mit-b0.py', f'a Mix Transformer b{size}',
        f'{_MIX_WEIGHTS}mit_b{size}_20220624-{digits}.pth', changes if size else {}, 'adamw', True,
    )  # fmt: skip


# All names, small networks first.
_ALL = [_on_resnet(head, depth) for depth in DEPTHS for head in HEADS]
_ALL += [_segformer(size) for size in range(len(_MIX))]
NETWORKS = {network.name: network for network in _ALL}


def find_network(name: str, option: str = '--network') -> Network:
    """The network of a name such as 'pspnet_r18-d8', which was given by ``option``.

    Raises UserError naming those there are.
    """
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS)
        hint = f' Did you mean {" or ".join(near)}?' if near else ''
        raise UserError(
            f'{option} {name}: there is no such part; known: {", ".join(NETWORKS)}.{hint}'
        )
    if not (shipped_home() / NETWORKS[name].base).is_file():
        raise UserError(f'{option} {name}: {NETWORKS[name].base} is not among the shipped configs.')
    return NETWORKS[name]


@dataclass
class Recipe:
    """crop (H, W); scale (W, H) that pictures are resized around; rate for this batch."""

    network: Network
    batch: int
    crop: tuple[int, int]
    scale: tuple[int, int]
    iterations: int
    workers: int
    schedule: str | None = None
    pretrained: bool = False

    @property
    def adaptive(self) -> bool:
        """Whether the optimiser is AdamW."""
        return (self.schedule or self.network.schedule).startswith('adamw')

    @property
    def rate(self) -> float:
        """The recipes' 0.01 of SGD is for 8 to 16 images a step; that of AdamW is for 8."""
        return round((0.0001 if self.adaptive else 0.01) * min(self.batch, 8) / 8, 8)


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def recipe_for(
    pictures: int,
    size: tuple[int, int],
    *,
    gpu: bool,
    network: str | None = None,
    batch: int | None = None,
    crop: tuple[int, int] | None = None,
    iterations: int | None = None,
) -> Recipe:
    """Defaults for a number of training pictures of a median (height, width).

    Raises:
        UserError: an unknown network.
    """
    batch = batch or 4
    longest, side, most = (
        (_SIDE_ON_GPU, 512, _MOST_ON_GPU) if gpu else (_SIDE_ON_CPU, 256, _MOST_ON_CPU)
    )
    factor = min(1.0, longest / max(size))
    scale = round(size[1] * factor), round(size[0] * factor)
    height, width = (max(_STRIDE, min(side, n // _STRIDE * _STRIDE)) for n in scale[::-1])
    wanted = round(_EPOCHS * pictures / batch, -2)
    return Recipe(
        find_network(network or (ON_GPU if gpu else ON_CPU)),
        batch,
        crop or (height, width),
        scale,
        iterations or int(min(max(wanted, _FEWEST), most)),
        min(4, os.cpu_count() or 1),
    )
