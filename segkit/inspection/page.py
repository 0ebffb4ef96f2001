"""A check as one HTML page with pictures; nothing in it is loaded from elsewhere."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from segkit.engine.findings import Finding
from segkit.visualization.overlays import fit
from segkit.visualization.web_page import data_uri, fill

from .check import Check, Checked
from .pictures import sample_picture, sample_pictures
from .quoting import plain

_PICTURES, _WIDTH = 12, 360
_SHOWN = 4  # pictures of a finding


def as_page(check: Check) -> str:
    """The page as text."""
    return fill(
        Path(__file__).with_name('page.html'),
        title=f'Data of {check.config}',
        verdict='Training would work.' if check.ok else 'Training would fail.',
        general=_findings(check.general, check.datasets),
        parts=[_part(part) for part in check.datasets],
    )


def _part(part: Checked) -> dict[str, object]:
    summary = part.summary
    facts = f'{summary.images} complete samples, {summary.examined} examined'
    if summary.mean is not None:
        facts += f'; mean {summary.mean}, std {summary.std}'
    return dict(
        name=summary.name,
        facts=facts,
        findings=_findings(part.findings, [part]),
        samples=_uris(sample_pictures(part.leaf, part.palette, _PICTURES)),
        classes=_classes(part) if summary.counts else [],
        ignored=summary.ignored_share,
        ignore_index=summary.ignore_index,
        sizes=[(f'{h} x {w}', count) for (h, w), count in summary.sizes.most_common(8)],
    )


def _classes(part: Checked) -> list[dict]:
    shares = [part.summary.share(index) for index in range(len(part.classes))]
    highest = max(shares, default=0) or 1
    return [
        dict(
            index=index,
            name=name,
            colour=colour,
            share=share,
            images=part.summary.images_with[index],
            relative=share / highest,
        )
        for index, (name, colour, share) in enumerate(zip(part.classes, part.palette, shares))
    ]


def _findings(findings: Iterable[Finding], parts: Sequence[Checked]) -> list[dict]:
    """Findings with the pictures that show them, drawn as the data set reads them."""
    samples = {info['img_path']: (part, info) for part in parts for info in part.leaf.infos}
    return [
        dict(
            level=finding.level,
            text=finding.text,
            options=finding.options,
            files=[plain(file) for file in finding.files],
            pictures=_uris(_shown(finding.pictures[:_SHOWN], samples, parts[0])),
        )
        for finding in findings
    ]


def _shown(
    paths: Sequence[str], samples: Mapping[str, tuple[Checked, dict]], other: Checked
) -> Iterator[tuple[str, np.ndarray]]:
    """(name, picture) of image files: samples with their labels, others as ``other`` reads them."""
    for path in paths:
        part, info = samples.get(path, (other, {'img_path': path}))
        picture = sample_picture(part.leaf, info, part.palette)
        if picture is not None:
            yield Path(path).name, picture


def _uris(pictures: Iterable[tuple[str, np.ndarray]]) -> list[tuple[str, str]]:
    found = []
    for name, picture in pictures:
        height = max(1, round(picture.shape[0] * _WIDTH / picture.shape[1]))
        found.append((plain(name), data_uri(fit(picture, (height, _WIDTH)), photograph=True)))
    return found
