#!/usr/bin/env python
"""The confusion matrix of predictions that a test wrote: picture, CSV, and the worst mix-ups.

python tools/test.py CONFIG CHECKPOINT --out predictions.pkl       (or --out FOLDER)
python tools/confusion_matrix.py CONFIG predictions.pkl --out-dir confusion
"""

import argparse
from pathlib import Path

from segkit.engine.command_line import parse_options, run_script, tool_parser
from segkit.outputs import own_outputs


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, config=True)
    parser.add_argument('predictions', help='what --out named: a .pkl file or a folder')
    parser.add_argument('save_dir', nargs='?', help=argparse.SUPPRESS)  # mmsegmentation's --out-dir
    parser.add_argument('--out-dir', default='confusion', help='default: %(default)s')
    ignored = 'the label that does not count; default: that of test_evaluator, or else 255'
    parser.add_argument('--ignore-index', type=int, help=ignored)
    parser.add_argument('--title', default='')
    args = parser.parse_args()
    args.out_dir = args.save_dir or args.out_dir
    return args


def main() -> None:
    args = parse_args()
    files = [Path(args.out_dir) / name for name in ('confusion.png', 'confusion.csv')]
    with own_outputs('--out-dir', 'confusion_matrix', files, [args.config, args.predictions]):
        confusion_matrix(args)


def confusion_matrix(args: argparse.Namespace) -> None:
    from segkit.engine.config import load_config
    from segkit.evaluation.scores import row_shares, worst_confusions
    from segkit.evaluation.tables import format_table, write_table
    from segkit.registry import DATASETS
    from segkit.shared_text import cell
    from segkit.visualization import charts

    cfg = load_config(args.config, parse_options(args.cfg_options))
    if args.ignore_index is None:
        args.ignore_index = ignored_label(cfg)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    matrix, classes = count(dataset, args), dataset.metainfo['classes']
    folder = Path(args.out_dir)
    chart = charts.confusion(row_shares(matrix), classes, args.title)
    charts.save(chart, folder / 'confusion.png')
    names = [cell(name) for name in classes]
    rows = [[name, *row] for name, row in zip(names, matrix.tolist())]
    write_table(folder / 'confusion.csv', [['label \\ prediction', *names], *rows])
    mixed = worst_confusions(matrix, classes)
    print(format_table(['Label', 'Predicted', '% of label', 'Pixels'], mixed, texts=2))
    print(f'{folder}/confusion.png, {folder}/confusion.csv')


def ignored_label(cfg) -> int:
    """What the metric of the config does not count."""
    metrics = cfg.get('test_evaluator') or []
    metrics = metrics if isinstance(metrics, (list, tuple)) else [metrics]
    return next((m['ignore_index'] for m in metrics if 'ignore_index' in m), 255)


def count(dataset, args: argparse.Namespace):
    """(K, K) int64 counts over the data set."""
    import numpy as np
    import torch

    from segkit.datasets.paths import image_root
    from segkit.evaluation.confusion import confusion_matrix as matrix_of
    from segkit.evaluation.predictions import Predictions

    classes = dataset.metainfo['classes']
    label_ids = dataset.metainfo.get('label_ids')
    predictions = Predictions(
        args.predictions, classes, len(dataset), label_ids, image_root(dataset)
    )
    total = torch.zeros(len(classes), len(classes), dtype=torch.int64)
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        name = str(sample.get('img_path'))
        pred = predictions.of(i, name, bool(sample.get('reduce_zero_label', False)))
        label = sample.gt_sem_seg.data
        pred = torch.from_numpy(np.ascontiguousarray(pred))
        total += matrix_of(label, pred, len(classes), args.ignore_index, sample=sample)
    return total.numpy()


if __name__ == '__main__':
    run_script(main)
