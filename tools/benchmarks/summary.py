"""The speed tables of the README, docs/speed.md and docs/cuda_extension.md, from the results.

python tools/benchmarks/summary.py

A page has a table between marks; a test fails when one is stale. Rows of a GPU come from
results/gpu.csv, which `make gpu` writes to its output folder.
"""

import csv
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / 'results'
# page -> the way to the root
PAGES = {
    ROOT / 'README.md': '',
    ROOT / 'docs/speed.md': '../',
    ROOT / 'docs/cuda_extension.md': '../',
}
WHOLE = '<!-- speed table: tools/benchmarks/summary.py writes it -->'
GPU = '<!-- gpu table: tools/benchmarks/summary.py writes it -->'
PEERS = '<!-- speed beside mmsegmentation: tools/benchmarks/summary.py writes it -->'
BEST = '<!-- speed beside mmsegmentation, in short: tools/benchmarks/summary.py writes it -->'
ENGINES = '<!-- engines on a trained network: tools/benchmarks/summary.py writes it -->'
END = '<!-- end -->'

# What, file, the text its rows contain, column of the speed ratio, column of the memory ratio.
# Ratios below 1 in a speed column are times, and are turned over. Worst row of several.
ROWS = [
    ('PSA attention, forward', 'psa_attention_time_cpu_float32', '', 'fwd speed-up', ''),
    ('PSA attention, training', 'psa_attention_time_cpu_float32', '', 'f+b kept speed-up', ''),
    ('PSA attention, forward', 'psa_attention_memory_cpu_float32', '', '', 'fwd share'),
    ('PSA head, inference', 'heads_cpu_float32', 'PSAHead|inference', 'speed-up', ''),
    ('PSA head, training step', 'heads_cpu_float32', 'PSAHead|backward', 'speed-up', ''),
    ('PSP head, inference', 'heads_cpu_float32', 'PSPHead|inference', 'speed-up', ''),
    ('PSP head, training step', 'heads_cpu_float32', 'PSPHead|backward', 'speed-up', ''),
    ('position attention 97x97', 'pam_cpu_float32', '97x97|,forward,', 'speed-up', 'memory ratio'),
    ('loss with its gradient', 'loss_cpu', 'yes', 'time ratio', 'memory ratio'),
    ('training step, PSPNet R-50', 'train_step_cpu', '', 'speed-up', 'memory ratio'),
    ('inference, PSPNet R-50', 'inference', '512 x 512|default', 'times faster', 'share of memory'),
    ('the same, folded, bf16', 'inference', '512 x 512|bf16', 'times faster', 'share of memory'),
    ('logits to classes', 'inference', 'classes 1', 'times faster', 'share of memory'),
    ('sliding window', 'inference', 'sliding', 'times faster', 'share of memory'),
    ('ms+flip merge', 'inference', 'ms+flip|default', 'times faster', 'share of memory'),
    ('ms+flip loading', 'data_views', '', 'times_faster', ''),
    ('confusion matrix', 'metric_cpu', 'uint8', 'speed ratio', ''),
    ('a program up to its network', 'start', 'init_model', 'speed-up', ''),
    ('`tools/test.py` up to its first image', 'start', 'test run', 'speed-up', ''),
    ('training data, ADE20K-like', 'data_pipelines', 'ADE20K-like,', 'times_faster', ''),
    ('training data, Cityscapes-like', 'data_pipelines', 'stock decoder', 'times_faster', ''),
    ('the same from a raw cache', 'data_pipelines', 'raw cache|True', 'times_faster', ''),
]

# The same of gpu.csv: what, pattern of 'part: case'. Each network has rows of its own beside them.
GPU_ROWS = [
    ('mask kernels', 'operations: mask '),
    ('PSA attention, forward, bf16', 'operations: inference, attention'),
    ('PSA attention, training, bf16', 'operations: training, attention'),
    ('PSA head, inference, bf16', 'operations: inference PSAHead'),
    ('PSA head, training step, bf16', 'operations: training step PSAHead'),
    ('PSP head, inference, bf16', 'operations: inference PSPHead'),
    ('PSP head, training step, bf16', 'operations: training step PSPHead'),
    ('position attention, bf16', r'operations: \w+ position attention'),
    ('loss with its gradient', 'operations: loss and gradient'),
]


