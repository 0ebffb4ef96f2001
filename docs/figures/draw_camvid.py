"""The learning curves of docs/camvid.md.

python docs/figures/draw_camvid.py runs/*     from steps.csv of each run, kept as means of 25 steps
python docs/figures/draw_camvid.py            from what was kept
"""

import csv
import sys
from pathlib import Path

import numpy as np

from segkit.visualization import charts

HERE = Path(__file__).resolve().parent
KEPT = HERE.parents[1] / 'tools/benchmarks/results/camvid_loss.csv'
MEAN = 25


def keep(runs: list[Path]) -> None:
    losses = {}
    for run in runs:
        with (run / 'steps.csv').open() as file:
            values = [float(row['loss']) for row in csv.DictReader(file)]
        losses[run.name] = np.reshape(values, (-1, MEAN)).mean(1)
    with KEPT.open('w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['step', *losses])
        for i, row in enumerate(zip(*losses.values(), strict=True), 1):
            writer.writerow([i * MEAN, *(f'{value:.4f}' for value in row)])


def main(runs: list[Path]) -> None:
    if runs:
        keep(runs)
    with KEPT.open() as file:
        rows = list(csv.DictReader(file))
    steps = [float(row.pop('step')) for row in rows]
    lines = {name: (steps, [float(row[name]) for row in rows]) for name in rows[0]}
    title = f'training loss, means of {MEAN} steps'
    charts.save(charts.curves({title: lines}), HERE / 'camvid_loss.svg')


if __name__ == '__main__':
    main([Path(run) for run in sys.argv[1:]])
