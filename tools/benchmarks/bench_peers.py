"""segkit and the engines it can run on, beside mmsegmentation, on the same weights and pictures.

    python tools/benchmarks/bench_peers.py [--only PSPNet] [--repeats 5] [--csv]

Whatever is installed takes part; tools/benchmarks/peers.py says how to install the others without
a compiler. Every variant of a network takes turns with the others in one process. Outputs are
compared before anything is measured: classes of each pixel, or the losses of the first step. Rows
measured before stay in results/peers.csv until they are measured again.
"""

import argparse
import csv
import importlib.util
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import peers
import torch
from harness import RESULTS, interleaved, machine, markdown_table, peak_memory, write_csv

from segkit.apis import init_model
from segkit.apis.backends.settings import BackendError

SIZE = (512, 512)
PEER = 'mmsegmentation'
# What predicts: variant -> arguments of init_model; the first is what everything is measured by
# where mmsegmentation is not installed.
ENGINES: dict[str, dict[str, Any]] = {
    'segkit': {},
    'segkit, folded': dict(fuse_bn=True),
    'segkit, folded, channels last, bf16': dict(fuse_bn=True, channels_last=True, bf16=True),
    'compile': dict(backend='compile'),
    'onnxruntime': dict(backend='onnxruntime'),
    'onnxruntime, fixed sizes': dict(backend='onnxruntime', fixed_sizes=True),
    'openvino': dict(backend='openvino'),
    'openvino, bf16': dict(backend='openvino', precision='bf16'),
    'onnxruntime, int8': dict(backend='onnxruntime', precision='int8', calibration=2),
    'openvino, int8': dict(backend='openvino', precision='int8', calibration=2),
    'openvino, fixed sizes': dict(backend='openvino', fixed_sizes=True),
    'openvino, fixed sizes, bf16': dict(backend='openvino', fixed_sizes=True, precision='bf16'),
    'openvino, fixed sizes, int8': dict(
        backend='openvino', fixed_sizes=True, precision='int8', calibration=2
    ),
}
INFERENCE = ('PSPNet R-50', 'PSANet R-50', 'DANet R-50', 'ISANet R-50')
STEPS = {
    **dict.fromkeys(INFERENCE, (2, 256)),
    'PSPNet R-18': (2, 64),
    'SegFormer MiT-b0': (2, 64),
}
FOLDER = Path(tempfile.gettempdir()) / 'segkit-bench-peers'  # weights and exports, for a next time
TABLE = RESULTS / 'peers.csv'
NEEDED = {'compile': 'torch', 'onnxruntime': 'onnxruntime', 'openvino': 'openvino'}


def variants(training: bool) -> list[str]:
    """What is installed, the one that the others are compared with first."""
    found = ['segkit'] if training else [*ENGINES]
    there = [v for v in found if importlib.util.find_spec(NEEDED.get(v.split(',')[0], 'torch'))]
    others = [] if training else [f'{PEER}, bf16 autocast']
    return [PEER, *others, *there] if peers.mmseg_there() else there


def prepare(network: str, variant: str, task: str) -> peers.Step:
    """The call to measure; what ``peak_memory`` runs in a process of its own."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    if task == 'training step':
        count, side = STEPS[network]
        weights = peers.weights_of(network, FOLDER, (max(side, 128),) * 2)
        images = torch.randn(count, 3, side, side, generator=generator)
        model, module = _network(network, variant, weights)
        return peers.training(model, module, images)
    weights = peers.weights_of(network, FOLDER, SIZE)
    model, module = _network(network, variant, weights)
    image = torch.randn(1, 3, *SIZE, generator=generator)
    return peers.predicting(model, module, image, variant.endswith('autocast'))


def _network(network: str, variant: str, weights: Path) -> tuple[torch.nn.Module, str]:
    if variant.startswith(PEER):
        return peers.mmseg_network(network, weights), 'mmseg.structures'
    model = init_model(peers.config_of(network), weights, **ENGINES[variant])
    return model, 'segkit.structures'


def _prepared(network: str, names: list[str], task: str) -> Iterator[tuple[str, peers.Step]]:
    """The calls of those that there can be."""
    for name in names:
        try:
            yield name, prepare(network, name, task)
        except BackendError as error:  # an export that is not near enough, most often
            print(f'{network}, {task}, {name}: left out. {error}')


def agreement(expected: torch.Tensor, got: torch.Tensor, task: str) -> str:
    """How far a variant's answer is from that of the first."""
    if task == 'training step':
        return f'loss differs by {float(abs(expected - got) / abs(expected)):.1e}'
    differ = int((expected.long() != got.long()).sum())
    return f'{differ} of {expected.numel()} pixels differ'


