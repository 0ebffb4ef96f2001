"""What was measured with this code: one CSV line for each verification, never overwritten."""

import csv
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .catalog import read_texts

MEASURED = Path(__file__).with_name('measured.csv')


@dataclass(frozen=True)
class Measurement:
    """One test of one checkpoint. Percentages as text with two decimals, as the pages have them.

    verdict: 'agrees' within ``tolerance`` of ``published``, 'differs', or 'no published figure'.
    environment: processor, torch and library versions that the figure may depend on.
    """

    config: str
    checkpoint: str
    protocol: str  # 'single scale' or 'ms+flip'
    miou: str
    published: str
    tolerance: str
    verdict: str
    images: str
    date: str
    commit: str
    environment: str


def read_measurements(path: str | Path = MEASURED) -> list[Measurement]:
    """All measurements in the order they were made; none if there is no file."""
    if not os.path.isfile(path):
        return []
    return read_texts(path, Measurement)


def append(measurement: Measurement, path: str | Path = MEASURED) -> None:
    """Add a line, and the header to a new file."""
    new = not os.path.isfile(path) or os.path.getsize(path) == 0
    names = [field.name for field in fields(Measurement)]
    if not new:
        read_texts(path, Measurement)  # a line is not put under another table
    with open(path, 'a', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, names, lineterminator='\n')
        if new:
            writer.writeheader()
        writer.writerow(asdict(measurement))


def latest(measurements: Iterable[Measurement], config: str, protocol: str) -> Measurement | None:
    """The newest measurement of a config under a protocol."""
    fitting = [m for m in measurements if (m.config, m.protocol) == (config, protocol)]
    return fitting[-1] if fitting else None
