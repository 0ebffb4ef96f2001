"""The effective batch of a run against the batch its learning rate was chosen for."""

import csv

from mmengine.config import Config

from segkit.model_zoo import PUBLISHED

from .findings import NOTE, WARNING, Finding


def recipe_batch(cfg: Config, name: str) -> int | None:
    """Images per step of the recipe: as the config says, else as the published table does."""
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if base:
        return base
    with PUBLISHED.with_name('recipes.csv').open(newline='') as file:
        for row in csv.DictReader(file):
            if row['config'] == name:
                return int(row['batch_per_gpu']) * int(row['gpus'])
    return None


def batch_finding(cfg: Config, name: str, gpus: int) -> Finding | None:
    """What to know about the batch, or None when the config does not train."""
    loader = cfg.get('train_dataloader') or {}
    per_gpu = loader.get('batch_size')
    if not per_gpu:
        return None
    wrapper = cfg.get('optim_wrapper') or {}
    steps = max(wrapper.get('accumulative_counts', 1), 1)
    batch, recipe = per_gpu * gpus * steps, recipe_batch(cfg, name)
    parts = f'{per_gpu} a GPU x {gpus} GPU' + (f' x {steps} accumulated' if steps > 1 else '')
    if recipe is None or recipe == batch:
        suffix = '' if recipe is None else ', as in the recipe'
        return Finding(NOTE, f'effective batch {batch} ({parts}){suffix}')
    rate = (wrapper.get('optimizer') or {}).get('lr')
    scaled = f' (lr {rate * batch / recipe:g} instead of {rate:g})' if rate else ''
    return Finding(
        WARNING,
        f'effective batch {batch} ({parts}), the recipe has {recipe}: use --auto-scale-lr{scaled}, '
        'or --accumulate auto to reach it',
    )
