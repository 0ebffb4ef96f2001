"""model_zoo.md from the data: a section for each dataset and method, columns as published."""

from collections.abc import Sequence
from itertools import groupby

from segkit.datasets.metainfo import licence_of

from .catalog import ABSENT, Row
from .measured import Measurement, latest

PROTOCOLS = ('single scale', 'ms+flip')

HEAD = """\
# Model zoo

{count} models were published from 2020 on for {methods}.
Each is one config away, and its checkpoint loads as it was published. The columns up to
mIoU(ms+flip) are the published ones, with the memory of training and the speed of testing on the
hardware of that time; training used 4 GPUs, for SegFormer 8. *measured* is what this code gave for
the same checkpoint, a dash where nothing was measured yet; every measurement, with its tolerance,
commit and environment, is a line of [measured.csv](segkit/model_zoo/measured.csv).

The weights were published with mmsegmentation, which is under Apache 2.0; the data they were
trained on has terms of its own.

This page is generated from `segkit/model_zoo/*.csv` by `segkit model_zoo table`.

## Reproduce a row

```bash
segkit model_zoo download psanet_r50-d8_512x1024_40k_cityscapes
segkit model_zoo verify psanet_r50-d8_512x1024_40k_cityscapes --aug-test
torchrun --nproc_per_node 4 -m segkit train psanet_r50-d8_512x1024_40k_cityscapes --launcher pytorch
```

The first line fetches the checkpoint and checks its SHA-256, the second tests it on the data under
`data/` and compares with the published figures, the third trains it from scratch with the recipe.
`segkit model_zoo list --dataset ade20k --backbone r101` finds names.
"""

COLUMNS = (
    ('Method', '---'), ('Backbone', '---'), ('Crop Size', '---'), ('Lr schd', '---:'),
    ('Mem (GB)', '---:'), ('Inf time (fps)', '---:'), ('mIoU', '---:'), ('mIoU(ms+flip)', '---:'),
    ('mIoU measured', '---:'), ('mIoU(ms+flip) measured', '---:'),
    ('licence of the weights', '---'), ('config', '---'), ('download', '---'),
)  # fmt: skip


def zoo_page(rows: Sequence[Row], measurements: Sequence[Measurement]) -> str:
    """The whole page as Markdown."""
    *methods, last = dict.fromkeys(row.method for row in rows)
    parts = [HEAD.format(count=len(rows), methods=f'{", ".join(methods)} and {last}')]
    for dataset, of_dataset in groupby(_by_dataset(rows), key=lambda row: row.dataset):
        parts.append(f'## {dataset}\n')
        terms = licence_of(dataset)
        if terms:
            parts.append(f'Terms of the data: {terms}.\n')
        for method, of_method in groupby(of_dataset, key=lambda row: row.method):
            parts.append(f'### {method} on {dataset}\n')
            parts.append(_table(list(of_method), measurements))
    return '\n'.join(parts)


def _by_dataset(rows: Sequence[Row]) -> list[Row]:
    """Datasets and methods in the order of their first row; rows keep theirs."""
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    return sorted(rows, key=lambda row: (datasets.index(row.dataset), methods.index(row.method)))


def _table(rows: Sequence[Row], measurements: Sequence[Measurement]) -> str:
    lines = [[name for name, _ in COLUMNS], [rule for _, rule in COLUMNS]]
    lines += [_cells(row, measurements) for row in rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def _cells(row: Row, measurements: Sequence[Measurement]) -> list[str]:
    found = [latest(measurements, row.config, protocol) for protocol in PROTOCOLS]
    return [
        row.method, row.backbone, row.crop, row.schedule, row.mem_gb, row.fps, row.miou,
        row.miou_ms_flip, *(m.miou if m else ABSENT for m in found),
        row.licence, f'[config]({config_path(row)})', _downloads(row),
    ]  # fmt: skip


def config_path(row: Row) -> str:
    """The config's path from the root of the repository."""
    if '/' in row.config:
        return row.config
    return f'configs/{row.config.split("_")[0]}/{row.config}.py'


def _downloads(row: Row) -> str:
    # An HTML entity: a bare bar would end the table's cell.
    links = [('model', row.url), ('log', row.log)]
    return ' &#124; '.join(f'[{name}]({url})' for name, url in links if url != ABSENT) or ABSENT
