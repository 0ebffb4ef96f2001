"""Data sets by their older classes and arguments, made of `BaseSegDataset`."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.fileio import get_file_backend
from mmengine.logging import print_log
from torch.utils.data import DataLoader

from segkit.datasets import BaseSegDataset
from segkit.datasets.transforms import LoadAnnotations
from segkit.errors import UserError
from segkit.evaluation.intersect_and_union import Areas, area_scores
from segkit.evaluation.tables import class_table
from segkit.registry import DATASETS

from .scores import intersect_and_union

_OLD_STEPS = {'Collect', 'DefaultFormatBundle', 'ImageToTensor', 'MultiScaleFlipAug', 'Normalize'}


@DATASETS.register_module()
class CustomDataset(BaseSegDataset):
    """The base class before 1.0: folders and classes by their older names, or by those of
    `BaseSegDataset`; ``CLASSES`` and ``PALETTE`` of a subclass; steps of an older pipeline become
    ours. Samples are those of `BaseSegDataset`: ``inputs`` and ``data_samples``.

    Args:
        img_dir, ann_dir, split: ``data_prefix['img_path']``, ``data_prefix['seg_map_path']`` and
            ``ann_file``.
        classes, palette: ``metainfo``.
        gt_seg_map_loader_cfg: arguments of the `LoadAnnotations` behind ``get_gt_seg_map_by_idx``.
    """

    def __init__(
        self,
        pipeline: Sequence[dict | Callable] = (),
        img_dir: str | None = None,
        img_suffix: str = '.jpg',
        ann_dir: str | None = None,
        seg_map_suffix: str = '.png',
        split: str | None = None,
        data_root: str | None = None,
        test_mode: bool = False,
        ignore_index: int = 255,
        reduce_zero_label: bool = False,
        classes: Sequence[str] | str | None = None,
        palette: Sequence | None = None,
        gt_seg_map_loader_cfg: Mapping[str, Any] | None = None,
        file_client_args: Mapping[str, object] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {'classes': classes, 'palette': palette}
        meta = {key: value for key, value in given.items() if value is not None}
        if img_dir is not None:
            kwargs['data_prefix'] = {'img_path': img_dir, 'seg_map_path': ann_dir}
        if split is not None:
            kwargs['ann_file'] = split
        if meta:
            kwargs['metainfo'] = {**(kwargs.get('metainfo') or {}), **meta}
        self.img_dir, self.ann_dir, self.split = img_dir, ann_dir, split
        self.file_client = get_file_backend('.')
        self._label_loader = dict(gt_seg_map_loader_cfg or {})
        self._label_loader.pop('imdecode_backend', None)
        super().__init__(
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            data_root=data_root,
            pipeline=_ours(pipeline, test_mode),
            test_mode=test_mode,
            ignore_index=ignore_index,
            reduce_zero_label=reduce_zero_label,
            **kwargs,
        )
        folders = self.data_prefix
        self.img_dir, self.ann_dir = folders.get('img_path'), folders.get('seg_map_path')
        self.CLASSES, self.PALETTE = self.metainfo.get('classes'), self.metainfo.get('palette')

    @property
    def img_infos(self) -> list[dict]:
        """``dict(filename, ann=dict(seg_map))`` of each sample."""
        infos = (self.get_data_info(i) for i in range(len(self)))
        return [
            {'filename': info['img_path'], 'ann': {'seg_map': info.get('seg_map_path')}}
            for info in infos
        ]

    def load_annotations(
        self,
        img_dir: str,
        img_suffix: str,
        ann_dir: str | None,
        seg_map_suffix: str,
        split: str | None,
    ) -> list[dict]:
        """``dict(filename, ann=dict(seg_map))`` of each sample, below the two folders."""
        infos: list[dict[str, object]] = []
        for pair in super().load_data_list():
            infos.append({'filename': os.path.relpath(pair['img_path'], img_dir or '.')})
            if 'seg_map_path' in pair:
                infos[-1]['ann'] = {'seg_map': os.path.relpath(pair['seg_map_path'], ann_dir)}
        return infos

    def load_data_list(self) -> list[dict]:
        """What `load_annotations` of a subclass names; else as any data set of ours."""
        if type(self).load_annotations is CustomDataset.load_annotations:
            return super().load_data_list()
        folders = self.data_prefix.get('img_path') or '', self.data_prefix.get('seg_map_path')
        self.img_dir, self.ann_dir = folders
        names = folders[0], self.img_suffix, folders[1], self.seg_map_suffix
        pairs = []
        for info in self.load_annotations(*names, self.ann_file or None):
            pairs.append({'img_path': os.path.join(folders[0], info['filename'])})
            label = (info.get('ann') or {}).get('seg_map')
            if label is not None:
                pairs[-1]['seg_map_path'] = os.path.join(folders[1] or '', label)
        return pairs

    def get_ann_info(self, idx: int) -> dict:
        """``dict(seg_map)`` of a sample."""
        return self.img_infos[idx]['ann']

    def pre_pipeline(self, results: dict) -> None:
        """What a sample has before the pipeline; a subclass adds to it."""
        results.update(img_prefix=self.img_dir, seg_prefix=self.ann_dir)

    def prepare_data(self, idx: int) -> Any:
        """One sample, by the method of training or testing."""
        return self.prepare_test_img(idx) if self.test_mode else self.prepare_train_img(idx)

    def prepare_train_img(self, idx: int) -> Any:
        """One sample through the pipeline."""
        results = self.get_data_info(idx)
        name = os.path.relpath(results['img_path'], self.img_dir or '.')
        results['img_info'] = {'filename': name, 'ann': {'seg_map': results.get('seg_map_path')}}
        results['ann_info'] = results['img_info']['ann']
        self.pre_pipeline(results)
        return self.pipeline(results)

    def prepare_test_img(self, idx: int) -> object:
        """The same."""
        return CustomDataset.prepare_train_img(self, idx)

    def get_gt_seg_map_by_idx(self, index: int) -> np.ndarray:
        """Class indices (H, W) of a sample."""
        load = LoadAnnotations(**self._label_loader)
        return load.transform(self.get_data_info(index))['gt_seg_map']

    def get_gt_seg_maps(self, efficient_test: bool | None = None) -> Iterator[np.ndarray]:
        """The labels of all samples, one at a time."""
        return (self.get_gt_seg_map_by_idx(i) for i in range(len(self)))

    def pre_eval(self, preds: object, indices: object) -> list[Areas]:
        """Areas of each prediction (H, W) and the label of its index."""
        preds = preds if isinstance(preds, list) else [preds]
        indices = indices if isinstance(indices, list) else [indices]
        count = len(self.metainfo['classes'])
        return [
            intersect_and_union(pred, self.get_gt_seg_map_by_idx(i), count, self.ignore_index)
            for pred, i in zip(preds, indices)
        ]

    def evaluate(
        self,
        results: Sequence,
        metric: str | Sequence[str] = 'mIoU',
        logger: object = None,
        gt_seg_maps: Any = None,
        **kwargs: object,
    ) -> dict[str, float]:
        """Scores as shares of 1 of what `pre_eval` gave, or of predictions (H, W) of all samples:
        'aAcc', 'mIoU', 'mAcc', ... and of every class 'IoU.name'."""
        metrics = [metric] if isinstance(metric, str) else list(metric)
        names = list(self.metainfo['classes'])
        areas = list(results)
        if areas and not isinstance(areas[0], tuple):
            labels = self.get_gt_seg_maps() if gt_seg_maps is None else gt_seg_maps
            pairs = zip(areas, labels, strict=True)
            areas = [intersect_and_union(p, t, len(names), self.ignore_index) for p, t in pairs]
        scores = area_scores(areas, names, 1.0, None)
        print_log('Per class, in percent:\n' + class_table(scores, metrics), logger)
        found = {key: value / 100 for key, value in scores.summary(metrics).items()}
        for heading, values in scores.per_class().items():
            if f'm{heading}' in found:
                found |= {f'{heading}.{name}': v / 100 for name, v in zip(names, values)}
        return found


def _ours(pipeline: Sequence, test_mode: bool) -> list:
    """An older pipeline as ours; any other as it is."""
    from segkit.engine.migration.pipelines import after_resize, convert_pipeline

    steps = list(pipeline)
    if not any(isinstance(step, Mapping) and step.get('type') in _OLD_STEPS for step in steps):
        return steps
    converted = convert_pipeline(steps)[0]
    return after_resize(converted, {'type': 'LoadAnnotations'}) if test_mode else converted


def build_dataset(cfg: Any, default_args: Mapping[str, object] | None = None) -> Any:
    """The data set of a config of either generation; of a list of them their concatenation."""
    from segkit.engine.migration.data_sets import convert_dataset

    if isinstance(cfg, (list, tuple)):
        return DATASETS.build(
            {'type': 'ConcatDataset', 'datasets': [build_dataset(c, default_args) for c in cfg]}
        )
    args = {**(default_args or {}), **cfg}
    kind = DATASETS.get(args['type']) if isinstance(args['type'], str) else args['type']
    if kind is None:
        raise UserError(f'{args["type"]!r} is no data set that is registered in DATASETS.')
    older = {'img_dir', 'ann_dir', 'split'} & set(args)
    lists = any(isinstance(args.get(key), (list, tuple)) for key in older)
    if 'dataset' in args:
        args['dataset'] = build_dataset(args['dataset'])
    elif older and (lists or not issubclass(kind, CustomDataset)):
        steps = _ours(args.get('pipeline', ()), args.get('test_mode', False))
        args = convert_dataset(args, steps, None)
    return DATASETS.build(args)


def build_dataloader(
    dataset: object,
    samples_per_gpu: int,
    workers_per_gpu: int,
    num_gpus: int = 1,
    dist: bool = True,
    shuffle: bool = True,
    seed: int | None = None,
    drop_last: bool = False,
    pin_memory: bool = True,
    persistent_workers: bool = True,
    **kwargs: object,
) -> DataLoader:
    """A loader of ``samples_per_gpu`` samples a batch and ``workers_per_gpu`` processes; each rank
    of a job reads its share. ``kwargs`` are those of torch's DataLoader."""
    from segkit.engine.runner import Runner

    kwargs.pop('dataloader_type', None)
    config = dict(
        dataset=dataset,
        batch_size=samples_per_gpu if dist else samples_per_gpu * max(num_gpus, 1),
        num_workers=workers_per_gpu if dist else workers_per_gpu * max(num_gpus, 1),
        sampler=dict(type='DefaultSampler', shuffle=shuffle),
        drop_last=drop_last,
        pin_memory=pin_memory and torch.cuda.is_available(),
        persistent_workers=persistent_workers and workers_per_gpu > 0,
        **kwargs,
    )
    return Runner.build_dataloader(config, seed)
