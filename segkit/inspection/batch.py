"""The effective batch of a run against the batch its learning rate was chosen for."""

from mmengine.config import Config

from .findings import NOTE, WARNING, Finding


def batch_finding(cfg: Config, gpus: int) -> Finding | None:
    """What to know about the batch, or None when the config does not train."""
    loader = cfg.get('train_dataloader') or {}
    per_gpu = loader.get('batch_size')
    if not per_gpu:
        return None
    wrapper = cfg.get('optim_wrapper') or {}
    steps = max(wrapper.get('accumulative_counts', 1), 1)
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
        f'effective batch {batch} ({parts}), the recipe has {recipe}: use --auto-scale-lr{scaled}, '
        'or --accumulate auto to reach it',
    )
