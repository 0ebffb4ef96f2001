"""A check as text for a terminal: the verdict last, where the eye is when it has scrolled by."""

from segkit.engine.findings import Finding

from .check import Check, Checked
from .quoting import plain

_SHOWN_FILES = 10
_SHOWN_SIZES = 3


def as_text(check: Check, all_files: bool = False) -> str:
    """The report; ``all_files`` lists every file of a finding instead of the first ten."""
    parts = [_dataset(part, all_files) for part in check.datasets]
    parts += [_finding(finding, all_files) for finding in check.general]
    errors = sum(f.level == 'error' for part in check.datasets for f in part.findings)
    errors += sum(finding.level == 'error' for finding in check.general)
    count = '1 error' if errors == 1 else f'{errors} errors'
    verdict = 'training would work' if check.ok else f'{count}: training would fail'
    return '\n\n'.join(parts) + f'\n\n{check.config}: {verdict}'


def _dataset(part: Checked, all_files: bool) -> str:
    summary = part.summary
    examined = '' if summary.examined == summary.images else f', {summary.examined} examined'
    lines = [f'{summary.name}: {summary.images} complete samples{examined}']
    lines += _sizes(part) + _classes(part)
    lines += [_finding(finding, all_files) for finding in part.findings]
    return '\n'.join(lines)


def _sizes(part: Checked) -> list[str]:
    sizes, summary = part.summary.sizes, part.summary
    if not sizes:
        return []
    common = [f'{h}x{w} ({n})' for (h, w), n in sizes.most_common(_SHOWN_SIZES)]
    more = f' and {len(sizes) - _SHOWN_SIZES} others' if len(sizes) > _SHOWN_SIZES else ''
    lines = [f'  sizes, height x width (images): {", ".join(common)}{more}']
    if summary.mean is not None:
        lines.append(f'  mean {summary.mean}, std {summary.std} (RGB, of all pixels)')
    return lines


def _classes(part: Checked) -> list[str]:
    summary, classes = part.summary, part.classes
    if not summary.counts:
        return []
    width = max(map(len, ['class', *classes]))
    lines = [f'  {"":>4} {"class":{width}} {"pixels":>7}  {"images":>7}']
    for index, name in enumerate(classes):
        share = f'{100 * summary.share(index):6.2f}%'
        lines.append(f'  {index:>4} {name:{width}} {share}  {summary.images_with[index]:>7}')
    share = f'{100 * summary.ignored_share:.2f}%'
    lines.append(f'  ignored ({summary.ignore_index}): {share} of all label pixels')
    return lines


def _finding(finding: Finding, all_files: bool) -> str:
    lines = [f'{finding.level.upper()}: {plain(finding.sentence)}']
    shown = finding.files if all_files else finding.files[:_SHOWN_FILES]
    lines += [f'    {plain(message)}' for message in shown]
    if len(finding.files) > len(shown):
        lines.append(f'    ... and {len(finding.files) - len(shown)} more (--all-files)')
    return '\n'.join(lines)
