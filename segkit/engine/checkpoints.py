"""The training checkpoints of a run: what is in one, written whole or not at all, and read back.

A checkpoint holds plain Python values and tensors only, so that ``torch.load(path,
weights_only=True)`` reads it: ``state_dict``, ``optimizer``, ``param_schedulers``, the
``message_hub`` (scores, last values of the log), ``partial_gradients`` of an accumulation under
way, and ``meta`` (iteration, epoch, samples seen, seed, the config).

mmengine's own cannot load the files it writes (current torch refuses the pickled history in them),
runs the config text stored in older checkpoints as Python, and writes in place, through a copy of
the whole file in memory, after deleting the previous one.
"""

import errno
import hashlib
import io
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mmengine
import numpy as np
import torch
import torch.distributed as torch_dist
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import HistoryBuffer, MessageHub
from torch import nn

import segkit
from segkit.engine.errors import TrainingError
from segkit.engine.model_setup import (
    is_sharded,
    load_whole_optimizer_state,
    load_whole_state,
    whole_optimizer_state,
    whole_state,
)
from segkit.weights import CheckpointError, load_checkpoint, load_into, state_dict_of
from segkit.weights.integrity import write_checkpoint
from segkit.whole_file import whole_file

if TYPE_CHECKING:
    from segkit.engine.runner import Runner

POINTER = 'last_checkpoint'
KEPT_VALUES = 1000  # of each scalar of the log
_SLACK = 1 << 20  # bytes for metadata and the file system's own bookkeeping


# -- from a run to a file --------------------------------------------------------------------------


def state_of(
    runner: 'Runner', name: str, meta: dict, optimizer: bool, schedulers: bool
) -> dict[str, object]:
    """The state of a run, for the file ``name``. Every rank must call: parts of it are gathered."""
    _refuse_broken_weights(runner, name)
    model, wrapper = runner.bare_model, runner.optim_wrapper
    state: dict[str, object] = dict(
        meta=meta,
        state_dict=whole_state(model),
        message_hub=hub_state(runner.message_hub, window(runner.log_processor)),
    )
    if optimizer:
        if is_sharded(model):
            state['optimizer'] = whole_optimizer_state(model, wrapper.optimizer)
        else:
            state['optimizer'] = wrapper.state_dict()
        if gradients := _partial_gradients(runner):
            state['partial_gradients'] = gradients
    if schedulers and runner.param_schedulers:
        state['param_schedulers'] = _scheduler_states(runner.param_schedulers)
    return state


def meta_of(runner: 'Runner', epoch: int, iteration: int) -> dict[str, object]:
    """``meta`` of a checkpoint, of a run that has done so many iterations."""
    dataset = runner.train_dataloader.dataset
    seen = getattr(runner.train_loop, 'samples_seen', None)  # of all ranks together
    return dict(
        epoch=epoch,
        iter=iteration,
        cfg=runner.cfg.pretty_text,
        config_json=runner.config_json(),
        seed=runner.seed,
        experiment_name=runner.experiment_name,
        time=time.strftime('%Y%m%d_%H%M%S'),
        segkit_version=segkit.__version__,
        mmengine_version=mmengine.__version__,
        dataset_meta=plain(dict(getattr(dataset, 'metainfo', None) or {})),
        samples_seen=iteration * runner.effective_batch if seen is None else seen,
        world_size=runner.world_size,
        effective_batch=runner.effective_batch,
    )


def weights_digest(model: nn.Module) -> str:
    """A hash of the names and values of all weights."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def write(checkpoint: dict, path: str | Path) -> None:
    """Write ``checkpoint`` to ``path``, whole or not at all.

    Raises:
        TrainingError: the disk is full; what was at ``path`` before is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    needed = tensor_bytes(checkpoint) + _SLACK
    if shutil.disk_usage(path.parent).free < needed:
        raise _no_space(path, needed)
    try:
        with whole_file(path, durable=True) as file:
            write_checkpoint(checkpoint, file)
    except (OSError, RuntimeError) as error:
        # torch's zip writer turns ENOSPC into a RuntimeError of its own.
        full = getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT)
        if full or shutil.disk_usage(path.parent).free < needed:
            raise _no_space(path, needed, error) from error
        raise


