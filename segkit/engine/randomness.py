"""Randomness as a function of (seed, rank, iteration), so that resuming needs no saved state.

Before every iteration each rank seeds its generators from a hash of the three numbers. Whatever
that iteration draws (dropout, a sampler of pixels, augmentation in a loader without workers) is
then the same whether the process was started an iteration ago or a week ago, whether it validated
in between, and however many other ranks there are. Seeding costs about 20 microseconds.
"""

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_MASK = (1 << 64) - 1


def mix(*numbers: int) -> int:
    """A 63-bit hash of integers in which neighbouring inputs have nothing in common.

    splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def seed_iteration(seed: int, rank: int, iteration: int) -> None:
    """Seed torch (all devices), NumPy and ``random`` for one iteration of one rank."""
    value = mix(seed, rank, iteration)
    torch.manual_seed(value)
    np.random.seed(value & 0xFFFFFFFF)
    random.seed(value)


def make_deterministic() -> None:
    """Ask for bit-identical runs; operations that cannot be are named in a warning.

    A network of somebody's may hold operations without a deterministic kernel on CUDA: to refuse
    them would refuse the network, so torch warns with the operation's name instead. Under that
    setting torch's fused attention kernels warn and stay as they are, so they are switched off;
    docs/cuda_extension.md lists what is done about each operation of ours.
    """
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if torch.cuda.is_available():  # a CPU's fused attention repeats its bits
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        torch.backends.cuda.enable_cudnn_sdp(False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    warnings.filterwarnings('once', message='.*does not have a deterministic implementation.*')


@contextmanager
def preserved_randomness() -> Iterator[None]:
    """Put the generators back afterwards: starting a DataLoader draws from torch's."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