def table(root: str = '') -> str:
    """Markdown, one line of ROWS each, and what a GPU has said."""
    lines = ['| | times faster | share of the memory |', '| --- | ---: | ---: |']
    for what, name, words, speed, memory in ROWS:
        rows = _rows(name, words.split('|'))
        cells = [_worst(rows, speed, min), _worst(rows, memory, max)]
        lines.append(
            f'| [{what}]({root}tools/benchmarks/results/{name}.csv) | {" | ".join(cells)} |'
        )
    for what, rows in _gpu_rows().items():
        where = f'[{what}, {rows[0]["machine"]}]({root}tools/benchmarks/results/gpu.csv)'
        lines.append(f'| {where} | {_least(rows, "ratio")} | {_most_memory(rows)} |')
    return '\n'.join(lines)


PEER = 'mmsegmentation'
# What the short table of peers has a row for: task, ending of the variants, what it is called.
KINDS = [
    ('inference', '', 'inference, same classes'),
    ('inference', 'bf16', 'inference, bf16'),
    ('inference', 'int8', 'inference, int8'),
    ('training step', '', 'training step'),
]


def _beside(task: str) -> list[dict[str, str]]:
    """Rows of peers.csv of a task that are compared with mmsegmentation."""
    path = RESULTS / 'peers.csv'
    found = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    return [row for row in found if row['compared with'] == PEER and row['task'] == task]


def peers_table(root: str = '') -> str:
    """Markdown: a line a variant and task, a column a network."""
    lines = []
    for task in ('inference', 'training step'):
        rows = _beside(task)
        networks = list(dict.fromkeys(row['network'] for row in rows))
        if not rows:
            continue
        link = f'[{task}]({root}tools/benchmarks/results/peers.csv)'
        lines += [f'| {link} | {" | ".join(networks)} |', '| --- |' + ' ---: |' * len(networks)]
        for variant in dict.fromkeys(row['variant'] for row in rows):
            by_network = {r['network']: r['times faster'] for r in rows if r['variant'] == variant}
            cells = [by_network.get(network, '') for network in networks]
            lines.append(f'| {variant} | {" | ".join(cells)} |')
        lines.append('')
    return '\n'.join(lines).strip() or 'Nothing has been measured yet.'


def best_table(root: str = '') -> str:
    """Markdown: the best of each kind, from the network that gains least to the one that gains
    most."""
    lines = ['| | compared with | times faster |', '| --- | --- | ---: |']
    versions = [re.search(rf'{PEER} [\d.]+', row['versions']) for row in _beside('training step')]
    peer = versions[0][0] if versions and versions[0] else PEER
    for task, ending, what in KINDS:
        best: dict[str, float] = {}
        for row in _beside(task):
            inexact = row['variant'].endswith(('bf16', 'int8', 'autocast'))
            if row['variant'].endswith(ending) if ending else not inexact:
                best[row['network']] = max(
                    best.get(row['network'], 0.0), float(row['times faster'])
                )
        if not best:
            continue
        least, most = min(best, key=best.__getitem__), max(best, key=best.__getitem__)
        span = f'{best[least]:.2f} ({least}) to {best[most]:.2f} ({most})'
        if least == most:
            span = f'{best[least]:.2f} ({least})'
        link = f'[{what}]({root}tools/benchmarks/results/peers.csv)'
        lines.append(f'| {link} | {peer}, float32 | {span} |')
    return '\n'.join(lines)