def publish(path: Path, keys: Sequence[str]) -> Path:
    """Those parts of a checkpoint in a file of their own beside it, named after its content."""
    state = load_checkpoint(path)
    bare = path.with_name(f'{path.stem}-published{path.suffix}')
    write({key: state[key] for key in keys if key in state}, bare)
    digest = hashlib.sha256(bare.read_bytes()).hexdigest()[:8]
    return bare.replace(path.with_name(f'{path.stem}-{digest}{path.suffix}'))


def write_by(backend_args: Mapping | None, checkpoint: dict, out_dir: str, name: str) -> None:
    """``write`` into a folder of this machine, or by the backend of mmengine that these arguments,
    or the beginning of ``out_dir``, ask for."""
    given = dict(backend_args or {})
    if given.get('backend') == 'disk':  # its older name
        given['backend'] = 'local'
    backend = get_file_backend(str(out_dir), backend_args=given or None)
    if isinstance(backend, LocalBackend):
        write(checkpoint, Path(out_dir) / name)
    else:
        file = io.BytesIO()
        write_checkpoint(checkpoint, file)
        backend.put(file.getvalue(), backend.join_path(str(out_dir), name))


def tensor_bytes(value: object) -> int:
    """Bytes of all the tensors in nested containers."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(tensor_bytes(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return sum(tensor_bytes(v) for v in value)
    return 0


def _no_space(path: Path, needed: int, error: Exception | None = None) -> TrainingError:
    free = shutil.disk_usage(path.parent).free
    return TrainingError(
        f'{path} could not be written: the disk has {free / 1e6:.1f} MB free and the checkpoint '
        f'needs about {needed / 1e6:.1f} MB{f" ({error})" if error else ""}. The checkpoint '
        'before it is whole; make room, or set default_hooks.checkpoint.out_dir, then --resume'
    )


def _refuse_broken_weights(runner: 'Runner', name: str) -> None:
    """A loss is computed before the update of its step, which may break the weights."""
    state = runner.bare_model.state_dict()
    broken = [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        last = runner.last_good.name if runner.last_good else 'none was saved yet'
        raise TrainingError(
            f'{name} is not written: {len(broken)} weights are nan or inf, {broken[0]} first. The '
            f'last good checkpoint is {last}. Lower the learning rate or set '
            'optim_wrapper.clip_grad'
        )


def _partial_gradients(runner: 'Runner') -> dict[str, torch.Tensor]:
    """Gradients that a coming step will use, averaged over the ranks: those of an accumulation
    under way, or what a model's own train step left. Usually there are none."""
    found = {}
    for name, parameter in runner.bare_model.named_parameters():
        if parameter.grad is not None:
            gradient = parameter.grad.clone()
            if runner.distributed:
                torch_dist.all_reduce(gradient)
                gradient /= runner.world_size
            found[name] = gradient
    return found


def need_all_ranks(runner: 'Runner') -> bool:
    """Whether what is saved has to be gathered from several ranks, so that none can save alone."""
    if not runner.distributed:
        return False
    model = runner.bare_model
    return is_sharded(model) or any(p.grad is not None for p in model.parameters())


def _scheduler_states(schedulers: Any) -> object:
    """Of a list of schedulers, or of several by the name of their optimizer."""
    if isinstance(schedulers, dict):
        return {name: _scheduler_states(some) for name, some in schedulers.items()}
    return [plain(scheduler.state_dict()) for scheduler in schedulers]


def window(log_processor: Any) -> int:
    """The most values of a scalar that a coming line of the log averages."""
    lines = getattr(log_processor, 'custom_cfg', None) or []
    sizes = [line.get('window_size', 0) for line in lines]
    if {'epoch', 'global'} & {size for size in sizes if isinstance(size, str)}:
        return sys.maxsize
    return max([log_processor.window_size, *sizes])


