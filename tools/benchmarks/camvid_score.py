"""mIoU of folders of predicted classes against the labels of CamVid; knows no toolbox.

    python tools/benchmarks/camvid_score.py --data CamVid --split test A B [--csv scores.csv]

A/test has a PNG of class indices for each label, of its size. One int64 matrix a run, over all
pixels that are not void. DATA is SegNet's release (test, testannot), or has images/test and
labels/test.
"""

import argparse
import csv
import statistics
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 11  # 11 itself is void


def places(data: Path, split: str) -> tuple[str, str]:
    """Folders of the pictures and of the labels of a split, below ``data``."""
    images, labels = f'images/{split}', f'labels/{split}'
    return (images, labels) if (data / images).is_dir() else (split, f'{split}annot')


def confusion(labels: Path, predictions: Path) -> tuple[np.ndarray, int]:
    """Pixels by (label, prediction), (K, K) int64, and of how many pictures."""
    matrix = np.zeros((CLASSES, CLASSES), np.int64)
    paths = sorted(labels.glob('*.png'))
    for path in paths:
        truth = np.asarray(Image.open(path)).astype(np.int64)
        found = np.asarray(Image.open(predictions / path.name)).astype(np.int64)
        if truth.shape != found.shape:
            raise SystemExit(f'{predictions / path.name}: {found.shape}, its label {truth.shape}')
        counted = truth < CLASSES
        pairs = truth[counted] * CLASSES + found[counted]
        matrix += np.bincount(pairs, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    return matrix, len(paths)


def scores(run: Path, data: Path, split: str) -> dict[str, object]:
    """One row: percentages over all pixels of the split, and what a step of the run cost."""
    matrix, pictures = confusion(data / places(data, split)[1], run / split)
    right = matrix.diagonal()
    iou = 100 * right / (matrix.sum(0) + matrix.sum(1) - right)
    with (run / 'steps.csv').open() as file:
        spent = [float(row['cpu_seconds']) for row in csv.DictReader(file)]
    return {
        'run': run.name,
        'split': split,
        'pictures': pictures,
        'mIoU': f'{iou.mean():.2f}',
        'aAcc': f'{100 * right.sum() / matrix.sum():.2f}',
        'steps': len(spent),
        'CPU s a step': f'{statistics.median(spent):.3f}',
        **{f'IoU {name}': f'{value:.2f}' for name, value in enumerate(iou)},
    }


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--split', choices=('val', 'test'), default='val')
    parser.add_argument('--csv', type=Path, help='keep the rows there')
    parser.add_argument('runs', type=Path, nargs='+')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    rows = [scores(run, args.data, args.split) for run in args.runs]
    for row in rows:
        print(', '.join(f'{key} {value}' for key, value in row.items()))
    if args.csv:
        with args.csv.open('w', newline='') as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator='\n')
            writer.writeheader()
            writer.writerows(rows)


if __name__ == '__main__':
    main()
