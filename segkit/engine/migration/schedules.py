"""Optimiser, learning rate and length of a 0.x config as ours."""

from collections.abc import Mapping
from typing import Any

from segkit.errors import UserError

Dict = dict[str, object]


def schedule(old: Mapping[str, Any]) -> Dict:
    """``optim_wrapper``, ``param_scheduler`` and ``train_cfg``.

    Raises:
        UserError: it does not say how long to train, or has a policy that is not converted.
    """
    runner = old.get('runner') or {}
    epochs = runner.get('max_epochs', old.get('total_epochs'))
    end = epochs or runner.get('max_iters', old.get('total_iters'))
    if end is None:
        raise UserError(
            'The config has neither runner=dict(max_iters=...) nor runner=dict(max_epochs=...).'
        )
    interval = (old.get('evaluation') or {}).get('interval', max(end // 10, 1))
    train = dict(type='IterBasedTrainLoop', max_iters=end, val_interval=interval)
    if epochs:
        train = dict(type='EpochBasedTrainLoop', max_epochs=end, val_interval=interval)
    return dict(
        optim_wrapper=_optimizer(old),
        param_scheduler=learning_rate(old['lr_config'], end, bool(epochs)),
        train_cfg=train,
    )


def by_epoch(old: Mapping[str, Any]) -> bool:
    """Whether the run is counted in epochs."""
    return bool((old.get('runner') or {}).get('max_epochs', old.get('total_epochs')))


def _optimizer(old: Mapping[str, Any]) -> Dict:
    optimizer, options = dict(old['optimizer']), dict(old.get('optimizer_config') or {})
    wrapper = dict(type='OptimWrapper', clip_grad=options.get('grad_clip'))
    if 'Fp16' in options.get('type', '') or old.get('fp16'):
        wrapper['type'] = 'AmpOptimWrapper'
        scale = options.get('loss_scale', (old.get('fp16') or {}).get('loss_scale'))
        if scale is not None:
            wrapper['loss_scale'] = scale
    if options.get('cumulative_iters', 1) > 1:
        wrapper['accumulative_counts'] = options['cumulative_iters']
    if 'paramwise_cfg' in optimizer:
        wrapper['paramwise_cfg'] = optimizer.pop('paramwise_cfg')
    if 'constructor' in optimizer:
        wrapper['constructor'] = optimizer.pop('constructor')
    return {**wrapper, 'optimizer': optimizer}


def learning_rate(lr: Mapping[str, Any], end: int, epochs: bool) -> list[Dict]:
    """The schedulers of an ``lr_config``; ``end`` in epochs, or else in iterations."""
    policy = str(lr['policy'])
    warmup = lr.get('warmup_iters', 0) if lr.get('warmup') else 0
    begin = 0 if epochs else warmup
    span = dict(begin=begin, end=end, by_epoch=epochs)
    if epochs and not lr.get('by_epoch', True):
        span['convert_to_iter_based'] = True
        if policy.lower() == 'step':
            raise UserError(
                'lr_config: step with by_epoch=False counts iterations in a run of epochs; give '
                'the steps in epochs, or runner.max_iters.'
            )
    match policy.lower():
        case 'poly':
            main = dict(
                type='PolyLR', eta_min=lr.get('min_lr', 0), power=lr.get('power', 1.0), **span
            )
        case 'step':
            # There the milestones count from the start of training, here from `begin`.
            steps = lr['step'] if isinstance(lr['step'], (list, tuple)) else _every(lr['step'], end)
            main = dict(
                type='MultiStepLR', milestones=[step - begin for step in steps],
                gamma=lr.get('gamma', 0.1), **span,
            )  # fmt: skip
        case 'cosineannealing':
            least = dict(eta_min=lr.get('min_lr', 0) or 0)
            if lr.get('min_lr_ratio') is not None:
                least = dict(eta_min_ratio=lr['min_lr_ratio'])
            main = dict(type='CosineAnnealingLR', T_max=end - begin, **least, **span)
        case 'exp':
            main = dict(type='ExponentialLR', gamma=lr['gamma'], **span)
        case 'fixed':
            main = dict(type='ConstantLR', factor=1.0, **span)
        case _:
            raise UserError(
                f"lr_config.policy: '{policy}' is not converted (poly, step, CosineAnnealing, exp "
                'and fixed are). Write param_scheduler by hand, see docs/config_system.md.'
            )
    if not warmup:
        return [main]
    if lr['warmup'] not in ('linear', 'constant'):
        raise UserError(
            f"lr_config.warmup: '{lr['warmup']}' is not converted ('linear' and 'constant' are). "
            'Write param_scheduler by hand, see docs/config_system.md.'
        )
    ratio = lr.get('warmup_ratio', 0.1)
    start = dict(type='LinearLR', start_factor=ratio, begin=0, end=warmup, by_epoch=False)
    if lr['warmup'] == 'constant':
        start = dict(type='ConstantLR', factor=ratio, begin=0, end=warmup, by_epoch=False)
    if lr.get('warmup_by_epoch'):
        start |= dict(by_epoch=True, convert_to_iter_based=True)
    return [start, main]


def _every(step: int, end: int) -> list[int]:
    return list(range(step, end, step))
