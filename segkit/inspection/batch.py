"""The effective batch of a run against the batch its learning rate was chosen for."""

from mmengine.config import Config

from segkit.engine.findings import NOTE, WARNING, Finding


def _accumulated(cfg: Config, batch: int) -> int:
    """Batches per step of the optimizer, where 'auto' reaches the recipe's."""
    loop = (cfg.get('train_cfg') or {}).get('accumulate', 1)
    if loop == 'auto':
        recipe = (cfg.get('auto_scale_lr') or {}).get('base_batch_size') or batch
        loop = recipe // batch
    wrapper = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    return max(loop, wrapper, 1)


def batch_finding(cfg: Config, gpus: int) -> Finding | None:
    """What to know about the batch, or None when the config does not train."""
    loader = cfg.get('train_dataloader') or {}
    per_gpu = loader.get('batch_size')
    if not per_gpu:
        return None
    wrapper = cfg.get('optim_wrapper') or {}
    steps = _accumulated(cfg, per_gpu * gpus)
    batch = per_gpu * gpus * steps
    recipe = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    parts = f'{per_gpu} a GPU x {gpus} GPU' + (f' x {steps} accumulated' if steps > 1 else '')
    if recipe is None or recipe == batch:
        suffix = '' if recipe is None else ', as in the recipe'
        return Finding(NOTE, f'effective batch {batch} ({parts}){suffix}')
    rate = (wrapper.get('optimizer') or {}).get('lr')
    scaled = f' (lr {rate * batch / recipe:g} instead of {rate:g})' if rate else ''
    return Finding(
        WARNING,
        f'effective batch {batch} ({parts}), the recipe has {recipe}: train with '
        f'--auto-scale-lr{scaled}, or with --accumulate auto to reach it',
    )
