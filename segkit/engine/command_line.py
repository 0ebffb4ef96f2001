"""The command line: arguments that several commands take, said once so that they mean the same
everywhere; from them to a config that a Runner can run; and how a command ends.

Nothing heavy is imported by this module: the scripts answer ``--help`` before torch is loaded.
"""

import argparse
import ast
import errno
import gc
import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.command import command, program, worded
from segkit.console import told_streams
from segkit.engine import stops
from segkit.engine.errors import lost_contact

if TYPE_CHECKING:
    from mmengine.config import Config

# What the system says about a path it was given; the path is in the message.
_FILE_ERRORS = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
# What it says about a disk, and what to do.
_OF_THE_DISK = {
    errno.ENOSPC: 'Make room on the disk, or write to another; what was there before is as it was',
    errno.EDQUOT: 'Make room, or write to a disk on which more may be yours',
    errno.EROFS: 'Write to another place: nothing can be written there',
    errno.ENAMETOOLONG: 'Choose a shorter name',
    errno.ELOOP: 'Its links lead in a circle',
}
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
CFG_OPTIONS: dict[str, Any] = dict(
    nargs='+',
    default=[],
    metavar='KEY=VALUE',
    help='change settings: model.decode_head.channels=256 data_root=/data/ade20k a.b=[1,2]',
)
SHARED: dict[str, dict[str, object]] = {
    'config': dict(help='a config file, or the name of a shipped one'),
    'checkpoint': dict(help='a file, a work directory, a URL, or an exported .onnx'),
    '--cfg-options': CFG_OPTIONS,
    '--work-dir': dict(help='where to write (default: work_dirs/NAME OF CONFIG)'),
    '--device': dict(default='cpu', help='cpu, cuda, cuda:1, ... (default: cpu)'),
    '--batch-size': dict(type=int, default=1, help='images at a time (default: 1)'),
    '--fuse-bn': dict(action='store_true', help='fold batch norms (same classes, faster)'),
    '--channels-last': dict(action='store_true', help='memory layout (same classes)'),
    '--bf16': dict(action='store_true', help='bfloat16 autocast (faster, not exact)'),
    '--unknown-below': dict(
        type=float,
        metavar='P',
        help='pixels whose class has a lower probability become 255, unknown',
    ),
    '--opacity': dict(
        type=float, default=0.5, help='of the colours over the picture (default: %(default)s)'
    ),
    '--shape': dict(
        type=int, nargs=2, default=(512, 512), metavar=('H', 'W'), help='default: 512 512'
    ),
    '--launcher': dict(
        choices=LAUNCHERS,
        default='none',
        help='how the processes are started; torchrun is recognised without it',
    ),
    '--resume': dict(action='store_true', help='go on where it was stopped'),
    '--workers': dict(type=int, help='processes (default: one a core)'),
}


# -- arguments -------------------------------------------------------------------------------------


def add_shared(parser: Any, *names: str, **changes: object) -> None:
    """Add arguments of ``SHARED`` to a parser or a group of one; ``changes`` to each of them."""
    for name in names:
        settings = {**SHARED[name], **changes}
        parser.add_argument(name, **settings)


