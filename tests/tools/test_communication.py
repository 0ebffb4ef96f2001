"""The scaling table of docs/clusters.md is what tools/benchmarks/communication.py computes."""

import csv
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def script() -> dict:
    return runpy.run_path(str(ROOT / 'tools' / 'benchmarks' / 'communication.py'))


@pytest.fixture(scope='module')
def rows(script) -> list[dict]:
    with open(script['RESULTS'], newline='') as file:
        return list(csv.DictReader(file))


def test_the_page_holds_the_table(script, rows):
    assert script['table'](rows) in (ROOT / 'docs' / 'clusters.md').read_text()


def test_times_follow_from_the_counts(script, rows):
    for row in rows:
        counts = {k: int(row[k]) for k in ('parameters', 'flops', 'sync_bn_layers')}
        again = script['with_times'](counts)
        assert all(float(row[k]) == v for k, v in again.items())


def test_the_ring_sends_everything_once_and_brings_it_back_once(script):
    row = dict(parameters=250_000_000, flops=0, sync_bn_layers=0)
    assert script['step'](row, 2, 1e9)[1] == pytest.approx(1.0)
    assert script['step'](row, 10**9, 1e9)[1] == pytest.approx(2.0)
