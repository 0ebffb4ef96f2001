"""A network, batch, crop and length of training for a data set and a machine: stated defaults.

Small networks and crops on a CPU, where an iteration takes a second; on a GPU those of the
published recipes. Lengths are epochs of the training pictures, within bounds.
"""

import difflib
import os
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
    """A head of ``configs/_base_/models`` on a ResNet of some depth."""

    head: str
    depth: int

    @property
    def name(self) -> str:
        return f'{self.head}_r{self.depth}{self._stride}'

    @property
    def base(self) -> str:
        return f'_base_/models/{self.head}_r50{self._stride}.py'

    @property
    def _stride(self) -> str:
        return '' if self.head == 'upernet' else '-d8'

    @property
    def encoder(self) -> str:
        return f'a ResNet-{self.depth} V1c'

    @property
    def alone(self) -> bool:
        """Whether it has no auxiliary head."""
        return False

    @property
    def schedule(self) -> str:
        """Part of ``configs/_base_/schedules`` with the optimiser it is trained with."""
        return 'sgd'

    @property
    def weights(self) -> str | None:
        """Where its backbone can begin, None where nothing was published."""
        return _WEIGHTS.get(self.depth)

    def changes(self) -> dict[str, dict]:
        """Part of the model -> its settings that differ from ResNet-50's."""
        backbone = {} if self.depth == 50 else {'backbone': dict(depth=self.depth)}
        if self.depth >= 50:
            return backbone
        # Basic blocks end in a quarter of a bottleneck's channels.
        own: dict[str, dict] = {
            'isanet': dict(isa_channels=64),
            'danet': dict(pam_channels=16),
            'deeplabv3plus': dict(c1_in_channels=64, c1_channels=12),
            'upernet': dict(in_channels=[64, 128, 256, 512]),
        }
        head = {'in_channels': 512, 'channels': 128, **own.get(self.head, {})}
        auxiliary = dict(in_channels=256, channels=64)
        return {**backbone, 'decode_head': head, 'auxiliary_head': auxiliary}


# Of each Mix Transformer: channels of an attention head, blocks of its stages, hash of its weights.
_MIX = (
    (32, (2, 2, 2, 2), '7e0fe6dd'),
    (64, (2, 2, 2, 2), '02e5a6a1'),
    (64, (3, 4, 6, 3), '66e8bf70'),
    (64, (3, 4, 18, 3), '13b1141c'),
    (64, (3, 8, 27, 3), 'd588d980'),
    (64, (3, 6, 40, 3), '658746d9'),
)


@dataclass(frozen=True)
class MixNetwork:
    """SegFormer on a Mix Transformer, b0 to b5."""

    size: int
    base: str = '_base_/models/segformer_mit-b0.py'
    schedule: str = 'adamw'
    alone: bool = True

    @property
    def name(self) -> str:
        return f'segformer_mit-b{self.size}'

    @property
    def encoder(self) -> str:
        return f'a Mix Transformer b{self.size}'

    @property
    def weights(self) -> str:
        file = f'mit_b{self.size}_20220624-{_MIX[self.size][2]}.pth'
        return f'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/{file}'

    def changes(self) -> dict[str, dict]:
        """Part of the model -> its settings that differ from b0's."""
        if self.size == 0:
            return {}
        dims, layers, _ = _MIX[self.size]
        widths = [dims * heads for heads in (1, 2, 5, 8)]
        return {
            'backbone': dict(embed_dims=dims, num_layers=layers),
            'decode_head': dict(in_channels=widths),
        }


# All names, small networks first.
_ALL: list[Network | MixNetwork] = [Network(head, depth) for depth in DEPTHS for head in HEADS]
_ALL += [MixNetwork(size) for size in range(len(_MIX))]
NETWORKS = {network.name: network for network in _ALL}


def find_network(name: str, option: str = '--network') -> Network | MixNetwork:
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

    network: Network | MixNetwork
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
