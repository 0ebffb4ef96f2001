"""A network, batch, crop and length of training for a data set and a machine: stated defaults.

Small networks and crops on a CPU, where an iteration takes a second; on a GPU those of the
published recipes. Lengths are epochs of the training pictures, within bounds.
"""

import os
from dataclasses import dataclass

from segkit.engine.config import shipped_home
from segkit.errors import UserError

HEADS = ('fcn', 'pspnet', 'isanet', 'danet', 'psanet')  # by what they cost
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
        return f'{self.head}_r{self.depth}-d8'

    @property
    def base(self) -> str:
        return f'_base_/models/{self.head}_r50-d8.py'

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
        own = {'isanet': dict(isa_channels=64), 'danet': dict(pam_channels=16)}
        head = dict(in_channels=512, channels=128, **own.get(self.head, {}))
        auxiliary = dict(in_channels=256, channels=64)
        return {**backbone, 'decode_head': head, 'auxiliary_head': auxiliary}


# All names, small networks first.
NETWORKS = {n.name: n for depth in DEPTHS for n in (Network(head, depth) for head in HEADS)}


def find_network(name: str) -> Network:
    """The network of a name such as 'pspnet_r18-d8'.

    Raises UserError naming those there are.
    """
    if name not in NETWORKS:
        raise UserError(f'--network {name}: there is no such part; known: {", ".join(NETWORKS)}.')
    if not (shipped_home() / NETWORKS[name].base).is_file():
        raise UserError(
            f'--network {name}: {NETWORKS[name].base} is not among the shipped configs.'
        )
    return NETWORKS[name]


@dataclass
class Recipe:
    """crop (H, W); scale (W, H) that pictures are resized around; rate for this batch."""

    network: Network
    batch: int
    crop: tuple[int, int]
    scale: tuple[int, int]
    iterations: int
    rate: float
    workers: int
    schedule: str | None = None
    pretrained: bool = False


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
        # The recipes' 0.01 is for 8 to 16 images a step.
        round(0.01 * min(batch, 8) / 8, 6),
        min(4, os.cpu_count() or 1),
    )
