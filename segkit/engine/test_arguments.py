"""What the arguments of tools/test.py mean in a config: each written into it."""

import argparse
import copy
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config, ConfigDict

from segkit.engine.command_line import engine_options
from segkit.engine.config_schema import averages_weights
from segkit.engine.folders import ends_like_file, make_folder
from segkit.engine.remote_folder import local_folder
from segkit.errors import ConfigError
from segkit.whole_file import remove_leftovers

_PICKLES = ('.pkl', '.pickle')
_SWITCHES = ('fuse_bn', 'channels_last', 'bf16')


def translate_old_arguments(args: argparse.Namespace) -> None:
    """Arguments of 0.x: what still means something is translated, the rest is answered."""
    if args.gpu_id is not None:
        print('--gpu-id has no effect: use CUDA_VISIBLE_DEVICES')
    if args.gpu_collect or args.tmpdir:
        print('--gpu-collect and --tmpdir have no effect: ranks add counts up, without files')
    for pair in args.eval_options:
        key, _, value = pair.partition('=')
        if key == 'imgfile_prefix' and value and not args.out:
            args.out = value
            print(f'--eval-options {pair}: taken as --out {value}')
        else:
            print(
                f'--eval-options {pair} has no effect: settings of the metric are set with '
                '--cfg-options test_evaluator.KEY=VALUE'
            )


def apply_test_arguments(args: argparse.Namespace, cfg: Config) -> None:
    """Write the arguments into the config, so that it alone says what was tested."""
    if cfg.get('test_dataloader') is None or cfg.get('test_evaluator') is None:
        raise ConfigError(
            f'{cfg.filename}: test_dataloader or test_evaluator is missing; set both to test'
        )
    engine = _engine(args, [name for name in _SWITCHES if getattr(args, name)])
    cfg.load_from, cfg.resume = args.checkpoint, False
    if engine.pop('exported', False):
        cfg.load_from = None  # it takes the place of the network, weights and all
    if cfg.get('test_cfg') is None:
        cfg.test_cfg = dict(type='TestLoop')
    if args.resume:
        _apply_resume(args, cfg)
    _leave_out_averaging(cfg)
    _apply_output(args, cfg)
    if not 0 < args.opacity <= 1:
        raise ConfigError(f'--opacity {args.opacity} must be in (0, 1]')
    if args.show or args.show_dir:
        _apply_drawing(args, cfg)
    if args.probabilities and not args.certainty_dir:
        raise ConfigError('--probabilities go into a folder: name it with --certainty-dir DIR')
    if args.unknown_below is not None or args.certainty_dir or args.per_picture is not None:
        _apply_certainty(args, cfg)
    if args.report is not None:
        _add_hook(cfg, dict(type='ReportHook', path=_file('--report', args.report, 'report.html')))
    if args.aug_test:
        from segkit.datasets.transforms.aug_test import enable_aug_test

        enable_aug_test(cfg)
    switches = {name: True for name in _SWITCHES if getattr(args, name)}
    if switches or engine:
        _add_hook(cfg, dict(type='SpeedUpHook', **switches, **engine))
    named = [f'{engine["backend"]} {engine["precision"]}'] if engine else []
    protocol = ', '.join([_protocol(cfg, args.aug_test), *switches, *named])
    for evaluator in _evaluators(cfg):
        if evaluator.get('type') == 'IoUMetric':
            evaluator.result_info = dict(
                config=str(cfg.filename), checkpoint=args.checkpoint, protocol=protocol
            )


def _engine(args: argparse.Namespace, switches: list[str]) -> dict[str, object]:
    """What of the SpeedUpHook says what runs the network; nothing for PyTorch as it is.

    Raises:
        BackendError: before anything is built, for what cannot be.
    """
    from segkit.apis.backends import BackendError, chosen, is_exported

    options = engine_options(args)
    settings = chosen(options.pop('backend'), args.checkpoint, **options)
    others = sorted(set(switches) - {'fuse_bn'})
    if settings.backend != 'torch' and others:
        option = others[0].replace('_', '-')
        raise BackendError(
            f'--{option} is of PyTorch, and --backend {settings.backend} was chosen; choose one.'
        )
    if settings.plain:
        return {}
    exported = is_exported(args.checkpoint)
    return dict(options, backend=settings.backend, checkpoint=args.checkpoint, exported=exported)


def _protocol(cfg: Config, aug_test: bool) -> str:
    """'whole, single scale', or 'slide, scales 0.5 1.0, flip'."""
    model = cfg.get('model')
    test_cfg = model.get('test_cfg') if isinstance(model, dict) else None
    mode = (test_cfg or {}).get('mode', 'whole')
    if not aug_test:
        return f'{mode}, single scale'
    from segkit.datasets.transforms.aug_test import PUBLISHED

    views = {**PUBLISHED, **(cfg.get('aug_test') or {})}
    scales = ' '.join(f'{ratio:g}' for ratio in views['img_ratios'])
    return f'{mode}, scales {scales}' + (', flip' if views['flip'] else '')


def _apply_resume(args: argparse.Namespace, cfg: Config) -> None:
    pickled = bool(args.out) and args.out.endswith(_PICKLES)
    for option, given in (('--report', args.report is not None), (f'--out {args.out}', pickled)):
        if given:
            raise ConfigError(
                f'{option} with --resume: it needs what every picture gave, and only the counts '
                'are saved. Test from the start without --resume'
            )
    cfg.test_cfg.resume = True


