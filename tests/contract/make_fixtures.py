"""Write what the first house left behind: runs stopped half-way, a hub folder, a cache and more.

    git worktree add ../first v0.9
    PYTHONPATH=../first python tests/contract/make_fixtures.py ../first

It runs the code of the checkout it is given, which is the tag v0.9, and writes into
``first_house/`` beside this file, where configs are kept by hand. What it writes is committed and
never made again: it stands for the files that people have. Times, hosts and paths of the machine
it ran on are replaced by plain words.
"""

import json
import os
import platform
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from runs import HOUSE, RUNS, Run, arithmetic, pack, unpacked, weights_of

MADE = ('data', 'runs', 'ends', 'hub', 'caches', 'published', 'onnx', 'predictions')


def train(root: Path, folder: Path, run: Run, stop: int = 0, resume: bool = False) -> str:
    """Run tools/train.py of ``root`` in ``folder``; the signal comes in train step ``stop``."""
    command = [sys.executable]
    if run.ranks > 1:
        command += ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={run.ranks}']
    command += [
        __file__,
        str(root),
        f'--stop={stop},{int(run.signal)}',
        run.config,
        '--work-dir',
        run.folder,
    ]
    environment = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(root))
    done = subprocess.run(
        command + ['--resume'] * resume, cwd=folder, env=environment, capture_output=True, text=True
    )
    told = run.signal == signal.SIGTERM
    stopped = 1 if run.ranks > 1 else 75 if told else -run.signal  # torchrun: 1 for any failure
    assert done.returncode == (stopped if stop else 0), (
        f'{run.name}: {done.returncode}\n{done.stderr[-3000:]}'
    )
    return done.stdout + done.stderr


def train_here(root: Path, stop: int, number: int, arguments: list[str]) -> None:
    """In this process: tools/train.py, and a signal in the train step that is to be the last."""
    from segkit.models import EncoderDecoder

    step, count = EncoderDecoder.loss, 0

    def counted(self, *args, **kwargs):
        nonlocal count
        count += 1
        if count == stop:
            os.kill(os.getpid(), number)
        return step(self, *args, **kwargs)

    EncoderDecoder.loss = counted
    sys.argv = [str(root / 'tools/train.py'), *arguments]
    runpy.run_path(sys.argv[0], run_name='__main__')


def make_data(root: Path, folder: Path) -> None:
    sys.path.insert(0, str(root / 'tests'))
    from helpers.make_data import write_dataset

    write_dataset(folder / 'data', [(40, 48)] * 6 + [(36, 44), (44, 36)])


def make_runs(root: Path, folder: Path) -> dict[str, dict]:
    """Both halves of each run; what is known of it goes into the manifest."""
    known = {}
    for run in RUNS:
        train(root, folder, run)
        straight = weights_of(folder / run.folder / run.end)
        ends = HOUSE / 'ends' / f'{run.name}.pth'
        ends.parent.mkdir(exist_ok=True)
        torch.save(straight, ends)
        pack(ends, ends.with_suffix('.pth.gz'))
        ends.unlink()
        if run.name == 'iterations':
            shutil.copytree(folder / run.folder, folder / 'whole')
        shutil.rmtree(folder / run.folder)
        train(root, folder, run, stop=run.stop)
        last = (folder / run.folder / 'last_checkpoint').read_text().strip()
        keep_run(folder / run.folder, last)
        train(root, folder, run, resume=True)
        resumed = weights_of(folder / run.folder / run.end)
        exact = all(torch.equal(resumed[k], v) for k, v in straight.items())
        known[run.name] = dict(stopped=last, exact=exact and set(resumed) == set(straight))
        print(run.name, known[run.name], flush=True)
    return known


def keep_run(folder: Path, last: str) -> None:
    """The checkpoint to go on from, its pointer and the run card."""
    target = HOUSE / 'runs' / folder.name
    target.mkdir(parents=True)
    anonymous_checkpoint(folder / last)
    pack(folder / last, target / f'{last}.gz')
    (target / 'last_checkpoint').write_text(f'{last}\n')
    if folder.name == 'iterations':
        (target / 'run.json').write_text(anonymous((folder / 'run.json').read_text()))


def anonymous(text: str) -> str:
    """``text`` without the names of this machine, of its folders and of its system."""
    text = text.replace(platform.node(), 'host').replace(platform.platform(), 'Linux')
    return re.sub(r'(?<![\w.])/(?:home|work|root|tmp|usr|opt)/[\w./-]*', 'path', text)


def anonymous_checkpoint(path: Path) -> None:
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['meta'] = {
        key: anonymous(value) if isinstance(value, str) else value
        for key, value in checkpoint['meta'].items()
    }
    torch.save(checkpoint, path)


