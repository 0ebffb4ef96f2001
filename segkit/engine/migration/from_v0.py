"""A 0.x config (`data`, `optimizer`, `lr_config`, `runner`), section by section, as ours."""

from collections.abc import Mapping
from typing import Any

from .data_sets import convert_dataset
from .pipelines import after_resize, convert_pipeline, views_of
from .schedules import by_epoch, schedule

Dict = dict[str, object]


def convert_v0(old: Mapping[str, Any]) -> Dict:
    """The sections of our config that follow from ``old``; the caller adds the defaults."""
    new: Dict = {}
    preprocessor = _data(old, new)
    new['model'] = _model(old, preprocessor)
    new |= schedule(old)
    new['default_hooks'] = _hooks(old)
    backends = [dict(type='LocalVisBackend')]
    hooks = {hook['type'] for hook in old.get('log_config', {}).get('hooks', [])}
    if 'TensorboardLoggerHook' in hooks:
        backends.append(dict(type='TensorboardVisBackend'))
    new['visualizer'] = dict(vis_backends=backends)
    new['env_cfg'] = dict(cudnn_benchmark=old.get('cudnn_benchmark', False))
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
    classes = num_classes(old['model'])
    train_pipeline, preprocessor = convert_pipeline(_pipeline(data['train']))
    load = next(step for step in train_pipeline if step['type'] == 'LoadAnnotations')
    new['train_dataloader'] = dict(
        batch_size=data['samples_per_gpu'],
        num_workers=data['workers_per_gpu'],
        persistent_workers=data['workers_per_gpu'] > 0,
        # An epoch has an end, which an infinite sampler has not.
        sampler=dict(type=f'{"Default" if by_epoch(old) else "Infinite"}Sampler', shuffle=True),
        dataset=convert_dataset(data['train'], train_pipeline, classes),
    )
    for split in ('val', 'test'):
        if split not in data:
            continue
        steps = after_resize(convert_pipeline(_pipeline(data[split]))[0], load)
        dataset = convert_dataset(data[split], steps, classes)
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
        new[f'{split}_cfg'] = dict(type='ValLoop' if split == 'val' else 'TestLoop')
    views = views_of(_pipeline(data['test'])) if 'test' in data else None
    if views:
        new['aug_test'] = views
    return preprocessor


def num_classes(model: Mapping[str, Any]) -> int | None:
    """Those of the decode head."""
    return (model.get('decode_head') or {}).get('num_classes')


def _pipeline(dataset: Mapping[str, Any]) -> list[Dict]:
    return dataset['pipeline'] if 'pipeline' in dataset else _pipeline(dataset['dataset'])


def _hooks(old: Mapping[str, Any]) -> Dict:
    checkpoint = dict(type='CheckpointHook', by_epoch=by_epoch(old))
    saved = old.get('checkpoint_config') or {}
    checkpoint |= {k: saved[k] for k in ('interval', 'max_keep_ckpts') if k in saved}
    interval = old.get('log_config', {}).get('interval', 50)
    logger = dict(type='LoggerHook', interval=interval, log_metric_by_epoch=False)
    return dict(checkpoint=checkpoint, logger=logger)
