"""Where the shipped configs lie, and which of them a name means.

mmsegmentation 1.x writes the same words as 0.x in another order, and how many images a GPU gets:

    pspnet_r50-d8_512x1024_40k_cityscapes          0.x, and here
    pspnet_r50-d8_4xb2-40k_cityscapes-512x1024     1.x

Either finds the config. Shipped configs lie in ``configs/`` of a checkout and in
``segkit/.shipped/configs`` of a wheel.
"""

import difflib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
HOMES = (PACKAGE.parent / 'configs', PACKAGE / '.shipped' / 'configs')
_BATCH = re.compile(r'\d+xb\d+|\d+x\d{1,2}')  # GPUs x images; a crop has three digits a side


def shipped_home() -> Path:
    """The folder of the shipped configs."""
    return next((home for home in HOMES if (home / '_base_').is_dir()), HOMES[0])


def shipped_configs() -> dict[str, Path]:
    """Name without ``.py`` -> path of every config that can be run; ``_base_`` parts left out."""
    paths = shipped_home().rglob('*.py')
    return {path.stem: path for path in sorted(paths) if '_base_' not in path.parts}


@cache
def words(name: str) -> tuple[str, ...]:
    """What names of one config have in common in both generations."""
    found = re.split(r'[_-]+', name.lower())
    return tuple(sorted({'fp16': 'amp'}.get(w, w) for w in found if not _BATCH.fullmatch(w)))


def named(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is ``name``, or the same config by its name of the other
    generation; None where there is none, or more than one."""
    names = list(names)
    if name in names:
        return name
    found = [other for other in names if words(other) == words(name)]
    return found[0] if len(found) == 1 else None


def in_its_folder(path: Path) -> Path:
    """The file, or where there is none the config beside it that ``path`` means by the name of the
    other generation; ``path`` itself where there is none either."""
    if path.is_file() or not path.parent.is_dir():
        return path
    found = named(path.stem, (other.stem for other in path.parent.glob('*.py')))
    return path.with_name(f'{found}.py') if found else path


def find_config(name: str | Path) -> Path:
    """The path of a config given by path or by the name of a shipped one.

    A path as in mmsegmentation's commands, ``configs/pspnet/NAME.py``, is that shipped config
    where there is no such file.

    Raises:
        FileNotFoundError: neither exists; the sentence gives the nearest shipped names.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped, stem = shipped_configs(), path.name.removesuffix('.py')
    found = named(stem, shipped)
    folder = path.parts[:-1] if path.parts[:1] != ('configs',) else path.parts[1:-1]
    if found and folder in ((), (shipped[found].parent.name,)):
        return shipped[found]
    beside = in_its_folder(path)
    if beside.is_file():
        return beside
    near = difflib.get_close_matches(path.stem, shipped, n=3, cutoff=0.5)
    hint = f' Nearest shipped configs: {", ".join(near)}.' if near else ''
    raise FileNotFoundError(f"No config file '{name}', and no shipped config of that name.{hint}")
