"""What the arguments of tools/test.py mean in a config."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config, ConfigDict

from segkit.engine.checkpoint import CheckpointNotFoundError
from segkit.engine.config_error import ConfigError

_PICKLES = ('.pkl', '.pickle')


def require_checkpoint(path: str) -> None:
    """Fail before anything is built if ``path`` is a local file that is not there."""
    if '://' not in path and not Path(path).is_file():
        raise CheckpointNotFoundError(
            f'{path}: there is no such checkpoint. Train one with tools/train.py, or give the path '
            'or URL of a published one'
        )


def apply_test_arguments(args: argparse.Namespace, cfg: Config) -> None:
    """Write the arguments into the config, so that it alone says what was tested."""
    if cfg.get('test_dataloader') is None or cfg.get('test_evaluator') is None:
        raise ConfigError(
            f'{cfg.filename}: test_dataloader or test_evaluator is missing; set both to test'
        )
    cfg.load_from, cfg.resume = args.checkpoint, False
    if cfg.get('test_cfg') is None:
        cfg.test_cfg = dict(type='TestLoop')
    _apply_output(args, cfg)
    _apply_drawing(args, cfg)
    if args.report is not None:
        _add_hook(cfg, dict(type='ReportHook', path=args.report or None))
    if args.aug_test:
        from segkit.models.inference import enable_aug_test

        enable_aug_test(cfg)


def _evaluators(cfg: Config) -> Iterator[ConfigDict]:
    found = cfg.test_evaluator
    yield from found if isinstance(found, (list, tuple)) else [found]


def _add_hook(cfg: Config, hook: dict) -> None:
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def _apply_output(args: argparse.Namespace, cfg: Config) -> None:
    to_pickle = bool(args.out) and args.out.endswith(_PICKLES)
    if args.format_only and (not args.out or to_pickle):
        raise ConfigError('--format-only writes a PNG per image: name their folder with --out DIR')
    if to_pickle:
        _add_hook(cfg, dict(type='PredictionFileHook', path=args.out))
    for evaluator in _evaluators(cfg):
        if args.eval:
            evaluator.iou_metrics = args.eval
        if args.out and not to_pickle:
            evaluator.output_dir = args.out
        if args.format_only:
            evaluator.format_only = True


def _apply_drawing(args: argparse.Namespace, cfg: Config) -> None:
    if not (args.show or args.show_dir):
        return
    if not 0 < args.opacity <= 1:
        raise ConfigError(f'--opacity {args.opacity} must be in (0, 1]')
    hook = dict(type='SegVisualizationHook', draw=True, interval=1, show=args.show)
    hook.update(wait_time=args.wait_time, show_dir=args.show_dir)
    cfg.default_hooks.visualization = hook
    cfg.visualizer.alpha = args.opacity
