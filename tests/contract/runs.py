"""The runs of the first house, and what a test needs to go on with them."""

import gzip
import hashlib
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).resolve().parent
HOUSE = HERE / 'first_house'


@dataclass(frozen=True)
class Run:
    """``stop``: the batch, counted from 1, in whose train step the signal came."""

    name: str
    stop: int
    end: str = 'iter_8.pth'
    ranks: int = 1
    signal: int = signal.SIGTERM

    @property
    def config(self) -> str:
        return f'{self.name}.py'

    @property
    def folder(self) -> str:
        return f'runs/{self.name}'


RUNS = [
    Run('iterations', 5),
    Run('epochs', 10, 'epoch_3.pth', signal=signal.SIGKILL),
    Run('ema', 5),
    Run('accumulation', 9),
    Run('mid_step', 4),
    Run('ranks', 5, ranks=2),
    Run('early_stopped', 5, 'iter_6.pth'),
]


def pack(source: Path, target: Path) -> None:
    """``target`` is ``source`` compressed, the same bytes whenever it is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, 'wb') as raw, gzip.GzipFile('', 'wb', 9, raw, mtime=0) as file:
        file.write(source.read_bytes())


def unpacked(folder: Path) -> Path:
    """The first house in ``folder``, its files unpacked and with the times they had."""
    shutil.copytree(HOUSE, folder, dirs_exist_ok=True)
    for path in list(folder.rglob('*.gz')):
        path.with_suffix('').write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    return folder


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """All weights of a checkpoint, those of a moving average under 'ema.'."""
    checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    average = {f'ema.{k}': v for k, v in checkpoint.get('ema_state_dict', {}).items()}
    return {**checkpoint['state_dict'], **average}


def arithmetic() -> str:
    """A hash of what this machine and this torch make of a small training step.

    Two machines round alike, bit for bit, only if they agree on this; it uses torch alone, so
    that nothing of the package under test can change it.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 16, 3, padding=2, dilation=2, bias=False),
            nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Conv2d(16, 8, 1),
            nn.Upsample((32, 32), mode='bilinear'), nn.Conv2d(8, 5, 1),
        )  # fmt: skip
        optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
        for _ in range(4):
            image, label = torch.randn(2, 3, 32, 32), torch.randint(0, 5, (2, 32, 32))
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(image), label).backward()
            optimizer.step()
    digest = hashlib.sha256()
    for value in net.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]
