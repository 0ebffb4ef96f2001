"""From a folder of pictures and labels to a trained network, in one call.

What is typed otherwise, one after the other, happens here in one process and by the same code: the
commands new_dataset, train, test and export. In the folder of the run are then

    data.py             what new_dataset understood of the pictures, and the network chosen for them
    config.py           the run: data.py with what was set besides; ``segkit train`` takes it
    best_mIoU_*.pth     checkpoints, logs, results.json: as of any run
    report.html         scores, confusion and pictures of the best checkpoint on the test pictures
    model.safetensors   the same weights with their classes and config: all that inference needs
"""

import contextlib
import difflib
import io
import os
import runpy
import secrets
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from torch import nn

from segkit.__main__ import tools
from segkit.command import command
from segkit.engine.command_line import parse_options
from segkit.engine.config import load_config
from segkit.engine.config_check import check_config
from segkit.engine.migration import own_settings
from segkit.engine.which_checkpoint import require_checkpoint
from segkit.errors import UserError
from segkit.inspection.new_config import write_config
from segkit.inspection.quoting import plain, shell_word
from segkit.inspection.recipe import find_network
from segkit.outputs import own_outputs
from segkit.storage import is_remote
from segkit.whole_file import write_text

_HEAD = '"""Written by segkit train --data."""\n\n_base_ = \'./data.py\'\n'
_SET_HERE = (
    'data', 'config', 'work_dir', 'network', 'cfg_options', 'local_rank', 'launcher', 'gpus',
    'resume', 'resume_from', 'auto_resume',
)  # fmt: skip


class Trained(NamedTuple):
    """What a call leaves: the config that ran, the best checkpoint, its scores in percent, the
    report, and the file for inference."""

    config: Path
    checkpoint: Path
    scores: dict[str, float]
    report: Path
    file: Path

    def load(self) -> nn.Module:
        """The model of ``file``, as ``init_model`` gives one."""
        from segkit.apis.export.safetensors_file import model_of

        return model_of(self.file)[0]


def train(
    data: str | os.PathLike,
    model: str | None = None,
    out: str | os.PathLike | None = None,
    *,
    options: Mapping[str, object] | None = None,
    **settings: object,
) -> Trained:
    """Train on a folder of pictures and labels, test the result, write a report and a file.

    Args:
        data: a folder as ``segkit new_dataset`` takes it. What it understands is printed.
        model: a name of ``available_models()``; by default a small network on a CPU.
        out: folder of the run, by default ``work_dirs/NAME OF DATA``.
        options: settings of the config by dotted names: ``{'model.decode_head.channels': 64}``.
        settings: options of ``segkit train --data`` by name, such as ``iters=2000``,
            ``batch_size=8``, ``crop=(512, 512)``, ``pretrained=True``, ``classes=['road', 'car']``,
            ``seed=0``, ``deterministic=True``, ``amp=True``.

    Returns:
        The files and the scores; ``segkit train`` with the config gives the same weights.

    Raises:
        UserError: an unknown name, a run in ``out``, or a folder that cannot be read as pairs.
    """
    tool = _tool('train')
    words = ['--data', os.fspath(data)]
    words += [] if model is None else ['--model', model]
    words += [] if out is None else ['--work-dir', os.fspath(out)]
    known = _settings(tool)
    for name, value in settings.items():
        words += _words(name, value, known)
    args = _parsed(tool, words)
    args.cfg_options = options or {}
    return tool['run'](args)