def hub_state(hub: MessageHub, window: int = KEPT_VALUES) -> dict:
    """The hub as plain Python values; of each scalar as many as a log line averages."""
    state = hub.state_dict()
    history = {
        key: [part[-window:].tolist() for part in buffer.data]
        for key, buffer in state['log_scalars'].items()
    }
    info, resumed = plain(state['runtime_info']), dict(state['resumed_keys'])
    return dict(log_scalars={}, runtime_info=info, resumed_keys=resumed, history=history)


def plain(value: object) -> object:
    """``value`` with NumPy scalars and arrays, tuples of them and paths as plain Python."""
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(v) for v in value) if type(value) in (list, tuple) else list(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if value is None or isinstance(value, (str, int, float, bool)) or hasattr(value, 'cpu'):
        return value
    return str(value)


# -- from a file to a run --------------------------------------------------------------------------


def load_verified(path: str | Path, map_location: str = 'cpu') -> dict:
    """``load_checkpoint`` of a file that must hold the state of a training run.

    Raises:
        CheckpointError: it is not there or not whole, or holds weights alone.
    """
    checkpoint = load_checkpoint(path, map_location=map_location)
    missing = [key for key in ('state_dict', 'meta') if not isinstance(checkpoint.get(key), dict)]
    meta = checkpoint.get('meta')
    if isinstance(meta, dict):
        missing += [] if isinstance(meta.get('iter'), int) else ['meta.iter']
    if missing:
        raise CheckpointError(
            f'{path}: holds no state of a training run ({", ".join(missing)} missing); start from '
            f'its weights with --load-from {shlex.quote(str(path))}, without --resume'
        )
    return checkpoint


def revised(checkpoint: dict, rules: Sequence[tuple[str, str]], source: str) -> dict:
    """A checkpoint whose weights have other names, by regular expressions and replacements."""
    state: dict[str, torch.Tensor] = dict(state_dict_of(checkpoint, source))
    for pattern, replacement in rules:
        state = {re.sub(pattern, replacement, name): value for name, value in state.items()}
    return dict(meta=checkpoint.get('meta', {}), state_dict=state)


def restore(runner: 'Runner', checkpoint: dict, path: str) -> None:
    """Put weights, optimizer, schedules, place in the data and scores into a built Runner."""
    runner.call_hook('after_load_checkpoint', checkpoint=checkpoint)
    if is_sharded(runner.bare_model):
        load_sharded(runner.bare_model, checkpoint, path)
    else:
        load_into(runner.bare_model, checkpoint, 'test', source=path, key_map={})
    load_hub_state(runner.message_hub, checkpoint.get('message_hub', {}))
    if 'optimizer' in checkpoint:
        if is_sharded(runner.bare_model):
            optimizer = runner.optim_wrapper.optimizer
            load_whole_optimizer_state(runner.bare_model, optimizer, checkpoint['optimizer'])
        else:
            _load_optimizer(runner.optim_wrapper, checkpoint['optimizer'], path)
    for name, gradient in checkpoint.get('partial_gradients', {}).items():
        parameter = runner.bare_model.get_parameter(name)
        parameter.grad = gradient.to(parameter.device)
    _load_schedulers(runner.param_schedulers, checkpoint.get('param_schedulers', []))


def _load_optimizer(wrapper: Any, state: dict, path: str) -> None:
    try:
        wrapper.load_state_dict(state)
    except ValueError as error:  # torch's, of groups of other numbers or sizes
        raise CheckpointError(
            f'{path}: its optimizer held other weights than this config trains ({error}). Put '
            'freeze and optim_wrapper back to what they were, or start from its weights with '
            f'--load-from {shlex.quote(str(path))}, without --resume'
        ) from error


def load_sharded(model: nn.Module, checkpoint: dict, path: str) -> None:
    """Spread the weights of a checkpoint over the ranks."""
    load_whole_state(model, state_dict_of(checkpoint, path))


def _load_schedulers(schedulers: Any, states: Any) -> None:
    if isinstance(schedulers, dict):
        for name, some in schedulers.items():
            _load_schedulers(some, states.get(name, []) if isinstance(states, dict) else states)
        return
    for scheduler, state in zip(schedulers or [], states):
        scheduler.load_state_dict(state)


def load_hub_state(hub: MessageHub, state: dict) -> None:
    """Restore what :func:`hub_state` saved; files of mmengine itself are accepted too."""
    info, kept = state.get('runtime_info', {}), state.get('history', {})
    scalars = {
        k: v for k, v in state.get('log_scalars', {}).items() if isinstance(v, HistoryBuffer)
    }
    scalars |= {key: HistoryBuffer(values, counts) for key, (values, counts) in kept.items()}
    resumed = {key: True for key, on in state.get('resumed_keys', {}).items() if on}
    there = {key: on for key, on in resumed.items() if key in scalars or key in info}
    hub.load_state_dict(dict(log_scalars=scalars, runtime_info=info, resumed_keys=there))


# -- which file ------------------------------------------------------------------------------------


def candidates(
    work_dir: str | Path, say: Callable[[str], None] = print, names: Collection[str] | None = None
) -> list[Path]:
    """Checkpoints of ``work_dir``, the one to try first in front; ``names``: those there are, where
    its folder does not hold them yet.

    ``last_checkpoint`` holds a path relative to the work directory, which may have moved; the
    absolute ones that mmengine writes are looked up by name. Then by falling iteration or epoch.
    """
    work_dir = Path(work_dir)
    numbered = []
    held = work_dir.glob('*.pth') if names is None else (work_dir / name for name in names)
    for path in held:
        match = re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name)
        if match:
            numbered.append((int(match[1]), path))
    found = [path for _, path in sorted(numbered, reverse=True)]
    last = noted(work_dir, say, names)
    if last is not None and last in found[1:]:
        say(f'{work_dir / POINTER} names {last.name}, although {found[0].name} is there.')
    return found if last is None else [last] + [p for p in found if p != last]


