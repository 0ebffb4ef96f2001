"""What can be known when training starts: the shared list of checks, then the first batches.

``before_training.py`` has the list. Of what ``tools/check_dataset.py`` finds in a whole dataset, a
few batches, while they are still on the CPU, show: channels the backbone does not take, labels
that are no class, labels of another size than their image, nothing but ignored pixels, masks of
{0, 255} read as one class. An error here comes before the first step and names the file; on a GPU
the check beside the loss speaks after the step.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement

from segkit.command import command
from segkit.datasets.decode import Header, picture_header
from segkit.engine.before_training import ERROR, WARNING, Finding, Plan, findings
from segkit.engine.config_check import accepted_arguments
from segkit.engine.errors import TrainingError
from segkit.errors import ConfigError
from segkit.models.losses.stray_labels import check_labels, ignored_apart, labelled, mask_cure
from segkit.registry import HOOKS, MODELS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner

_PROBED = 16  # picture files whose headers are read when training starts


@HOOKS.register_module()
class FirstBatchesHook(Hook):
    """Run the checks that need no batch, then look at the first ``batches`` batches of this rank.

    Raises ConfigError, TrainingError or ValueError, naming key or file, for what cannot train.
    """

    def __init__(self, batches: int = 10) -> None:
        self.batches = batches
        self._seen = 0
        self._counts = torch.zeros(0, dtype=torch.int64)

    def before_train(self, runner: 'Runner') -> None:
        if runner.iter:
            return  # a resumed run has begun, and with the weights of its checkpoint
        dataset: object = runner.train_dataloader.dataset
        plan = Plan(runner.cfg, None, runner.world_size)
        if hasattr(dataset, '__len__'):
            plan.samples, plan.headers = len(dataset), some_headers(dataset)
        _tell(findings(plan))

    def before_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: dict | None = None
    ) -> None:
        if self._seen >= self.batches or not data_batch or 'data_samples' not in data_batch:
            return
        first = data_batch['data_samples'][0]
        if not isinstance(first, BaseDataElement):  # of another's dataset
            return
        if not self._seen:
            channels = len(data_batch['inputs'][0])
            _tell(channels_fit(runner.cfg.get('model'), channels, _name(first, 'img_path')))
        head: Any = getattr(runner.bare_model, 'decode_head', None)
        if getattr(head, 'num_classes', None) is None:
            return
        ignore_index = getattr(head, 'ignore_index', 255)
        self._look(data_batch, head.num_classes, ignore_index)
        self._seen += 1
        if self._seen == self.batches:
            self._judge(ignore_index)

    def _look(self, data_batch: dict, num_classes: int, ignore_index: int) -> None:
        if not len(self._counts):
            self._counts = torch.zeros(num_classes + 1, dtype=torch.int64)
        for image, sample in zip(data_batch['inputs'], data_batch['data_samples']):
            if 'gt_sem_seg' not in sample:
                raise TrainingError(
                    f'{_name(sample)}: there is no label to train with. {_looks_at_all()}'
                )
            label = sample.gt_sem_seg.data
            if label.shape[-2:] != image.shape[-2:]:
                raise TrainingError(
                    f'{_name(sample)}: after the pipeline the label is {tuple(label.shape[-2:])} '
                    f'and the image {tuple(image.shape[-2:])} (height, width): a transform of '
                    'train_pipeline changes only one of the two'
                )
            apart = not self._seen and ignored_apart(sample, num_classes, ignore_index, 'the head')
            if apart:
                print_log(apart, 'current', logging.WARNING)
            check_labels(label[None], num_classes, ignore_index, [sample])
            index = torch.where(labelled(label, ignore_index), label.long(), num_classes).flatten()
            self._counts += torch.bincount(index, minlength=num_classes + 1)

    def _judge(self, ignored: int) -> None:
        *classes, left_out = self._counts.tolist()
        present = [index for index, count in enumerate(classes) if count]
        if not present:
            raise TrainingError(
                f'every label pixel of the first {self.batches} batches is ignored: there is '
                f'nothing to learn. {mask_cure(ignored)} {_looks_at_all()}'
            )
        if len(present) == 1 and left_out and len(classes) > 1:
            print_log(
                f'In the first {self.batches} batches the only class is {present[0]}, the rest is '
                f'ignored ({ignored}). {mask_cure(ignored)} {_looks_at_all()}',
                'current',
                logging.WARNING,
            )


def network_channels(model: Mapping | None) -> int | None:
    """Channels of a picture that the backbone of a config takes; None where nothing says."""
    backbone = (model or {}).get('backbone')
    if not isinstance(backbone, Mapping):
        return None
    if 'in_channels' in backbone:
        return backbone['in_channels']
    kind = backbone.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    taken = accepted_arguments(kind) if kind is not None else None
    return 3 if taken is not None and 'in_channels' in taken else None


def channels_fit(model: Mapping | None, channels: int, file: str) -> Iterator[Finding]:
    """Pictures of ``channels`` as loaded, for a backbone that takes another number."""
    wanted = network_channels(model)
    if wanted is None or wanted == channels:
        return
    text = (
        f'the pictures are loaded with {channels} channels, but model.backbone.in_channels is '
        f'{wanted}'
    )
    if wanted == 1 and channels == 3:
        text += (
            ": make it 3, or load grey with LoadImageFromFile(color_type='grayscale') in both "
            'pipelines and give data_preprocessor one mean and one std.'
        )
    else:
        text += ': make them equal, and give data_preprocessor as many means and stds.'
    yield Finding(ERROR, text, [file], [f'model.backbone.in_channels={channels}'], [file])


def some_headers(dataset: Any) -> list[Header]:
    """Headers of a few local pictures of a built data set, evenly spread."""
    count = len(dataset)
    info = getattr(dataset, 'get_data_info', None)
    if info is None or not count:
        return []
    places = sorted({i * count // _PROBED for i in range(_PROBED)})
    paths = (info(i).get('img_path') for i in places)
    found = (picture_header(path) for path in paths if isinstance(path, str))
    return [header for header in found if header is not None]


def _tell(found: Iterable[Finding]) -> None:
    """Stop at errors, log warnings."""
    found = list(found)
    for finding in found:
        if finding.level == WARNING:
            text = '\n    '.join([finding.sentence, *finding.files[:3]])
            print_log(text, 'current', logging.WARNING)
    errors = [finding for finding in found if finding.level == ERROR]
    if errors:
        raise ConfigError(' '.join(': '.join([*e.files[:1], e.sentence]) for e in errors))


def _name(sample: Any, first: str = 'seg_map_path') -> str:
    return str(sample.get(first, None) or sample.get('img_path', 'A sample'))


def _looks_at_all() -> str:
    return f'`{command("check_dataset", "CONFIG")}` looks at all of the data'
