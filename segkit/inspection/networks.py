"""The networks a new config can name, by size, and what each changes in the shipped parts."""

import re
from dataclasses import dataclass

from segkit.engine.config import shipped_home
from segkit.errors import UserError

HEADS = ('fcn', 'pspnet', 'isanet', 'danet', 'psanet')  # by what they cost
DEPTHS = (18, 34, 50, 101)
# ImageNet weights with the stem of ResNetV1c; nobody published those of depth 34.
_WEIGHTS = {depth: f'open-mmlab://resnet{depth}_v1c' for depth in (18, 50, 101)}
ON_CPU, ON_GPU = 'pspnet_r18-d8', 'pspnet_r50-d8'


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
        if self.depth == 50:
            return {}
        if self.depth > 50:
            return {'backbone': dict(depth=self.depth)}
        # Basic blocks end in a quarter of a bottleneck's channels.
        head = dict(in_channels=512, channels=128)
        if self.head == 'isanet':
            head['isa_channels'] = 64
        if self.head == 'danet':
            head['pam_channels'] = 16
        return {
            'backbone': dict(depth=self.depth),
            'decode_head': head,
            'auxiliary_head': dict(in_channels=256, channels=64),
        }


def names() -> list[str]:
    """All names, small networks first."""
    return [Network(head, depth).name for depth in DEPTHS for head in HEADS]


def find_network(name: str) -> Network:
    """The network of a name such as 'pspnet_r18-d8'.

    Raises ValueError naming those there are.
    """
    match = re.fullmatch(r'([a-z]+)_r(\d+)-d8', name)
    network = Network(match[1], int(match[2])) if match else None
    if network is None or network.name not in names():
        raise UserError(f'--network {name}: there is no such part; known: {", ".join(names())}.')
    if not (shipped_home() / network.base).is_file():
        raise UserError(f'--network {name}: {network.base} is not among the shipped configs.')
    return network