def noted(
    work_dir: Path, say: Callable[[str], None], names: Collection[str] | None = None
) -> Path | None:
    """The checkpoint that ``last_checkpoint`` names, if it is there."""
    pointer = work_dir / POINTER
    if not pointer.exists():
        return None
    try:
        named = Path(pointer.read_bytes()[:4096].decode().strip())
        places = [work_dir / named, work_dir / named.name]
        there = [p.is_file() if names is None else p.name in names for p in places]
        last = next((p for p, is_there in zip(places, there) if p.suffix and is_there), None)
    except (OSError, ValueError) as error:  # a folder; bytes that are no text, or no name
        last, why = None, str(error)
    else:
        why = f'names {str(named)[:80]!r}, which is not there'
    if last is None:
        say(f'{pointer} {why}; the checkpoint of the highest number is taken instead.')
    return last


def load_latest(
    work_dir: str | Path,
    say: Callable[[str], None],
    names: Collection[str] | None = None,
    fetch: Callable[[str], Path] | None = None,
) -> tuple[Path, dict] | None:
    """The newest whole checkpoint of ``work_dir`` and its content; None if there is none.

    A checkpoint counts only if all of it reads back, checksums included, and holds the state of a
    run. When the last one does not, the one before serves, and the log says so.

    Args:
        names, fetch: the checkpoints of a work directory elsewhere, and what brings one here.

    Raises:
        CheckpointError: there are checkpoints and every one of them is damaged.
    """
    paths = candidates(work_dir, say, names)
    for number, path in enumerate(paths):
        try:
            if fetch is not None:
                fetch(path.name)
            return path, load_verified(path)
        except (CheckpointError, OSError) as error:  # OSError: a disk that cannot read it
            rest = 'trying the one before' if number + 1 < len(paths) else 'there is none before'
            say(f'{path.name} cannot be resumed from ({error}); {rest}.')
    if paths:
        raise CheckpointError(
            f'{work_dir}: none of its {len(paths)} checkpoints can be read; move them away to '
            'start from nothing, or name another with --resume PATH'
        )
    return None
