"""Randomness is a function of (seed, rank, iteration) and nothing else."""

import random

import numpy as np
import torch

from segkit.engine.data_order import mix, preserved_randomness, seed_iteration


def draws() -> tuple:
    return torch.rand(1).item(), np.random.rand(), random.random()


def test_the_same_iteration_draws_the_same():
    seed_iteration(5, 0, 100)
    first = draws()
    seed_iteration(5, 0, 101)
    draws()
    seed_iteration(5, 0, 100)
    assert draws() == first


def test_seeds_ranks_and_iterations_draw_differently():
    seen = set()
    for seed in range(4):
        for rank in range(4):
            for iteration in range(4):
                seed_iteration(seed, rank, iteration)
                seen.update(draws())
    assert len(seen) == 4 * 4 * 4 * 3


def test_the_hash_fills_its_range_evenly():
    bits = np.array([[mix(1, 2, i) >> b & 1 for b in range(63)] for i in range(2000)])
    assert (abs(bits.mean(0) - 0.5) < 0.06).all()
    neighbours = (bits[1:] ^ bits[:-1]).mean()
    assert abs(neighbours - 0.5) < 0.01


def test_draws_inside_do_not_show_outside():
    seed_iteration(1, 0, 0)
    expected = draws()
    seed_iteration(1, 0, 0)
    with preserved_randomness():
        draws()
        torch.manual_seed(99)
    assert draws() == expected