def engines_table() -> str:
    """Markdown of what each engine and precision does to a trained network."""
    rows, heading = [], ''
    for name in ('engines_camvid', 'engines_camvid_exact'):
        path = RESULTS / f'{name}.csv'
        found = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
        rows += [row for row in found if row['times faster'] != '1.00']
        heading = f'{found[0]["network"]}; {found[0]["machine"]}.\n' if found else heading
    if not rows:
        return 'Nothing has been measured yet.'
    columns = ('pictures', 'times faster', 'mIoU', 'mIoU lost', 'of a million', 'largest margin')
    heads = (
        'pictures | times faster | mIoU | lost | pixels of a million that change | largest margin'
    )
    lines = [heading, f'| engine, precision | {heads} |', '| --- |' + ' ---: |' * len(columns)]
    for row in rows:
        cells = ' | '.join(row[column] for column in columns)
        lines.append(f'| {row["engine"]}, {row["precision"]} | {cells} |')
    return '\n'.join(lines)


def gpu_table() -> str:
    """Markdown of what `make gpu` found, the machine first."""
    path = RESULTS / 'gpu.csv'
    if not path.exists():
        return 'Nothing has run on a GPU yet, so there are no rows.'
    found = list(csv.DictReader(path.read_text().splitlines()))
    counts = Counter(row['result'] for row in found)
    lines = [
        f'Measured on {found[0]["machine"]}; '
        + ', '.join(f'{count} rows {result}' for result, count in counts.items()) + '.\n',
        '| worst of its rows | times faster | share of the memory | of a copy | images a second |',
        '| --- | ---: | ---: | ---: | ---: |',
    ]  # fmt: skip
    for what, rows in _gpu_rows().items():
        speeds = sorted(float(row['fps']) for row in rows if row['fps'])
        fps = f'{speeds[0]:.1f} to {speeds[-1]:.1f}' if speeds else ''
        cells = _least(rows, 'ratio'), _most_memory(rows), _least(rows, 'of_copy'), fps
        lines.append(f'| {what} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _gpu_rows() -> dict[str, list[dict[str, str]]]:
    """What -> its rows of gpu.csv with a ratio; empty where there is no such file."""
    path = RESULTS / 'gpu.csv'
    found = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    timed = {f'{row["part"]}: {row["case"]}': row for row in found if row['ratio']}
    networks = [re.match(r'networks: (\w+) (inference|training step) ', case) for case in timed]
    kinds = [(f'{name[1]}, {name[2]}', name[0]) for name in networks if name]
    patterns = dict([*GPU_ROWS, *kinds])
    chosen = {
        what: [row for case, row in timed.items() if re.match(pattern, case)]
        for what, pattern in patterns.items()
    }
    return {what: rows for what, rows in chosen.items() if rows}


def _least(rows: list[dict[str, str]], column: str) -> str:
    values = [float(row[column]) for row in rows if row[column]]
    return f'{min(values):.2f}' if values else ''


def _most_memory(rows: list[dict[str, str]]) -> str:
    shares = [float(r['mib']) / float(r['other_form_mib']) for r in rows if r['other_form_mib']]
    return f'{max(shares):.2f}' if shares else ''


def _rows(name: str, words: list[str]) -> list[dict[str, str]]:
    text = (RESULTS / f'{name}.csv').read_text().splitlines()
    chosen = [line for line in text[1:] if all(word in line for word in words)]
    if not chosen:
        raise ValueError(f'{name}.csv has no row with {" and ".join(words)}.')
    return list(csv.DictReader([text[0], *chosen]))


def _worst(rows: list[dict[str, str]], column: str, worst) -> str:
    if not column:
        return ''
    values = [float(row[column]) for row in rows]
    if column == 'time ratio':
        values = [1 / value for value in values]
    return f'{worst(values):.2f}'


def with_table(page: str, root: str = '') -> str:
    """``page`` with the text between the marks replaced."""
    tables = {WHOLE: table(root), GPU: gpu_table()}
    tables |= {PEERS: peers_table(root), BEST: best_table(root), ENGINES: engines_table()}
    for mark, text in tables.items():
        if mark in page:
            before, rest = page.split(mark)
            after = rest.split(END, 1)[1]
            page = f'{before}{mark}\n{text}\n{END}{after}'
    return page


if __name__ == '__main__':
    for page, root in PAGES.items():
        page.write_text(with_table(page.read_text(), root))
