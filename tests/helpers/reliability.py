"""docs/reliability.md from docs/reliability.csv, which ``make soak`` writes."""

import csv
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / 'docs'
CSV = DOCS / 'reliability.csv'
PAGE = DOCS / 'reliability.md'
CONFIGS = DOCS / 'reliability_configs.csv'
COLUMNS = ('fault', 'trials', 'recovered', 'what the run does')

_HEAD = """# What happens when something breaks

Every row below was measured by `make soak` (`tests/faults/`) or, on a real Slurm of two nodes, by
`make cluster-test` (`tests/faults/cluster/`): a real training run is disturbed, started again with
`--resume`, and its final weights, optimizer state, best scores and logged
losses are compared bit for bit with those of a run that nothing happened to. *Recovered* counts
the trials in which they were equal, or, where a run must end with an error, in which it ended
with the right one.

"""
_TAIL = """
## How it is done

- **Place in the data.** The sampler computes the sample at any position from the seed; each
  sample carries the seed of its own augmentation. Resuming sets the position and reads nothing
  again (`segkit/datasets/samplers.py`, `segkit/engine/data_order.py`).
- **Randomness.** Before each iteration the generators are seeded from (seed, rank, iteration),
  so there is no generator state to save (`segkit/engine/data_order.py`).
- **Files.** A checkpoint is written under another name, flushed and renamed; an old one goes
  only after the new one is safe. Checksums are verified before resuming
  (`segkit/whole_file.py`, `segkit/engine/checkpoints.py`).
- **Signals.** SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU and SIGHUP (unless under `nohup`) let the
  iteration end, save, and exit with status 75, on all
  ranks at the same iteration; in a validation, between two batches; while starting, at once
  (`segkit/engine/stops.py`). Data workers ignore a signal that was meant for the job.

Tested on CPU, in one process and in two over gloo. NCCL and CUDA use the same code but were not
part of these runs.
"""


_CONFIGS = """
## What a wrong value in a config does

`make soak` replaces one value at a time of a small config, drawn from every leaf, by another:
numbers, nan, text, lists, dicts, None (`tests/faults/test_config_values.py`). Then it trains one
step and validates.

| outcome | changes | share |
| --- | ---: | ---: |
"""
_SAID = {
    'runs': 'runs',
    'named': 'one sentence with the dotted key and the value',
    'unnamed': 'one sentence without one of the two',
    'traceback': 'an error nobody foresaw, with its traceback',
}


def _configs() -> str:
    """The table of config values; empty if there is none yet."""
    if not CONFIGS.exists():
        return ''
    with open(CONFIGS, newline='') as file:
        counts = {kind: int(count) for kind, count in list(csv.reader(file))[1:]}
    total = sum(counts.values())
    lines = [f'| {_SAID[k]} | {n} | {100 * n / total:.1f} % |' for k, n in counts.items()]
    return _CONFIGS + '\n'.join([*lines, f'| all | {total} | 100 % |']) + '\n'


def rows() -> list[list[str]]:
    """The table as it is, without its head; empty if there is none yet."""
    if not CSV.exists():
        return []
    with open(CSV, newline='') as file:
        return list(csv.reader(file))[1:]


def page() -> str:
    """The page as it must be, from the table as it is."""
    lines = ['| ' + ' | '.join(cells) + ' |' for cells in [COLUMNS, *rows()]]
    lines.insert(1, '| --- | ---: | ---: | --- |')
    return _HEAD + '\n'.join(lines) + '\n' + _configs() + _TAIL