def anonymous_onnx(path: Path) -> None:
    """Nodes told the file and line that made them."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    for part in [*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        for prop in part.metadata_props:
            prop.value = anonymous(prop.value)
    onnx.save(model, path)


def make_shared(folder: Path, root: Path) -> dict:
    """What is given to others: a hub folder, a published checkpoint, an ONNX file."""
    from segkit.apis import inference_model, init_model
    from segkit.apis.export import export_model, load_exported

    checkpoint = folder / 'whole' / 'iter_8.pth'
    vary_classes(checkpoint)
    model = init_model('iterations.py', checkpoint)
    export_model(model, HOUSE / 'hub/model.safetensors', 'safetensors', (32, 32))
    export_model(model, HOUSE / 'onnx/net.onnx', 'onnx', (40, 48), normalize=True)
    image = np.random.default_rng(1).uniform(0, 255, (1, 3, 40, 48)).astype(np.float32)
    logits = load_exported(HOUSE / 'onnx/net.onnx', 'onnx')(torch.from_numpy(image))
    anonymous_onnx(HOUSE / 'onnx/net.onnx')
    pack(HOUSE / 'onnx/net.onnx', HOUSE / 'onnx/net.onnx.gz')
    (HOUSE / 'onnx/net.onnx').unlink()
    tool = [sys.executable, str(root / 'tools/publish_model.py'), str(checkpoint), 'net.pth']
    subprocess.run(tool, cwd=folder, check=True, env=dict(os.environ, PYTHONPATH=str(root)))
    (published,) = folder.glob('net-*.pth')
    pack(published, HOUSE / 'published' / f'{published.name}.gz')
    model.test_cfg = dict(model.test_cfg, keep_logits=True)
    seen = {path.stem: inference_model(model, str(path)) for path in pictures()}
    arrays = {f'{name}.logits': s.seg_logits.data.numpy() for name, s in seen.items()}
    arrays.update({f'{n}.classes': s.pred_sem_seg.data.numpy()[0] for n, s in seen.items()})
    (HOUSE / 'predictions').mkdir()
    np.savez_compressed(HOUSE / 'predictions/pictures.npz', **arrays)
    np.savez_compressed(HOUSE / 'predictions/onnx.npz', image=image, logits=logits.numpy())
    return dict(
        classes=sorted({int(c) for s in seen.values() for c in s.pred_sem_seg.data.unique()})
    )


def vary_classes(path: Path) -> None:
    """Eight iterations end in one class everywhere; with random weights at the end it takes all."""
    checkpoint = torch.load(path, weights_only=True)
    generator = torch.Generator().manual_seed(0)
    weight = checkpoint['state_dict']['decode_head.conv_seg.weight']
    weight.normal_(generator=generator).sub_(weight.mean(dim=0))
    checkpoint['state_dict']['decode_head.conv_seg.bias'].zero_()
    torch.save(checkpoint, path)


def pictures() -> list[Path]:
    return sorted((HOUSE / 'data/img').glob('*.png'))[-2:]


def make_caches(root: Path, folder: Path) -> dict[str, int]:
    """Caches remember when a picture was written: the manifest says it of those beside them."""
    whole = 1_600_000_000_000_000_000
    times = {}
    for number, path in enumerate(sorted((folder / 'data').rglob('*.png'))):
        times[str(path.relative_to(folder))] = whole + number
        os.utime(path, ns=(whole + number, whole + number))
    for kind, codec in (('raw', []), ('rows', ['--codec', 'zlib'])):
        command = [sys.executable, str(root / 'tools/cache_dataset.py'), 'iterations.py']
        command += [f'caches/{kind}', '--format', kind, *codec, '--workers', '0']
        subprocess.run(command, cwd=folder, check=True, env=dict(os.environ, PYTHONPATH=str(root)))
        for file in (folder / 'caches' / kind).iterdir():
            pack(file, HOUSE / 'caches' / kind / f'{file.name}.gz')
    return times


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    if sys.argv[2:]:
        stop, number = sys.argv[2].removeprefix('--stop=').split(',')
        train_here(root, int(stop), int(number), sys.argv[3:])
        return
    import segkit

    assert Path(segkit.__file__).is_relative_to(root), segkit.__file__
    for name in MADE:
        shutil.rmtree(HOUSE / name, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = unpacked(Path(temporary))
        os.chdir(folder)
        make_data(root, folder)
        shutil.copytree(folder / 'data', HOUSE / 'data')
        known = dict(runs=make_runs(root, folder), predictions=make_shared(folder, root))
        known.update(times=make_caches(root, folder))
    known.update(torch=torch.__version__, arithmetic=arithmetic(), segkit=segkit.__version__)
    (HOUSE / 'manifest.json').write_text(json.dumps(known, indent=1, sort_keys=True) + '\n')


if __name__ == '__main__':
    main()
