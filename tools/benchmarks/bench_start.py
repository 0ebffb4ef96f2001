"""Start-up: from nothing, or from imported modules, to a network ready to predict.

python tools/benchmarks/bench_start.py [--csv]        needs 300 MB of /tmp

Each way runs in fresh processes, the ways of a case in turn; medians of CPU seconds, from the start
of the interpreter unless the case says otherwise. Files are in the page cache, and both ways end
with the same weights (checked). Memory is not compared: the pages of a mapped file count as
resident, though the system takes them back as it likes.

    weights      the imports are done: build the network, map the checkpoint (as tools/test.py does)
    init_model   the function that a program calls, with all it imports
    test run     tools/test.py up to its first image; against mmengine's Runner on the same config
"""

import argparse
import importlib
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness import run

if TYPE_CHECKING:
    from torch import nn

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'psanet_r50-d8_512x1024_80k_cityscapes'
# What a toolbox on top of mmengine imports before its first line.
TOOLBOX = ('mmcv.cnn', 'mmcv.transforms', 'mmengine.runner', 'mmengine.visualization')


def weights_written_out(path: str) -> 'nn.Module':
    import torch

    from segkit.engine.config import load_config
    from segkit.registry import MODELS

    model = MODELS.build(load_config(CONFIG).model)
    model.load_state_dict(torch.load(path, map_location='cpu')['state_dict'])
    return model


def weights_ours(path: str) -> 'nn.Module':
    from segkit.engine.config import load_config
    from segkit.weights import build_undrawn, load_into

    model = build_undrawn(load_config(CONFIG).model)
    load_into(model, path, assign=True)
    return model


def init_model_written_out(path: str) -> 'nn.Module':
    for name in TOOLBOX:
        importlib.import_module(name)
    return weights_written_out(path).eval()


def init_model_ours(path: str) -> 'nn.Module':
    from segkit.apis import init_model

    return init_model(CONFIG, path)


def test_run_written_out(path: str) -> 'nn.Module':
    for name in TOOLBOX:
        importlib.import_module(name)
    from mmengine.config import Config
    from mmengine.runner import Runner

    cfg = Config.fromfile(next(ROOT.glob(f'configs/*/{CONFIG}.py')))
    cfg.merge_from_dict(_run_options(path))
    cfg.log_processor = cfg.custom_hooks = None
    cfg.default_hooks = {'logger': {'type': 'LoggerHook'}}
    # Its survey of the environment imports torchvision; here it only prints the config.
    Runner._log_env = lambda self, env: self.logger.info(self.cfg.pretty_text)
    runner = Runner.from_cfg(cfg)
    runner.build_test_loop(runner._test_loop)
    runner.load_checkpoint(path)
    return runner.model


def test_run_ours(path: str) -> 'nn.Module':
    spec = importlib.util.spec_from_file_location('tool', ROOT / 'tools/test.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    options = [f'{key}={value}' for key, value in _run_options(path).items()]
    sys.argv = ['test.py', CONFIG, path, '--cfg-options', *options]
    with tool.starting_up():
        runner = tool.build_runner(tool.parse_args())
    runner._purpose = 'test'
    runner.build_test_loop(runner._test_loop)
    runner.load_or_resume()
    return runner.model


def _run_options(path: str) -> dict[str, str]:
    """The built-in dataset, whose pictures are no files, so that there is something to test."""
    return {
        'work_dir': str(Path(path).parent / 'work'),
        'test_dataloader.dataset.type': 'ShapesDataset',
        'test_dataloader.dataset.data_root': str(Path(path).parent / 'shapes'),
    }


CASES: dict[str, dict[str, Callable[[str], 'nn.Module']]] = {
    'weights': {'written out': weights_written_out, 'ours': weights_ours},
    'init_model': {'written out': init_model_written_out, 'ours': init_model_ours},
    'test run': {'written out': test_run_written_out, 'ours': test_run_ours},
}


def once(case: str, way: str, path: str) -> None:
    """Run one way in this process; print CPU seconds and the sum of all weights."""
    before = 0.0
    if case == 'weights':
        import torch

        torch.set_num_threads(1)
        with torch.device('meta'):  # all imports: they are not what is measured
            weights_ours(path)
        before = time.process_time()
    model = CASES[case][way](path)
    seconds = time.process_time() - before
    checksum = sum(tensor.double().sum().item() for tensor in model.state_dict().values())
    print('\n', seconds, checksum)


def write_checkpoint(path: Path) -> None:
    import torch

    from segkit.apis import init_model

    torch.save({'meta': {}, 'state_dict': init_model(CONFIG).state_dict()}, path)


def measure(case: str, path: Path, repeats: int) -> dict:
    results: dict[str, list[list[float]]] = {way: [] for way in CASES[case]}
    for _ in range(repeats):
        for way, rows in results.items():
            command = [sys.executable, __file__, '--once', case, way, str(path)]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append([float(x) for x in out.split('\n')[-2].split()])
    if len({row[1] for rows in results.values() for row in rows}) != 1:
        raise SystemExit(f'{case}: the two ways ended with different weights')
    theirs, ours = (statistics.median(row[0] for row in rows) for rows in results.values())
    return {
        'case': case, 'config': CONFIG, 'written out CPU s': f'{theirs:.3f}',
        'ours CPU s': f'{ours:.3f}', 'speed-up': f'{theirs / ours:.2f}',
    }  # fmt: skip


def rows(args: argparse.Namespace) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.pth'
        write_checkpoint(path)
        return [measure(case, path, args.repeats) for case in CASES]


if __name__ == '__main__':
    if sys.argv[1:2] == ['--once']:  # the child processes: CASE WAY CHECKPOINT
        once(*sys.argv[2:])
    else:
        run(__doc__, {'start': rows}, repeats=7)
