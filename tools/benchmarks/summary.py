"""The speed tables of the README and of docs/speed.md, from the committed results.

python tools/benchmarks/summary.py

A page has the whole table or the short one between marks; a test fails when one is stale.
"""

import csv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / 'results'
PAGES = {ROOT / 'README.md': '', ROOT / 'docs/speed.md': '../'}  # page -> the way to the root
WHOLE = '<!-- speed table: tools/benchmarks/summary.py writes it -->'
SHORT = '<!-- speed in six rows: tools/benchmarks/summary.py writes it -->'
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


# What the short table shows of them.
CHOSEN = (
    'PSA head, training step', 'PSP head, inference', 'loss with its gradient', 'sliding window',
    'the same, folded, bf16', 'training data, ADE20K-like',
)  # fmt: skip


def table(root: str = '', chosen: tuple[str, ...] = ()) -> str:
    """Markdown, one line of ROWS each, or of those with the ``chosen`` names."""
    lines = ['| | times faster | share of the memory |', '| --- | ---: | ---: |']
    for what, name, words, speed, memory in ROWS:
        if chosen and what not in chosen:
            continue
        what = what.replace('the same, folded, bf16', 'inference, folded, bf16') if chosen else what
        rows = _rows(name, words.split('|'))
        cells = [_worst(rows, speed, min), _worst(rows, memory, max)]
        lines.append(
            f'| [{what}]({root}tools/benchmarks/results/{name}.csv) | {" | ".join(cells)} |'
        )
    return '\n'.join(lines)


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
    for mark, chosen in ((WHOLE, ()), (SHORT, CHOSEN)):
        if mark in page:
            before, rest = page.split(mark)
            after = rest.split(END, 1)[1]
            page = f'{before}{mark}\n{table(root, chosen)}\n{END}{after}'
    return page


if __name__ == '__main__':
    for page, root in PAGES.items():
        page.write_text(with_table(page.read_text(), root))