def tool_parser(
    doc: str | None, config: bool = False, overwrite: str = ''
) -> argparse.ArgumentParser:
    """A parser that prints ``doc``, with commands as the user calls them.

    ``config``: with a config and --cfg-options; ``overwrite``: with the --workers and --overwrite
    of a converter, and the help of the latter.
    """
    parser = argparse.ArgumentParser(
        prog=program(),
        description=worded(doc or ''),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if config:
        add_shared(parser, 'config', '--cfg-options')
    if overwrite:
        add_shared(parser, '--workers')
        parser.add_argument('--overwrite', action='store_true', help=overwrite)
    return parser


def add_common_arguments(parser: argparse.ArgumentParser, config: str | None = None) -> None:
    """The arguments that training and testing share, both generations' names; ``config``: '?' where
    another argument may stand for it."""
    add_shared(parser, 'config', nargs=config)
    add_shared(parser, '--work-dir')
    parser.add_argument('--cfg-options', '--options', dest='cfg_options', **CFG_OPTIONS)
    add_shared(parser, '--launcher')
    # torch.distributed.launch passes it; torchrun sets the variable instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)


class _Noted(argparse.Action):
    """Hands an option on by the environment: to the reader of weights, and to ranks and children.

    ``const`` is the name of the variable.
    """

    def __call__(
        self, parser: argparse.ArgumentParser, args: object, values: Any, option: str | None = None
    ) -> None:
        os.environ[str(self.const)] = ' '.join(values) if values else '1'
        if any('=' not in value for value in values or ()):
            parser.error(f'{option} {" ".join(values)}: write OLD=NEW, e.g. model_ema.=')


def add_weights_arguments(parser: argparse.ArgumentParser, renaming: bool = True) -> None:
    """How a checkpoint is read; ``segkit.weights`` looks these up where it reads."""
    parser.add_argument(
        '--no-verify',
        action=_Noted,
        nargs=0,
        const='SEGKIT_NO_VERIFY',
        help='do not check that the checkpoint is whole (about 1 s for a GiB)',
    )
    if renaming:
        parser.add_argument(
            '--key-map',
            action=_Noted,
            nargs='+',
            const='SEGKIT_KEY_MAP',
            metavar='OLD=NEW',
            help='take the weights whose names begin with OLD, under NEW: model_ema.=',
        )


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """What runs the network; ``engine_options`` gives them as arguments of ``init_model``."""
    add = parser.add_argument_group('what runs the network').add_argument
    add(
        '--backend',
        choices=('torch', 'compile', 'onnxruntime', 'openvino'),
        help='default: torch, and onnxruntime for an .onnx file',
    )
    add(
        '--precision',
        choices=('fp32', 'bf16', 'int8'),
        default='fp32',
        help='fp32 is exact; bf16 not for onnxruntime; int8 for onnxruntime and openvino',
    )
    add('--fixed-sizes', action='store_true', help='make the network for each size of its input')
    add(
        '--calibration',
        type=int,
        default=32,
        metavar='N',
        help='int8: pictures of the training set that ranges are taken from (default: 32)',
    )


def engine_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``add_engine_arguments`` by name."""
    names = ('backend', 'precision', 'fixed_sizes', 'calibration')
    return {name: getattr(args, name) for name in names}


def parse_options(pairs: Iterable[str]) -> dict:
    """``['a.b=1', 'c=[2,3]']`` -> ``{'a.b': 1, 'c': [2, 3]}``; values are data, never evaluated."""
    from segkit.compat import parse_option

    options = {}
    for pair in pairs:
        key, sign, value = pair.partition('=')
        if not sign:
            raise SystemExit(f'--cfg-options {pair}: write KEY=VALUE, without spaces around "="')
        with_dicts = value[:1] in ('{', '[', '(') and '{' in value
        options[key] = _of_dicts(pair, value) if with_dicts else parse_option(value)
    return options


def _of_dicts(pair: str, text: str) -> dict | list | tuple:
    """``'{255: 1}'`` -> ``{255: 1}``: keys may be numbers, as in a dataset's label_map."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        value = None
    if not isinstance(value, dict | list | tuple):
        raise SystemExit(
            f'--cfg-options {pair}: {text} is no dict of numbers and quoted texts, and no list of '
            "them; write it as in a config, the whole of KEY=VALUE in quotes: 'a.b={255: 1}'"
        )
    return value


def read_config(args: argparse.Namespace) -> 'Config':
    """The config of ``args`` with its options merged, its launcher and its work directory."""
    from segkit.engine.config import load_config

    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, parse_options(args.cfg_options))
    adopt(cfg)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename).stem)
    return cfg


