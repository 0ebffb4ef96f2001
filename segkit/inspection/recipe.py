"""A batch, crop and length of training for a data set and a machine, each a stated default.

Small networks and crops on a CPU, where an iteration takes a second; on a GPU those of the
published recipes. Lengths are epochs of the training pictures, within bounds.
"""

import os
from dataclasses import dataclass

from .networks import ON_CPU, ON_GPU, Network, find_network

_EPOCHS = 100
_FEWEST, _MOST_ON_CPU, _MOST_ON_GPU = 400, 2000, 20000
_SIDE_ON_CPU, _SIDE_ON_GPU = 1024, 2048  # longest side of a picture, beyond it is scaled down
_STRIDE = 8


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
        ValueError: an unknown network; one to begin pretrained for which nothing was published.
    """
    batch = batch or 4
    longest = _SIDE_ON_GPU if gpu else _SIDE_ON_CPU
    factor = min(1.0, longest / max(size))
    scale = round(size[1] * factor), round(size[0] * factor)
    most = 512 if gpu else 256
    if crop is None:
        height, width = (max(_STRIDE, min(most, side // _STRIDE * _STRIDE)) for side in scale[::-1])
        crop = height, width
    if iterations is None:
        wanted = round(_EPOCHS * pictures / batch, -2)
        iterations = int(min(max(wanted, _FEWEST), _MOST_ON_GPU if gpu else _MOST_ON_CPU))
    return Recipe(
        find_network(network or (ON_GPU if gpu else ON_CPU)),
        batch,
        crop,
        scale,
        iterations,
        # The recipes' 0.01 is for 8 to 16 images a step.
        round(0.01 * min(batch, 8) / 8, 6),
        min(4, os.cpu_count() or 1),
    )