def write_run(args: Namespace, apply: Callable[[Namespace, Config], None]) -> str:
    """Write ``data.py`` and ``config.py`` into the work directory; the path of the second.

    Args:
        args: of tools/train.py with ``--data``. apply: writes what they say into a config.
    """
    args.folder, args.out = Path(args.data), None
    if args.work_dir and is_remote(args.work_dir):
        raise UserError(
            f'--work-dir {args.work_dir}: --data writes a config, report and file into a folder of '
            f'this machine. Write the config first, '
            f'`{command("new_dataset", shell_word(args.folder))}`, and train that into the store.'
        )
    if args.network:
        find_network(args.network, '--model')
    work_dir = Path(args.work_dir or Path('work_dirs') / (args.folder.resolve().name or 'data'))
    config, data = work_dir / 'config.py', work_dir / 'data.py'
    if os.path.lexists(config):
        raise UserError(
            f'{config}: is there already. Go on with it, '
            f'`{command("train", shell_word(config))} --resume`, or choose another --work-dir.'
        )
    if held := sorted(work_dir.glob('*.pth')):
        raise UserError(
            f'{held[0]}: is of another run, whose checkpoints would be taken for those of this '
            'one. Choose another --work-dir.'
        )
    if int(os.environ.get('WORLD_SIZE', '1')) > 1:
        raise UserError(
            '--data writes a config, which one process does. Write it first, '
            f'`{command("new_dataset", shell_word(args.folder))}`, then start several with that.'
        )
    if args.seed is None:
        args.seed = secrets.randbelow(2**31)
    with own_outputs('--work-dir', 'train', [data, config], []):
        for line in write_config(args, data, alone=False):
            print(line)
        base = load_config(data)
        given = args.cfg_options
        cfg = load_config(data, given if isinstance(given, Mapping) else parse_options(given))
        cfg.work_dir = str(work_dir)
        apply(args, cfg)
        check_config(cfg)
        own = Config(own_settings(base.to_dict(), cfg.to_dict())).pretty_text
        write_text(config, f'{_HEAD}{own}')
    print(plain(f'{config}: written, it runs now'))
    args.cfg_options, args.work_dir = [], None
    return str(config)


def is_of_folder(config: str, work_dir: str) -> bool:
    """Whether this is the config that ``train --data`` has written, the run was in its folder, and
    this process is alone."""
    path = Path(config)
    if int(os.environ.get('WORLD_SIZE', '1')) > 1 or not path.is_file():
        return False
    with open(path, encoding='utf-8', errors='replace') as file:
        written = file.read(len(_HEAD)) == _HEAD
    return written and os.path.isdir(work_dir) and os.path.samefile(path.parent, work_dir)


def finish(config: str) -> Trained:
    """Test the best checkpoint of a run with a report, and write the file for inference."""
    cfg = load_config(config)
    work_dir = Path(cfg.work_dir)
    checkpoint = Path(require_checkpoint(str(work_dir), cfg))
    report, file = work_dir / 'report.html', work_dir / 'model.safetensors'
    test = _tool('test')
    scores = test['build_runner'](
        test['parse_args']([config, str(checkpoint), '--report', str(report)])
    ).test()
    export = _tool('export')
    shape = [str(side) for side in cfg.crop_size]
    words = [config, str(checkpoint), '--format', 'safetensors', '--shape', *shape]
    export['export'](export['parse_args']([*words, '--out', str(file)]))
    return Trained(Path(config), checkpoint, scores, report, file)


def _tool(name: str) -> dict[str, Any]:
    """What the script of a command defines."""
    return runpy.run_path(str(tools()[name]), run_name=f'segkit_tool_{name}')


def _parsed(tool: Mapping[str, Any], words: list[str]) -> Namespace:
    """The arguments; what the parser says of wrong ones is a UserError's sentence."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tool['parse_args'](words)
    except SystemExit:
        sentence = said.getvalue().strip().rpartition('error: ')[2]
        raise UserError(f'train: {sentence}') from None


def _settings(tool: dict[str, object]) -> list[str]:
    """Names that ``settings`` may have."""
    parsed = vars(_parsed(tool, ['--data', '.']))
    return sorted(name for name in parsed if name not in _SET_HERE and name[0] != '_')


def _words(name: str, value: object, known: list[str]) -> list[str]:
    """A setting as it is typed."""
    if name not in known:
        near = difflib.get_close_matches(name, known)
        hint = f'Did you mean {" or ".join(near)}?' if near else f'Known: {", ".join(known)}.'
        raise UserError(
            f'train: there is no setting {name}. {hint} Settings of the config go into '
            "options={'a.b': value}."
        )
    option = '--' + name.replace('_', '-')
    if value is None or value is False:
        return []
    if value is True:
        return [option]
    if name in ('classes', 'ignore') and isinstance(value, (list, tuple)):
        return [option, ','.join(map(str, value))]
    several = value if isinstance(value, (list, tuple)) else [value]
    return [option, *map(str, several)]
