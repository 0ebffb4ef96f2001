"""What a config says of its validation before the first step: whether it ends, sees every picture
once, and scores labels as they are stored."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence

from segkit.datasets.transforms.aug_test import datasets_of

# Steps that change the size of what was loaded before them, or draw by chance.
_RESIZING = {'Resize', 'ResizeToMultiple', 'ResizeShortestEdge'}
_BY_CHANCE = {'PhotoMetricDistortion', 'Albu'}
_HOW = ('pipeline', 'test_mode')  # what a data set does with its files, not which they are


def validation_faults(cfg: Mapping, endless: bool) -> Iterator[tuple[str, str, list[str]]]:
    """(level, text, options that cure it) of each fault of ``val_dataloader``.

    Args:
        endless: whether its sampler has no end.
    """
    loader = cfg.get('val_dataloader')
    if not isinstance(loader, Mapping) or not isinstance(loader.get('dataset'), MutableMapping):
        return
    if endless:
        kind = loader['sampler']['type']
        yield (
            'error',
            f'val_dataloader.sampler is {kind}, which has no end: a validation would last for '
            'ever.',
            ['val_dataloader.sampler.type=DefaultSampler'],
        )
    if loader.get('drop_last') and (loader.get('batch_size') or 1) > 1:
        yield (
            'warning',
            'val_dataloader.drop_last=True leaves the pictures of an incomplete last batch '
            'unscored.',
            ['val_dataloader.drop_last=False'],
        )
    for data in datasets_of(loader['dataset']):
        yield from _pipeline_faults(data.get('pipeline') or ())
    trained = (cfg.get('train_dataloader') or {}).get('dataset')
    if (
        isinstance(trained, MutableMapping)
        and _files(trained)
        and _files(trained) == _files(loader['dataset'])
    ):
        yield (
            'warning',
            'val_dataloader reads the pictures that are trained on, so scores will be too good: '
            'set data_prefix or ann_file of its dataset to others.',
            [],
        )


def _pipeline_faults(steps: Sequence) -> Iterator[tuple[str, str, list[str]]]:
    names = [str(step.get('type')) for step in steps if isinstance(step, Mapping)]
    drawn = [name for name in names if name.startswith('Random') or name in _BY_CHANCE]
    if drawn:
        yield (
            'warning',
            f'the pipeline of val_dataloader holds {", ".join(drawn)}: scores would depend on '
            'chance, and labels move with the picture while predictions are moved back. Take it '
            'out.',
            [],
        )
    if 'LoadAnnotations' not in names:
        return
    after = names[names.index('LoadAnnotations') :]
    resizing = next((name for name in after if name in _RESIZING), None)
    if resizing:
        yield (
            'warning',
            f'the pipeline of val_dataloader has LoadAnnotations before {resizing}, which changes '
            'the label too, while predictions are scored at the size of the picture as stored. Put '
            'LoadAnnotations after it.',
            [],
        )


def _files(dataset: MutableMapping) -> list[dict[str, object]]:
    """What decides which files are read, of each data set that is read from a folder."""
    found = []
    for data in datasets_of(dataset):
        if not data.get('data_root') and not data.get('data_prefix'):
            return []
        found.append({key: value for key, value in data.items() if key not in _HOW})
    return found
