"""The table as the guide shows it: `python -m segkit.familiar.guide docs/migration.md`."""

import sys
from pathlib import Path

from segkit.familiar import homes
from segkit.familiar.table import LACKING, PLACES

BEGIN, END = '<!-- names: begin, made by segkit.familiar.guide -->', '<!-- names: end -->'


def names_table() -> str:
    """What is at which place, and what serves it; then what is not here, and what does instead."""
    lines = ['| place | names | here |', '| --- | --- | --- |']
    for place, names in PLACES.items():
        by_home: dict[str, list[str]] = {}
        for name in names.split():
            by_home.setdefault(homes()[name].partition(':')[0], []).append(name)
        for home, served in by_home.items():
            where = home if home.startswith(('mmengine', 'mmcv', 'torch')) else f'segkit.{home}'
            there = '.'.join(['mmseg', place]).rstrip('.')
            lines.append(f'| `{there}` | `{", ".join(served)}` | `{where}` |')
    lines += ['', '| not here | instead |', '| --- | --- |']
    for groups in LACKING.values():
        for text, names in groups.items():
            lines.append(f'| `{", ".join(_classes(names.split()))}` | {text.replace("|", "/")} |')
    return '\n'.join(lines)


def _classes(names: list[str]) -> list[str]:
    """Without the modules that a class of the list stands in."""
    return [name for name in names if not name.islower() or '_' not in name] or names


def with_table(page: str) -> str:
    """The page with today's table between its marks."""
    head, rest = page.split(BEGIN)
    return f'{head}{BEGIN}\n{names_table()}\n{END}{rest.split(END)[1]}'


if __name__ == '__main__':
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text(encoding='utf-8')), encoding='utf-8')
