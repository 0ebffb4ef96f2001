"""The snapshots: what this release resolves, names, offers and computes, written down.

    python tests/contract/record.py              all of them
    python tests/contract/record.py configs      one: configs keys options bases numbers

``test_snapshots.py`` compares. A difference that is wanted gets a line in CHANGELOG.md, and then
its snapshot is recorded anew with this command and committed with the change. They were first
recorded at the tag v0.9.
"""

import argparse
import contextlib
import gzip
import io
import json
import runpy
import sys
from pathlib import Path
from unittest import mock

if __name__ == '__main__':
    sys.path[:0] = [str(Path(__file__).resolve().parents[level]) for level in (1, 2)]

import torch
from helpers import found
from mmengine.config import Config

from segkit.engine.config import load_config
from segkit.registry import MODELS
from segkit.weights import without_pretrained

FOLDER = Path(__file__).resolve().parent / 'snapshots'


def configs() -> dict[str, dict]:
    """Every shipped config, resolved, as JSON gives it back."""
    resolved = {name: load_config(path).to_dict() for name, path in found.configs().items()}
    return json.loads(json.dumps(resolved, default=str))


def keys() -> dict[str, dict[str, list[int]]]:
    """State-dict keys and shapes of every config's model; networks that are equal built once."""
    models: dict[str, dict[str, list[int]]] = {}
    answer = {}
    for name, path in found.configs().items():
        model = load_config(path).model.to_dict()
        parts = {k: v for k, v in model.items() if k not in ('test_cfg', 'train_cfg')}
        text = json.dumps(parts, default=str, sort_keys=True)
        if text not in models:
            with torch.device('meta'):
                built = MODELS.build(without_pretrained(model))
            models[text] = {k: list(v.shape) for k, v in built.state_dict().items()}
        answer[name] = models[text]
    return answer


def options() -> dict[str, dict]:
    """Arguments of every tool and of its subcommands: names, choices and positions."""
    return {name: _arguments(_parser_of(path)) for name, path in found.tools().items()}


class _Found(Exception):  # noqa: N818  (nothing is wrong)
    """Carries the parser out of the tool that has just made it."""


def _parser_of(path: Path) -> argparse.ArgumentParser:
    def stop(parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
        raise _Found(parser)

    with (
        mock.patch.object(argparse.ArgumentParser, 'parse_known_args', stop),
        mock.patch.object(sys, 'argv', [str(path), '--help']),
        mock.patch.object(sys, 'path', list(sys.path)),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        try:
            runpy.run_path(str(path), run_name='__main__')
        except _Found as caught:
            return caught.args[0]
    raise AssertionError(f'{path}: parses no arguments')


def _arguments(parser: argparse.ArgumentParser) -> dict:
    answer: dict = dict(options={}, positions=[], commands={})
    for action in parser._actions:
        choices = [str(choice) for choice in action.choices or ()]
        if isinstance(action, argparse._SubParsersAction):
            commands = {name: _arguments(sub) for name, sub in action.choices.items()}
            answer['commands'].update(commands)
        elif action.option_strings:
            answer['options'].update(dict.fromkeys(action.option_strings, choices))
        else:
            answer['positions'].append([action.dest, choices])
    return answer


def bases() -> dict[str, list[str]]:
    """Names that a config gets from each file under configs/_base_, those of its bases too."""
    return {name: sorted(Config.fromfile(path)) for name, path in found.bases().items()}


def numbers() -> dict[str, dict]:
    """Losses, gradients and predictions of each head on a small network."""
    from contract.networks import HEADS, predicted, trained

    return {head: dict(trained(head), predicted=predicted(head)) for head in HEADS}


SNAPSHOTS = dict(configs=configs, keys=keys, options=options, bases=bases, numbers=numbers)
# Lists that one reads lie as they are; long ones are packed.
READABLE = ('options', 'bases')


def path_of(name: str) -> Path:
    return FOLDER / f'{name}.json{"" if name in READABLE else ".gz"}'


def read(name: str) -> dict:
    content = path_of(name).read_bytes()
    return json.loads(content if name in READABLE else gzip.decompress(content))


def write(name: str, value: dict) -> None:
    """The same bytes for the same value."""
    FOLDER.mkdir(exist_ok=True)
    if name in READABLE:
        path_of(name).write_text(json.dumps(value, indent=1, sort_keys=True) + '\n')
        return
    text = json.dumps(value, sort_keys=True, separators=(',', ':'))
    with open(path_of(name), 'wb') as raw, gzip.GzipFile('', 'wb', 9, raw, mtime=0) as file:
        file.write(text.encode())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('names', nargs='*', choices=[*SNAPSHOTS, []], help='all when not given')
    torch.set_num_threads(1)
    for name in parser.parse_args().names or SNAPSHOTS:
        write(name, SNAPSHOTS[name]())
        print(f'{path_of(name)}: {path_of(name).stat().st_size} bytes')


if __name__ == '__main__':
    main()
