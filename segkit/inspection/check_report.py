"""A check for people: as text for a terminal, and as one HTML page with pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from segkit.engine.before_training import ERROR, Finding
from segkit.evaluation.tables import format_table
from segkit.visualization.overlays import fit
from segkit.visualization.web_page import data_uri, fill

from .check import Check, Checked
from .config_datasets import sample_picture
from .quoting import plain
from .summary import spread

_LISTED = 10  # files of a finding in the text
_SIZES = 3
_PICTURES, _WIDTH = 12, 360  # of a data set in the page
_SHOWN = 4  # pictures of a finding


def as_text(check: Check, all_files: bool = False) -> str:
    """The report, its verdict last, where the eye is when it has scrolled by.

    ``all_files`` lists every file of a finding instead of the first ten.
    """
    blocks = ['\n'.join(_dataset(part, all_files)) for part in check.datasets]
    blocks += [_told(finding, all_files) for finding in check.general]
    errors = sum(finding.level == ERROR for finding in check.findings)
    count = '1 error' if errors == 1 else f'{errors} errors'
    verdict = 'training would work' if check.ok else f'{count}: training would fail'
    return '\n\n'.join([*blocks, f'{check.config}: {verdict}'])


def _dataset(part: Checked, all_files: bool) -> Iterator[str]:
    summary = part.summary
    examined = '' if summary.examined == summary.images else f', {summary.examined} examined'
    yield f'{summary.name}: {summary.images} complete samples{examined}'
    if summary.sizes:
        common = [f'{h}x{w} ({n})' for (h, w), n in summary.sizes.most_common(_SIZES)]
        others = len(summary.sizes) - _SIZES
        more = f' and {others} others' if others > 0 else ''
        yield f'sizes, height x width (images): {", ".join(common)}{more}'
    if summary.mean is not None:
        yield f'mean {summary.mean}, std {summary.std} (RGB, of all pixels)'
    if summary.counts:
        rows = [
            [name, index, f'{100 * summary.share(index):.2f}%', summary.images_with[index]]
            for index, name in enumerate(part.classes)
        ]
        yield format_table(['class', 'index', 'pixels', 'images'], rows)
        share = f'{100 * summary.ignored_share:.2f}%'
        yield f'ignored ({summary.ignore_index}): {share} of all label pixels'
    yield from (_told(finding, all_files) for finding in part.findings)


def _told(finding: Finding, all_files: bool) -> str:
    shown = finding.files if all_files else finding.files[:_LISTED]
    lines = [f'{finding.level.upper()}: {plain(finding.sentence)}']
    lines += [f'    {plain(message)}' for message in shown]
    if len(finding.files) > len(shown):
        lines.append(f'    ... and {len(finding.files) - len(shown)} more (--all-files)')
    return '\n'.join(lines)


def as_page(check: Check) -> str:
    """The page as text; nothing in it is loaded from elsewhere."""
    return fill(
        Path(__file__).with_name('check.html'),
        title=f'Data of {check.config}',
        verdict='Training would work.' if check.ok else 'Training would fail.',
        general=_with_pictures(check.general, check.datasets),
        parts=[
            dict(
                summary=part.summary,
                findings=_with_pictures(part.findings, [part]),
                samples=_uris((part, info) for info in spread(part.leaf.infos, _PICTURES)),
                classes=list(enumerate(zip(part.classes, part.palette))),
                highest=max(map(part.summary.share, range(len(part.classes))), default=0) or 1,
                sizes=part.summary.sizes.most_common(8),
            )
            for part in check.datasets
        ],
    )


def _with_pictures(findings: Iterable[Finding], parts: Sequence[Checked]) -> list[dict]:
    """Findings with the pictures that show them, read with their labels where they are samples."""
    samples = {info['img_path']: (part, info) for part in parts for info in part.leaf.infos}
    return [
        dict(
            finding=finding,
            files=[plain(file) for file in finding.files],
            pictures=_uris(
                samples.get(path, (parts[0], {'img_path': path}))
                for path in finding.pictures[:_SHOWN]
            ),
        )
        for finding in findings
    ]


def _uris(samples: Iterable[tuple[Checked, Mapping]]) -> list[tuple[str, str]]:
    """(name, picture as an address) of those that can be read."""
    found = []
    for part, info in samples:
        picture: np.ndarray | None = sample_picture(part.leaf, info, part.palette)
        if picture is not None:
            height = max(1, round(picture.shape[0] * _WIDTH / picture.shape[1]))
            uri = data_uri(fit(picture, (height, _WIDTH)), photograph=True)
            found.append((plain(Path(info['img_path']).name), uri))
    return found