def _evaluators(cfg: Config) -> Iterator[ConfigDict]:
    found = cfg.test_evaluator
    yield from found if isinstance(found, (list, tuple)) else [found]


def _add_hook(cfg: Config, hook: dict) -> None:
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def _leave_out_averaging(cfg: Config) -> None:
    """A checkpoint's weights are the averages already: for a test EMAHook would exchange them with
    a copy of themselves, one to one, which fails once batch norms are folded into other layers."""
    hooks = cfg.get('custom_hooks')
    if isinstance(hooks, (list, tuple)):  # anything else is for the check of the config to refuse
        cfg.custom_hooks = [hook for hook in hooks if not averages_weights(hook)]


def _apply_output(args: argparse.Namespace, cfg: Config) -> None:
    to_pickle = bool(args.out) and args.out.endswith(_PICKLES)
    if args.format_only and (not args.out or to_pickle):
        raise ConfigError('--format-only writes a PNG per image: name their folder with --out DIR')
    if to_pickle:
        path = _file('--out', args.out, 'predictions.pkl')
        _add_hook(cfg, dict(type='PredictionFileHook', path=path))
    elif args.out:
        _refuse_file_name(args.out)
        _output_folder('--out', args.out, args)
    if args.format_only:
        _leave_out_labels(cfg)
    for evaluator in _evaluators(cfg):
        if args.eval:
            evaluator.iou_metrics = args.eval
        if args.out and not to_pickle:
            evaluator.output_dir = args.out
        if args.format_only:
            evaluator.format_only = True
        elif evaluator.get('type') == 'IoUMetric' and cfg.get('work_dir'):
            evaluator.setdefault('result_file', str(Path(local_folder(cfg.work_dir)) / 'results'))


def _apply_certainty(args: argparse.Namespace, cfg: Config) -> None:
    """Confidence maps, unknown pixels and scores of each picture."""
    if args.unknown_below is not None:
        if not 0 < args.unknown_below <= 1:
            raise ConfigError(f'--unknown-below {args.unknown_below} must be in (0, 1]')
        test_cfg = cfg.model.get('test_cfg') or {}
        cfg.model.test_cfg = dict(test_cfg, unknown_below=args.unknown_below)
    if args.certainty_dir:
        _output_folder('--certainty-dir', args.certainty_dir, args)
        hook = dict(type='CertaintyHook', out_dir=args.certainty_dir)
        _add_hook(cfg, dict(hook, probabilities=args.probabilities))
    if args.per_picture is None:
        return
    default = str(Path(local_folder(cfg.work_dir)) / 'pictures.csv')
    file = _file('--per-picture', args.per_picture, 'pictures.csv') or default
    for evaluator in _evaluators(cfg):
        if evaluator.get('type') == 'IoUMetric':
            evaluator.picture_file = file


def _output_folder(option: str, path: str, args: argparse.Namespace) -> None:
    """One to write pictures into, without what a killed test left half written."""
    make_folder(option, path)
    if args.resume:
        remove_leftovers(path, below=True)


def _refuse_file_name(path: str) -> None:
    """What ends like a file of some other kind is not to become a folder of that name."""
    if ends_like_file(path):
        raise ConfigError(
            f'--out {path}: predictions are written as one {" or ".join(_PICKLES)} file, or as a '
            f'PNG per image into a folder, whose name has no {Path(path).suffix}'
        )


def _leave_out_labels(cfg: Config) -> None:
    """What a server scores has no labels here: none is looked for, none is read."""
    from segkit.datasets.transforms.aug_test import datasets_of

    loader = copy.deepcopy(cfg.test_dataloader)  # validation may share these dicts
    for dataset in datasets_of(loader.dataset):
        steps = dataset['pipeline']
        dataset['pipeline'] = [step for step in steps if step['type'] != 'LoadAnnotations']
        if dataset.get('cache') is None:  # a cache was made of labels too, and is compared
            prefix = dataset.get('data_prefix') or {'img_path': ''}
            dataset['data_prefix'] = {**prefix, 'seg_map_path': None}
    cfg.test_dataloader = loader


def _apply_drawing(args: argparse.Namespace, cfg: Config) -> None:
    if args.show and not _has_display():
        raise ConfigError('--show needs a display and there is none; write files: --show-dir DIR')
    if args.show_dir:
        _output_folder('--show-dir', args.show_dir, args)
    hook = dict(type='SegVisualizationHook', draw=True, interval=1, show=args.show)
    hook.update(wait_time=args.wait_time, show_dir=args.show_dir)
    cfg.default_hooks = dict(cfg.get('default_hooks') or {}, visualization=hook)
    drawer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
    cfg.visualizer = dict(cfg.get('visualizer') or drawer, alpha=args.opacity)


def _has_display() -> bool:
    """Whether a window can be opened; only X11 and Wayland say so beforehand."""
    names = ('DISPLAY', 'WAYLAND_DISPLAY')
    return sys.platform != 'linux' or any(os.environ.get(name) for name in names)


def _file(option: str, path: str, name: str) -> str | None:
    """A file that can be written: ``path``, or ``name`` in it where it is a folder."""
    if not path:
        return None
    if Path(path).is_dir():
        return str(Path(path) / name)
    make_folder(option, str(Path(path).parent))
    return path
