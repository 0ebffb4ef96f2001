"""One self-contained HTML page: what a network scored, where it fails, and how it was made.

No script, no font, no address is loaded: the file can be mailed, archived and opened offline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from ..scores import Scores
from . import sections
from .pictures import Example
from .scalars import Curves


@dataclass
class Report:
    """Everything a page shows; see ``ReportBuilder`` for how it is collected.

    Args:
        title: heading.
        scores: of the whole test.
        palette: K colours (R, G, B).
        metrics: headline results in percent.
        image_scores: (N,) mIoU of each image in percent.
        images_with_class: (K,) images whose labels hold the class.
        sizes: (N, 2) height and width of each image.
        examples: (worst, best) pictures.
        unlabelled: pictures of images without labels.
        curves: scalars of the training run.
        config: full text of the configuration.
        environment, timings, facts: name -> value; ``facts`` stand under the title.
    """

    title: str
    scores: Scores
    palette: Sequence[Sequence[int]]
    metrics: dict[str, float]
    image_scores: np.ndarray
    images_with_class: np.ndarray
    sizes: np.ndarray
    examples: tuple[list[Example], list[Example]] = ([], [])
    unlabelled: list[Example] = field(default_factory=list)
    curves: Curves = field(default_factory=dict)
    config: str = ''
    environment: dict = field(default_factory=dict)
    timings: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)


_STYLE = Path(__file__).with_name('style.css')

# Address within the page, heading, function that fills it ('' leaves the section out).
_SECTIONS = (
    ('curves', 'Training', sections.curves),
    ('classes', 'Classes', sections.classes),
    ('confusion', 'Confusion', sections.confusion),
    ('worst', 'Worst pictures', sections.worst),
    ('best', 'Best pictures', sections.best),
    ('pictures', 'Pictures', sections.unlabelled),
    ('statistics', 'Statistics', sections.statistics),
    ('run', 'Run', sections.run),
)
# Left out where no image has labels.
_OF_LABELS = ('classes', 'confusion', 'statistics')


def render(report: Report) -> str:
    """The page as text."""
    labelled = bool(report.scores.matrix.any())
    shown = [entry for entry in _SECTIONS if labelled or entry[0] not in _OF_LABELS]
    filled = [(name, heading, make(report)) for name, heading, make in shown]
    filled = [entry for entry in filled if entry[2]]
    links = ''.join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in filled)
    body = ''.join(
        f'<section id="{name}"><h2>{heading}</h2>{content}</section>'
        for name, heading, content in filled
    )
    title = escape(report.title)
    style = _STYLE.read_text(encoding='utf-8')
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Without an icon of its own a page makes the browser ask the server for one.
        f'<link rel="icon" href="data:,"><title>{title}</title><style>{style}</style></head><body>'
        f'<header><div><h1>{title}</h1>{sections.facts(report)}</div></header>'
        f'<nav><div>{links}</div></nav><main>{sections.headline(report)}{body}'
        '<footer>Written by segkit.</footer></main></body></html>'
    )