def rows_of(network: str, task: str, args: argparse.Namespace) -> Iterator[dict]:
    wanted = (*args.variants, PEER)
    there = variants(task == 'training step')
    names = [v for v in there if not args.variants or any(part in v for part in wanted)]
    if args.missing:
        there_now = kept(TABLE).items()
        done = {v for (*case, v), row in there_now if case == [network, task] and _whole(row, args)}
        names = names[:1] + [v for v in names[1:] if v not in done]
    if len(names) < 2:
        return
    calls = dict(_prepared(network, names, task))
    names = list(calls)
    answers = {name: call() for name, call in calls.items()}
    seconds = interleaved(calls, args.repeats, warmup=0)
    base = names[0]
    count, side = STEPS[network] if task == 'training step' else (1, SIZE[0])
    case = dict(network=network, task=task)
    mib = {}
    for name in names if args.memory else ():
        mib[name] = peak_memory(__file__, 'prepare', variant=name, **case)
    for name in names[1:]:
        yield {
            **case,
            'input': f'{count}x3x{side}x{side}',
            'variant': name,
            'compared with': base,
            'times faster': f'{seconds[base] / seconds[name]:.2f}',
            'share of memory': f'{mib[name] / mib[base]:.2f}' if mib else '',
            'agreement': agreement(answers[base], answers[name], task),
            'CPU s': f'{seconds[name]:.3f}',
            'its CPU s': f'{seconds[base]:.3f}',
            'MiB': f'{mib[name]:.0f}' if mib else '',
            'its MiB': f'{mib[base]:.0f}' if mib else '',
            'versions': _versions(base, name),
            'machine': machine(),
        }


def _whole(row: dict[str, str], args: argparse.Namespace) -> bool:
    return bool(row['MiB']) or not args.memory


def _versions(*names: str) -> str:
    packages = {name.split(',')[0] for name in names} - {'segkit', 'compile'}
    return ', '.join(f'{package} {version(package)}' for package in sorted(packages))


def kept(path: Path) -> dict[tuple[str, str, str], dict]:
    """Rows that are there, by what they are of."""
    rows = csv.DictReader(path.read_text().splitlines()) if path.exists() else []
    return {(row['network'], row['task'], row['variant']): row for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', nargs='+', default=[], metavar='PART', help='of "NETWORK, TASK"')
    parser.add_argument('--variants', nargs='+', default=[], metavar='PART', help='of their names')
    parser.add_argument(
        '--missing',
        action='store_true',
        help='only rows that are not there yet, with --memory also those without',
    )
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--memory', action='store_true', help='also the peak of each, alone')
    parser.add_argument('--csv', action='store_true', help='put the rows into results/peers.csv')
    args = parser.parse_args()
    torch.set_num_threads(1)  # CPU time would count how others wait for it
    cases = [(n, 'inference') for n in INFERENCE] + [(n, 'training step') for n in STEPS]
    for network, task in cases:
        if args.only and not any(part in f'{network}, {task}' for part in args.only):
            continue
        rows = list(rows_of(network, task, args))
        if rows:
            print(markdown_table(rows))
        if rows and args.csv:
            new = {(row['network'], row['task'], row['variant']): row for row in rows}
            print(write_csv('peers', {**kept(TABLE), **new}.values()))


if __name__ == '__main__':
    main()
