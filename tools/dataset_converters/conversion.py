"""What the dataset converters share: label files written whole, and a run that can be repeated.

A converter names its jobs (source, target) and a function from a source to a label (H, W) uint8,
a picture, or the bytes of a file that is copied.
Targets that are there already are kept, so an interrupted run continues when it is started again.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segkit.datasets.metainfo import LICENCES
from segkit.datasets.parallel import Failure, parallel
from segkit.datasets.scan import SPLIT_WRITER as WRITER
from segkit.datasets.scan import read_split
from segkit.outputs import check_outputs, output_file

Job = tuple[Any, Path]
Label = np.ndarray | Image.Image | bytes


@dataclass
class Conversion:
    """What a conversion did."""

    written: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)

    def text(self, what: str) -> str:
        """The report as sentences, with the first failures by name."""
        lines = [
            f'{what}: {self.written} written, {self.kept} were there, {len(self.failed)} failed'
        ]
        lines += [f'  {name}: {reason}' for name, reason in self.failed[:20]]
        if len(self.failed) > 20:
            lines.append(f'  ... and {len(self.failed) - 20} more')
        return '\n'.join(lines)


def save_label(label: Label, path: Path, palette: Sequence[Sequence[int]] | None = None) -> None:
    """Write a label (H, W) uint8 as PNG, whole or not at all; with a palette it shows colours.
    Bytes are written as they are."""
    if isinstance(label, bytes):
        with output_file(path, WRITER, '--overwrite') as file:
            file.write(label)
        return
    image = label if isinstance(label, Image.Image) else Image.fromarray(label)
    if palette is not None:
        image.putpalette([value for colour in palette for value in colour])
    with output_file(path, WRITER, '--overwrite') as file:
        image.save(file, format='PNG')


def need_scipy(sources: Iterable[Path]) -> None:
    """Leave with a sentence where a file is MATLAB's and what reads those is not there."""
    if importlib.util.find_spec('scipy') is None and any(p.suffix == '.mat' for p in sources):
        sys.exit('.mat files need SciPy: pip install scipy')


def convert(
    function: Callable[[Any], Label],
    jobs: Sequence[Job],
    title: str,
    workers: int | None = None,
    overwrite: bool = False,
    palette: Sequence[Sequence[int]] | None = None,
    lists: Sequence[Path] = (),
) -> Conversion:
    """Make every missing target; a source that fails is reported and the rest go on.

    Args:
        overwrite: make those again that are there, if this made them.
        lists: the split files that will be written afterwards, which are checked first.

    Raises:
        OutputError: a file that something else wrote would be written over.
    """
    check_outputs('split files', WRITER, lists)
    todo = [job for job in jobs if overwrite or not job[1].is_file()]
    check_outputs('--overwrite', WRITER, [target for _, target in todo])
    report = Conversion(kept=len(jobs) - len(todo))
    results = parallel(partial(_one, function, palette), todo, title, workers)
    for (source, target), result in zip(todo, results):
        if isinstance(result, Failure):
            name = source if isinstance(source, (str, Path)) else target
            report.failed.append((str(name), result.reason))
        else:
            report.written += 1
    return report


def _one(function: Callable[[Any], Label], palette: Sequence | None, job: Job) -> None:
    source, target = job
    save_label(function(source), target, palette)


def painted(
    picture: np.ndarray, values: Mapping[tuple[int, int, int], int], unknown: int
) -> np.ndarray:
    """(H, W, 3) RGB colours -> (H, W) uint8 of their values; a colour without one is unknown."""
    table = np.full(1 << 24, unknown, np.uint8)
    for (red, green, blue), value in values.items():
        table[red << 16 | green << 8 | blue] = value
    packed = picture[..., 0].astype(np.int32)
    for plane in (1, 2):
        packed <<= 8
        packed |= picture[..., plane]
    return table[packed]


def close(title: str, report: Conversion, what: str, *lines: str) -> int:
    """Say what came of a data set's conversion, and on which terms; the exit status."""
    print(report.text(what), *lines, f'Terms of {title}: {LICENCES[title]}.', sep='\n')
    return 1 if report.failed else 0


def read_names(path: Path) -> list[str]:
    """The stems of a list of VOC: the first word of each line."""
    if not path.is_file():
        raise FileNotFoundError(f'{path}: this list of images is needed and does not exist.')
    return [line.split()[0] for line in read_split(str(path))]