def adopt(cfg: 'Config') -> None:
    """A config of mmsegmentation 1.x runs in our scope as it is; one of 0.x is refused.

    Raises:
        ConfigError: it is one of 0.x; says how to convert it.
    """
    from segkit.engine.config import is_of_0x
    from segkit.errors import ConfigError

    if cfg.get('default_scope') == 'mmseg' and importlib.util.find_spec('mmseg') is None:
        print("default_scope='mmseg' is not installed: its types are looked up in 'segkit'")
        cfg.default_scope = 'segkit'
    if is_of_0x(cfg):
        raise ConfigError(
            f'{cfg.filename}: data: this is a config of mmsegmentation 0.x. Run '
            f'`{command("convert_config", f"{shlex.quote(str(cfg.filename))} new.py")}` and use '
            'new.py'
        )


# -- from start to end -----------------------------------------------------------------------------


@contextmanager
def resting_collector() -> Iterator[None]:
    """Around imports: the garbage collector would go through all of torch time and again, up to a
    fifth of the start, and find nothing. Afterwards it is on if it was before."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def starting_up() -> Iterator[None]:
    """Around the imports of a script and what it builds once.

    All of it stays for good, so afterwards the collector does not look at it either, nor do forked
    workers then copy the pages it lies on.
    """
    with resting_collector():
        try:
            yield
        finally:
            gc.freeze()


def run_script(main: Callable[[], int | None]) -> None:
    """Call ``main`` and leave with the status it gives; a foreseen error is one sentence on stderr
    and exit status 1, no traceback.

    ``--traceback``, or ``SEGKIT_TRACEBACK=1``, brings the traceback back. Ctrl-C ends with status
    130, a reader of the output that has had enough (``| head``) with 141, as the shell counts these
    signals.
    """
    typed = '--traceback' in sys.argv[1:]  # which any script takes and none has to know of
    if typed:
        sys.argv.remove('--traceback')
    with told_streams():
        _run(main, typed or bool(os.environ.get('SEGKIT_TRACEBACK')))


def _run(main: Callable[[], int | None], with_traceback: bool) -> None:
    try:
        status = _with_the_others(main)
        if 'torch.distributed' in sys.modules:
            from segkit.engine.dist import leave_dist

            leave_dist()
        sys.stdout.flush()
        if status:
            sys.exit(status)
    except KeyboardInterrupt:
        stops.report(stops.INTERRUPTED)
        if with_traceback:
            raise
        print('interrupted', file=sys.stderr)
        sys.exit(stops.INTERRUPTED)
    except BrokenPipeError:
        if not _reader_left():
            raise
        # What is still to be printed, at exit among others, goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except SystemExit as leaving:
        if not isinstance(leaving.code, str):
            raise
        print(leaving.code, file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        stops.report(1)
        if with_traceback or not _foreseen(error):
            raise
        print(f'{type(error).__name__}: {_sentence(error)}', file=sys.stderr)
        sys.exit(1)


def _with_the_others(main: Callable[[], int | None]) -> int | None:
    """``main``, of whose ranks one may be stopped while it starts, a moment before this one."""
    try:
        return main()
    except Exception as error:
        if stops.starting() and lost_contact(error):
            stops.leave_if_asked_soon()
        raise


def _reader_left() -> bool:
    """Whether it was the output's pipe that broke, and not one between processes of ours."""
    import select

    if not hasattr(select, 'poll'):  # Windows, where there are no such pipes
        return True
    output = select.poll()
    output.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in output.poll(0))


def _sentence(error: Exception) -> str:
    """The message; of an error in a data worker, which torch hands over with its traceback in the
    message, the end."""
    said = str(error)
    if said.startswith('Caught ') and 'Original Traceback' in said:
        said = said.rpartition(f'{type(error).__name__}: ')[2].strip()
    said = said.replace('\r', '\\r')
    cure = isinstance(error, OSError) and _OF_THE_DISK.get(error.errno or 0)
    return f'{said}. {cure}' if cure and said.startswith('[') else said


def _foreseen(error: Exception) -> bool:
    """Whether the message was written for the person who made the call: one of our own classes, or
    what the system says about a path."""
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return True
    return type(error).__module__.startswith('segkit.') or isinstance(error, _FILE_ERRORS)
