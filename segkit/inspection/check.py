"""A whole check: every dataset of the chosen splits, read once, judged for a config."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

from mmengine.config import Config

from segkit.datasets.parallel import Failure, parallel
from segkit.engine.before_training import ERROR, WARNING, Finding, Plan, by_level, findings
from segkit.engine.config import without
from segkit.engine.config_check import check_part
from segkit.engine.hooks.first_batches import channels_fit
from segkit.errors import UserError

from .config_datasets import LOADERS, Leaf, Problem, leaves_of
from .duplicates import duplicate_findings
from .examine import Examiner, Record
from .judgement import batch_finding, ignore_index, judge
from .small_objects import small_object_findings
from .summary import Summary, add_up, spread


@dataclass
class Checked:
    """One dataset, its sums and what they mean."""

    leaf: Leaf
    summary: Summary
    findings: list[Finding]
    split: str = 'train'

    @property
    def classes(self) -> list[str]:
        return list(self.leaf.dataset.metainfo.get('classes') or ())

    @property
    def palette(self) -> list[list[int]]:
        return [list(colour) for colour in self.leaf.dataset.metainfo.get('palette') or ()]


@dataclass
class Check:
    """The result of ``check``; ``ok`` says whether training would work."""

    config: str
    datasets: list[Checked]
    general: list[Finding] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        return [*self.general, *(f for part in self.datasets for f in part.findings)]

    @property
    def ok(self) -> bool:
        return all(finding.level != ERROR for finding in self.findings)

    def to_json(self) -> dict[str, object]:
        """Everything as plain JSON types."""
        return {
            'config': self.config,
            'ok': self.ok,
            'general': [asdict(finding) for finding in self.general],
            'datasets': [_part(part) for part in self.datasets],
        }


def _part(part: Checked) -> dict[str, object]:
    summary = part.summary
    classes = [
        {
            'index': index,
            'name': name,
            'pixels': summary.counts[index],
            'share': summary.share(index),
            'images': summary.images_with[index],
        }
        for index, name in enumerate(part.classes)
    ]
    return {
        'name': summary.name,
        'type': type(part.leaf.dataset).__name__,
        'images': summary.images,
        'examined': summary.examined,
        'mean': summary.mean,
        'std': summary.std,
        'ignored_share': summary.ignored_share,
        'sizes': [{'height': h, 'width': w, 'images': n} for (h, w), n in summary.sizes.items()],
        'classes': classes,
        'label_values': {str(value): count for value, count in sorted(summary.counts.items())},
        'findings': [asdict(finding) for finding in part.findings],
    }


def check(
    cfg: Config,
    name: str,
    splits: Sequence[str] = ('train', 'val'),
    workers: int | None = None,
    max_images: int | None = None,
    gpus: int = 1,
) -> Check:
    """Read all images and labels of a config's splits and judge them.

    Args:
        name: of the config, for what is said about it.
        splits: of 'train', 'val', 'test'; a split that reads the same data as an earlier one is
            left out.
        max_images: examine so many, evenly spread, instead of all. Missing files are found anyway.
        gpus: how many will train, for the effective batch.

    Raises:
        ConfigError, ValueError: a dataset of the config cannot be built; it says which key.
    """
    result, seen = Check(name, []), []
    for split in splits:
        wanted = _data_of(cfg, split)
        if wanted is None or wanted in seen:
            continue
        seen.append(wanted)
        check_part(cfg, LOADERS[split])
        for leaf in leaves_of(cfg, split):
            result.datasets.append(_check_leaf(cfg, leaf, split, workers, max_images))
    if not result.datasets:
        keys = ', '.join(LOADERS[split] for split in splits)
        raise UserError(f'{name}: the config has none of {keys}: nothing to check.')
    result.general = by_level(_general(cfg, result.datasets, 'train' in splits, gpus))
    return result


def _check_leaf(
    cfg: Config, leaf: Leaf, split: str, workers: int | None, max_images: int | None
) -> Checked:
    dataset = leaf.dataset
    summary = _read(leaf, workers, max_images, ignore_index(cfg, dataset))
    part = Checked(leaf, summary, [], split)
    skips = getattr(dataset, 'on_error', '') == 'skip' and not dataset.test_mode
    found = judge(cfg, summary, part.classes, split, skips)
    for channels, picture in sorted(summary.channels.items()):
        found += channels_fit(cfg.get('model'), channels, picture)
    for files, what in (
        (leaf.orphans, 'labels without an image, not used'),
        (leaf.left_out, f'pictures that do not end in {dataset.img_suffix!r}, not used'),
    ):
        if files:
            found.append(Finding(WARNING, f'{what}: {len(files)}', files, pictures=files[:4]))
    if split == 'train' and summary.labelled:
        found += small_object_findings(cfg, leaf, part.classes, workers)
    part.findings = by_level(found)
    return part


def _general(cfg: Config, parts: Sequence[Checked], trains: bool, gpus: int) -> Iterator[Finding]:
    """What is no matter of a single data set."""
    trained = [part for part in parts if part.split == 'train']
    if trains:
        samples = sum(part.summary.images * part.leaf.times for part in trained)
        headers = [header for part in trained for header in part.summary.headers]
        yield from findings(Plan(cfg, samples if trained else None, gpus, headers))
        batch = batch_finding(cfg, gpus)
        yield from [batch] if batch else []
    looks: dict[str, list] = {}
    for part in parts:
        looks.setdefault(part.split, []).extend(part.summary.looks)
    yield from duplicate_findings(looks)


def _data_of(cfg: Config, split: str) -> object:
    """What decides which files a split reads; the pipeline does not."""
    loader = cfg.get(LOADERS[split])
    if not loader or 'dataset' not in loader:
        return None
    return without(loader['dataset'], ('pipeline', 'test_mode'))


def _read(leaf: Leaf, workers: int | None, max_images: int | None, ignored: int) -> Summary:
    infos = leaf.infos if max_images is None else spread(leaf.infos, max_images)
    results = parallel(Examiner(*leaf.loaders), infos, leaf.name, workers)
    records = [_as_record(info, result) for info, result in zip(infos, results)]
    return add_up(leaf.name, len(leaf.infos), records, leaf.problems, ignored)


def _as_record(info: dict, result: Record | Failure) -> Record:
    if isinstance(result, Record):
        return result
    record = Record(info['img_path'], info.get('seg_map_path'))
    text = f'{record.image}: {result.reason}'
    record.problems.append(Problem('cannot be used', text))
    return record
