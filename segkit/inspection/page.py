"""A check as one HTML page with pictures; nothing in it is loaded from elsewhere."""

from html import escape
from pathlib import Path

from segkit.engine.findings import Finding
from segkit.evaluation import report
from segkit.evaluation.report.pictures import jpeg_uri
from segkit.evaluation.report.sections import swatch, table
from segkit.visualization.contact_sheet import fit

from .check import Check, Checked
from .pictures import sample_pictures

_STYLE = Path(report.__file__).with_name('style.css')
_EXTRA = """
.finding { border-left: 4px solid var(--line); padding: .3em .8em; margin: .6em 0; }
.finding.error { border-color: var(--bad); } .finding.warning { border-color: var(--c5); }
.finding pre { white-space: pre-wrap; font-size: .85em; color: var(--muted); }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 12px; }
.samples img { width: 100%; border-radius: 4px; } .samples figure { margin: 0; }
.samples figcaption { font-size: .8em; color: var(--muted); overflow-wrap: anywhere; }
.share { background: var(--accent); height: .7em; border-radius: 2px; }
"""
_PICTURES, _WIDTH = 12, 360


def as_page(check: Check) -> str:
    """The page as text."""
    title = escape(f'Data of {check.config}')
    verdict = 'Training would work.' if check.ok else 'Training would fail.'
    body = ''.join(_dataset(part) for part in check.datasets)
    general = ''.join(_finding(finding) for finding in check.general)
    style = _STYLE.read_text(encoding='utf-8') + _EXTRA
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{title}</title><style>{style}</style></head><body>'
        f'<header><div><h1>{title}</h1><p>{verdict}</p></div></header>'
        f'<main>{general}{body}<footer>Written by segkit.</footer></main></body></html>'
    )


def _dataset(part: Checked) -> str:
    summary = part.summary
    facts = f'{summary.images} complete samples, {summary.examined} examined'
    if summary.mean is not None:
        facts += f'; mean {summary.mean}, std {summary.std}'
    findings = ''.join(_finding(finding) for finding in part.findings)
    return (
        f'<section><h2>{escape(summary.name)}</h2><p>{facts}</p>{findings}'
        f'{_samples(part)}{_classes(part)}{_sizes(part)}</section>'
    )


def _finding(finding: Finding) -> str:
    files = escape('\n'.join(finding.files[:50]))
    more = f'\n... and {len(finding.files) - 50} more' if len(finding.files) > 50 else ''
    listed = f'<pre>{files}{more}</pre>' if files else ''
    text = f'<b>{finding.level}</b>: {escape(finding.sentence)}'
    return f'<div class="finding {finding.level}">{text}{listed}</div>'


def _classes(part: Checked) -> str:
    summary = part.summary
    if not summary.counts:
        return ''
    highest = max([summary.share(i) for i in range(len(part.classes))], default=0) or 1
    rows = []
    for index, (name, colour) in enumerate(zip(part.classes, part.palette)):
        share = summary.share(index)
        bar = f'<div class="share" style="width:{100 * share / highest:.1f}%"></div>'
        images = str(summary.images_with[index])
        part_of_all = f'{100 * share:.3f}%'
        rows.append([str(index), swatch(colour), escape(name), part_of_all, images, bar])
    headings = ['', '', 'class', 'pixels', 'images', 'relative to the most frequent']
    part_of_all = f'{100 * summary.ignored_share:.2f}%'
    ignored = f'<p>{part_of_all} of the label pixels are ignored ({summary.ignore_index}).</p>'
    return table(headings, rows, text=(2, 5)) + ignored


def _sizes(part: Checked) -> str:
    common = part.summary.sizes.most_common(8)
    if not common:
        return ''
    rows = [[f'{height} x {width}', str(count)] for (height, width), count in common]
    return table(['height x width', 'images'], rows)


def _samples(part: Checked) -> str:
    figures = []
    for name, picture in sample_pictures(part.leaf, part.palette, _PICTURES):
        height = max(1, round(picture.shape[0] * _WIDTH / picture.shape[1]))
        uri = jpeg_uri(fit(picture, (height, _WIDTH)))
        name = escape(name)
        figures.append(
            f'<figure><img src="{uri}" alt="{name} with its labels"><figcaption>{name}'
            '</figcaption></figure>'
        )
    return f'<div class="samples">{"".join(figures)}</div>'
