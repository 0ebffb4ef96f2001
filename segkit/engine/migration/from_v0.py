"""A 0.x config (`data`, `optimizer`, `lr_config`, `runner`), section by section, as ours."""

from collections.abc import Mapping
from typing import Any

from segkit.errors import UserError

from .pipelines import after_resize, convert_pipeline, views_of

Dict = dict[str, object]


def convert_v0(old: Mapping[str, Any]) -> Dict:
    """The sections of our config that follow from ``old``; the caller adds the defaults."""
    new: Dict = {}
    preprocessor = _data(old, new)
    new['model'] = _model(old, preprocessor)
    max_iters = _schedule(old, new)
    new['default_hooks'] = _hooks(old)
    backends = [dict(type='LocalVisBackend')]
    hooks = {hook['type'] for hook in old.get('log_config', {}).get('hooks', [])}
    if 'TensorboardLoggerHook' in hooks:
        backends.append(dict(type='TensorboardVisBackend'))
    new['visualizer'] = dict(vis_backends=backends)
    new['env_cfg'] = dict(cudnn_benchmark=old.get('cudnn_benchmark', False))
    new['train_cfg'] = dict(
        type='IterBasedTrainLoop',
        max_iters=max_iters,
        val_interval=old.get('evaluation', {}).get('interval', max_iters // 10),
    )
    resume = old.get('resume_from')
    new |= dict(load_from=resume or old.get('load_from'), resume=bool(resume))
    return new


def _model(old: Mapping[str, Any], preprocessor: Dict) -> Dict:
    model = {**old['model'], 'data_preprocessor': dict(type='SegDataPreProcessor', **preprocessor)}
    for key in ('train_cfg', 'test_cfg'):  # beside the model before 0.10
        model.setdefault(key, dict(old.get(key) or {}))
    return model


def _data(old: Mapping[str, Any], new: Dict) -> Dict:
    """Fills the loaders and evaluators; gives the data preprocessor's arguments."""
    data = old['data']
    train_pipeline, preprocessor = convert_pipeline(_pipeline(data['train']))
    load = next(step for step in train_pipeline if step['type'] == 'LoadAnnotations')
    new['train_dataloader'] = dict(
        batch_size=data['samples_per_gpu'],
        num_workers=data['workers_per_gpu'],
        persistent_workers=data['workers_per_gpu'] > 0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=convert_dataset(data['train'], train_pipeline),
    )
    for split in ('val', 'test'):
        steps = after_resize(convert_pipeline(_pipeline(data[split]))[0], load)
        dataset = convert_dataset(data[split], steps)
        new[f'{split}_dataloader'] = dict(
            batch_size=1,
            num_workers=4,
            persistent_workers=True,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset={**dataset, 'test_mode': True},
        )
        metrics = old.get('evaluation', {}).get('metric', 'mIoU')
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        new[f'{split}_evaluator'] = dict(type='IoUMetric', iou_metrics=metrics)
    views = views_of(_pipeline(data['test']))
    if views:
        new['aug_test'] = views
    return preprocessor


def _pipeline(dataset: Mapping[str, Any]) -> list[Dict]:
    return dataset['pipeline'] if 'pipeline' in dataset else _pipeline(dataset['dataset'])


def convert_dataset(old: Mapping[str, Any], pipeline: list[Dict]) -> Dict:
    """One dataset, or a ConcatDataset where a folder or a split was a list.

    ``pipeline`` is already ours.
    """
    if 'dataset' in old:  # RepeatDataset and its like
        return {**old, 'dataset': convert_dataset(old['dataset'], pipeline)}
    lists = {k: v for k, v in old.items() if k in _FOLDERS and isinstance(v, (list, tuple))}
    if lists:
        count = len(next(iter(lists.values())))
        parts = [{**old, **{k: v[i] for k, v in lists.items()}} for i in range(count)]
        parts = [convert_dataset(part, pipeline) for part in parts]
        return dict(type='ConcatDataset', datasets=parts)
    new = {k: v for k, v in old.items() if k not in (*_FOLDERS, 'pipeline', 'classes', 'palette')}
    if old.get('split'):
        new['ann_file'] = old['split']
    prefix = {name: old[key] for key, name in _PREFIXES.items() if old.get(key)}
    metainfo = {key: old[key] for key in ('classes', 'palette') if old.get(key)}
    new |= dict(data_prefix=prefix, pipeline=pipeline)
    return {**new, 'metainfo': metainfo} if metainfo else new


_FOLDERS = ('img_dir', 'ann_dir', 'split')
_PREFIXES = {'img_dir': 'img_path', 'ann_dir': 'seg_map_path'}


def _schedule(old: Mapping[str, Any], new: Dict) -> int:
    """Fills optimiser and learning-rate schedule; gives the number of iterations."""
    max_iters = old.get('runner', {}).get('max_iters', old.get('total_iters'))
    if max_iters is None:
        raise UserError('The config has neither runner=dict(max_iters=...) nor total_iters.')
    optimizer, options = dict(old['optimizer']), dict(old.get('optimizer_config') or {})
    wrapper = dict(type='OptimWrapper', clip_grad=options.get('grad_clip'))
    if 'Fp16' in options.get('type', '') or old.get('fp16'):
        wrapper['type'] = 'AmpOptimWrapper'
    if options.get('cumulative_iters', 1) > 1:
        wrapper['accumulative_counts'] = options['cumulative_iters']
    if 'paramwise_cfg' in optimizer:
        wrapper['paramwise_cfg'] = optimizer.pop('paramwise_cfg')
    new['optim_wrapper'] = {**wrapper, 'optimizer': optimizer}
    new['param_scheduler'] = _learning_rate(old['lr_config'], max_iters)
    return max_iters


def _learning_rate(lr: Mapping[str, Any], max_iters: int) -> list[Dict]:
    if lr['policy'].lower() != 'poly':
        raise UserError(
            f"lr_config.policy: '{lr['policy']}' is not converted (only 'poly' is, which all "
            'published recipes use). Write param_scheduler by hand, see docs/config_system.md.'
        )
    warmup = lr.get('warmup_iters', 0) if lr.get('warmup') else 0
    poly = dict(
        type='PolyLR', eta_min=lr.get('min_lr', 0), power=lr.get('power', 1.0),
        begin=warmup, end=max_iters, by_epoch=False,
    )  # fmt: skip
    if not warmup:
        return [poly]
    start = dict(type='LinearLR', start_factor=lr.get('warmup_ratio', 0.1), begin=0, end=warmup)
    return [{**start, 'by_epoch': False}, poly]


def _hooks(old: Mapping[str, Any]) -> Dict:
    checkpoint = dict(type='CheckpointHook', by_epoch=False)
    saved = old.get('checkpoint_config') or {}
    checkpoint |= {k: saved[k] for k in ('interval', 'max_keep_ckpts') if k in saved}
    interval = old.get('log_config', {}).get('interval', 50)
    logger = dict(type='LoggerHook', interval=interval, log_metric_by_epoch=False)
    return dict(checkpoint=checkpoint, logger=logger)
