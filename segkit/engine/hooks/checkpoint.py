"""When to save, what to keep: the new file is safe before an old one goes.

mmengine deletes the oldest checkpoint before it writes the new one, and notes absolute paths, so
that a crash while writing may leave none and a moved work directory cannot be resumed.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from segkit.engine.checkpoints import POINTER, noted, publish
from segkit.engine.errors import TrainingError
from segkit.engine.hooks.each_iteration import Given
from segkit.engine.hooks.watched_score import better_rules, listed, watched_score
from segkit.engine.loops_of_others import counts_epochs, ends_epoch, epoch_length
from segkit.engine.validation import ValLoop
from segkit.errors import ConfigError, UserError
from segkit.registry import HOOKS
from segkit.weights import load_checkpoint
from segkit.whole_file import remove_leftovers, write_text

if TYPE_CHECKING:
    from segkit.engine.runner import Runner

_BEST = 'best_checkpoints'
_KEPT = 'kept_checkpoints'
_WITHOUT_SCORES = 'without_scores'  # a checkpoint saved before the validation due with it
_STOPPED = 'saved_to_stop'  # one saved because the run was to stop, of no place among those kept
_SURPLUS = 'surplus_checkpoints'  # those whose place the file that says so has taken


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Save periodically, at the end, and whenever a validation scalar is better than ever.

    Args:
        interval: iterations (or epochs) between checkpoints; that of validation when not given,
            never when -1.
        by_epoch: whether ``interval`` counts epochs.
        save_optimizer, save_param_scheduler: what resuming needs beside the weights.
        out_dir: where to save; the work directory when not given.
        max_keep_ckpts: periodic checkpoints to keep; all when -1. The best ones do not count; what
            a signal had saved goes once the next one is safe, unless all are kept.
        save_last: whether the end of training is saved whatever the interval.
        save_best: a scalar of validation ('mIoU', 'val_loss', ...), the score of a class
            ('IoU.water'), or several; 'auto' is mIoU, or the first scalar where there is none.
        rule: 'greater' or 'less' for all of them, or one each; told from the names if not given.
        greater_keys, less_keys: further names, or parts of them, that tell so.
        published_keys: parts of a checkpoint ('meta', 'state_dict', ...). At the end the last and
            the best are written once more with these alone, named after what they hold.
        save_begin: no periodic checkpoint before this iteration.
        filename_tmpl: name with one '{}' for the iteration.
        file_client_args, backend_args: 'local' as ``backend``, or nothing: a store is named by the
            work directory.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int | None = None,
        by_epoch: bool = False,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        save_best: str | list[str] | None = None,
        rule: str | Sequence[str] | None = None,
        save_begin: int = 0,
        filename_tmpl: str | None = None,
        greater_keys: str | Sequence[str] | None = None,
        less_keys: str | Sequence[str] | None = None,
        published_keys: str | Sequence[str] | None = None,
        file_client_args: Mapping | None = None,
        backend_args: Mapping | None = None,
    ) -> None:
        _refuse_stores(dict(file_client_args=file_client_args, backend_args=backend_args), out_dir)
        self.interval: int | Any = interval  # None until it is known how often to validate
        self.by_epoch = by_epoch
        parts = dict(save_optimizer=save_optimizer, save_param_scheduler=save_param_scheduler)
        self.parts: dict[str, Any] = parts
        self.out_dir = out_dir
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.save_best = [save_best] if isinstance(save_best, str) else list(save_best or [])
        self._told = listed(greater_keys), listed(less_keys)
        self.rules = better_rules(self.save_best, rule, *self._told)
        self.published_keys = listed(published_keys)
        self.save_begin = save_begin
        self.filename_tmpl = filename_tmpl or ('epoch_{}.pth' if by_epoch else 'iter_{}.pth')
        self.folder: Path | Any = None  # None until training begins
        self.last_ckpt: str | None = None
        self._saved_at: int | None = None
        # (name, meta) of what is saved with the scores of the validation under way.
        self._due: tuple[str, dict[str, int]] | None = None

    def before_train(self, runner: 'Runner') -> None:
        self.folder = Path(self.out_dir or runner.work_dir)
        if self.by_epoch and not counts_epochs(runner.train_loop):
            self._count_iterations(runner)
        if self.interval is None:
            self.interval = runner.val_interval if runner._val_loop is not None else -1
            if not self.by_epoch:  # while those of validation may be
                self.interval *= epoch_length(runner.train_loop) or 1
        if self.save_best and runner._val_loop is None:
            self.save_best = []
        self.last_ckpt = runner.message_hub.get_info('last_ckpt')
        due = runner.message_hub.pop_info(_WITHOUT_SCORES)
        if due and runner.iter and self._scores_follow(runner, runner.iter):
            self._due = due['name'], due['meta']
        if is_main_process():
            self._finish_saving(runner)
            for name in {n for f in (self.folder, runner.work_dir) for n in remove_leftovers(f)}:
                runner.logger.info(f'Removed {name}, left by a run killed while saving.')

    def _count_iterations(self, runner: 'Runner') -> None:
        """A loop by iterations has one endless epoch, at whose end all would be saved at last."""
        self.by_epoch, self.interval = False, None
        self.filename_tmpl = self.filename_tmpl.replace('epoch_{}', 'iter_{}')
        runner.logger.warning(
            'default_hooks.checkpoint.by_epoch=True counts epochs, but train_cfg counts iterations '
            f'(max_iters): saving at every validation instead, each {runner.val_interval} '
            'iterations. Set by_epoch=False and an interval in iterations.'
        )

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Given = None, outputs: Given = None
    ) -> None:
        if self.by_epoch:
            return
        done = runner.iter + 1
        due = self.interval > 0 and done >= self.save_begin and done % self.interval == 0
        if due or (self.save_last and done == runner.max_iters):
            self._save_or_wait(runner, done, dict(epoch=runner.epoch, iter=done))

    def after_train_epoch(self, runner: 'Runner') -> None:
        if not self.by_epoch:
            if self._due is not None and not self._scores_follow(runner, runner.iter):
                self._save(runner, *self._due)
            return
        if self.every_n_epochs(runner, self.interval, self.save_begin) or (
            self.save_last and self.is_last_train_epoch(runner)
        ):
            done = runner.epoch + 1
            self._save_or_wait(runner, done, dict(epoch=done, iter=runner.iter))

    def _save_or_wait(self, runner: 'Runner', done: int, meta: dict[str, int]) -> None:
        """Save now, or once what follows at this iteration is done, from which a resumed run starts
        too: the steps of schedules by epochs, the scores of a validation."""
        self._due = self.filename_tmpl.format(done), meta
        waits = not self.by_epoch and ends_epoch(runner.train_loop, done)
        if not waits and not self._scores_follow(runner, meta['iter']):
            self._save(runner, *self._due)

    @staticmethod
    def _scores_follow(runner: 'Runner', done: int) -> bool:
        """Of a validation of ours, which has the file written should it fail."""
        follows = getattr(runner.train_loop, 'validates_after', None)  # a loop of others has none
        return follows is not None and follows(done) and isinstance(runner.val_loop, ValLoop)

    def save_now(self, runner: 'Runner', done: int, for_good: bool = False) -> None:
        """Save after ``done`` iterations, unless that has just been saved; ``for_good``: the run
        ends here, and is not to go on."""
        if self._due is not None:
            # The validation did not end: a resumed run validates, and saves this file again.
            name, meta = self._due
            runner.message_hub.update_info(_WITHOUT_SCORES, dict(name=name, meta=meta))
            self._save_to_stop(runner, name, meta)
        elif self._saved_at != done:
            name = ('iter_{}.pth' if self.by_epoch else self.filename_tmpl).format(done)
            save = self._save if for_good else self._save_to_stop
            save(runner, name, dict(epoch=runner.epoch, iter=done))

    def _save(self, runner: 'Runner', name: str, meta: dict, surplus: Sequence[str] = ()) -> None:
        """Save one of those to keep; ``surplus``, and those it takes the place of, go after it."""
        kept, old = self._rotate(runner.message_hub.get_info(_KEPT, []), name)
        stopped = _names(runner.message_hub.pop_info(_STOPPED))
        if self.max_keep_ckpts > 0:
            old += stopped
        surplus = [file for file in [*old, *surplus] if file not in kept]
        runner.message_hub.update_info(_KEPT, kept)
        runner.message_hub.update_info('last_ckpt', name)
        runner.message_hub.update_info(_SURPLUS, surplus)
        self._write(runner, name, meta)

    def _save_to_stop(self, runner: 'Runner', name: str, meta: dict) -> None:
        """Save where no checkpoint is due: a resumed run keeps those that one never stopped would
        have, and this one until then."""
        before = _names(runner.message_hub.pop_info(_STOPPED))
        old = [file for file in before if file != name] if self.max_keep_ckpts > 0 else []
        runner.message_hub.update_info(_SURPLUS, old)
        runner.message_hub.update_info(_STOPPED, [name])
        self._write(runner, name, meta)

    def _write(self, runner: 'Runner', name: str, meta: dict) -> None:
        self._due, self.last_ckpt, self._saved_at = None, name, meta['iter']
        runner.save_checkpoint(str(self.folder), name, meta=dict(meta), **self.parts)
        runner.logger.info(f'Saved {name}.')
        runner.call_hook('checkpoint_written', folder=str(self.folder), done=meta['iter'])
        if is_main_process():
            self._point_to(runner, name)
            self._remove_surplus(runner)
        runner.call_hook('after_checkpoint', folder=str(self.folder))

    def _finish_saving(self, runner: 'Runner') -> None:
        """What a run killed right after it wrote the file it is resumed from had still to do."""
        last = getattr(runner, 'last_good', None)  # mmengine's Runner has none
        if last is not None and last.parent.resolve() != self.folder.resolve():
            return  # from the folder of another run
        if last is not None and not (Path(runner.work_dir) / POINTER).exists():
            runner.call_hook('checkpoint_written', folder=str(self.folder), done=runner.iter)
            self._point_to(runner, last.name)
        self._remove_surplus(runner)
        if self.max_keep_ckpts > 0 and (strays := self._strays(runner)):
            stopped = _names(runner.message_hub.get_info(_STOPPED))
            runner.message_hub.update_info(_STOPPED, [*stopped, *strays])

    def _strays(self, runner: 'Runner') -> list[str]:
        """Files saved to stop that ``last_checkpoint`` does not name, as the run was killed before:
        this one goes on from the one before, and shall remove them in their turn."""
        pointed = noted(Path(runner.work_dir), lambda text: None)
        later = [
            path
            for path in sorted(self.folder.glob('*.pth'))
            if int((re.findall(r'\d+', path.stem) or [0])[-1]) > runner.iter
        ]
        return [p.name for p in later if p != pointed and _saved_to_stop(p)]

    def _remove_surplus(self, runner: 'Runner') -> None:
        """What others have taken the place of."""
        kept = runner.message_hub.get_info(_KEPT, [])
        for name in runner.message_hub.get_info(_SURPLUS, []):
            if name not in kept and Path(name).name == name:
                _remove(runner, self.folder / name)

    def _rotate(self, kept: list[str], name: str) -> tuple[list[str], list[str]]:
        """(names to keep, names to remove) once ``name`` is written; ([], []) to keep all."""
        if self.max_keep_ckpts <= 0:
            return [], []
        names = [k for k in kept if k != name] + [name]
        return names[-self.max_keep_ckpts :], names[: -self.max_keep_ckpts]

    def _point_to(self, runner: 'Runner', name: str) -> None:
        """Have ``last_checkpoint`` name it, by its path from the work directory, which may be moved
        as a whole."""
        inside = self.folder.resolve() == Path(runner.work_dir).resolve()
        text = name if inside else str((self.folder / name).resolve())
        write_text(Path(runner.work_dir) / POINTER, text, durable=True)

    def after_val_epoch(self, runner: 'Runner', metrics: dict | None = None) -> None:
        if self.folder is None:  # validation alone
            return
        metrics = metrics or {}
        if 'auto' in self.save_best and metrics:
            name = 'mIoU' if 'mIoU' in metrics else next(iter(metrics))
            self.save_best = [name if n == 'auto' else n for n in self.save_best]
            self.rules |= better_rules([name], self.rules.get('auto'), *self._told)
        scores = {name: self._score(runner, name, metrics) for name in self.save_best}
        better = [name for name, score in scores.items() if self._better(runner, name, score)]
        surplus = [old for name in better for old in self._save_best(runner, name, scores[name])]
        if self._due is not None:
            self._save(runner, *self._due, surplus)
        elif is_main_process():
            for old in surplus:
                _remove(runner, self.folder / old)

    def after_train(self, runner: 'Runner') -> None:
        if not self.published_keys or not is_main_process():
            return
        best = runner.message_hub.get_info(_BEST, {}).values()
        for name in [self.last_ckpt, *(record['file'] for record in best)]:
            if name and (self.folder / name).is_file():
                written = publish(self.folder / name, self.published_keys)
                runner.logger.info(f'Published {name} as {written.name}.')

    def validation_failed(self, runner: 'Runner') -> None:
        """Called by the loop; a resumed run validates again."""
        runner.message_hub.pop_info('last_val_iter')
        self.save_now(runner, runner.iter)

    @staticmethod
    def _score(runner: 'Runner', name: str, metrics: dict) -> float:
        score = watched_score(runner, metrics, name)
        if score is None:
            raise TrainingError(
                f'default_hooks.checkpoint.save_best={name!r} is not among the scalars of '
                f'validation: {", ".join(sorted(metrics)) or "there are none"}'
            )
        return score

    def _better(self, runner: 'Runner', name: str, score: float) -> bool:
        best = runner.message_hub.get_info(_BEST, {}).get(name, {}).get('score')
        if best is None or not math.isfinite(score):
            return math.isfinite(score)
        return score > best if self.rules[name] == 'greater' else score < best

    def _save_best(self, runner: 'Runner', name: str, score: float) -> list[str]:
        """Returns the best before, to be removed once a checkpoint to go on from knows the new."""
        done = runner.epoch if self.by_epoch else runner.iter
        file = f'best_{name}_{self.filename_tmpl.format(done)}'.replace('/', '_')
        records = dict(runner.message_hub.get_info(_BEST, {}))
        old = records.get(name, {}).get('file', '')
        records[name] = dict(score=score, file=file)
        runner.message_hub.update_info(_BEST, records)
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        lean: dict[str, Any] = dict(save_optimizer=False, save_param_scheduler=False)
        runner.save_checkpoint(str(self.folder), file, meta=meta, **lean)
        runner.logger.info(f'Best {name} so far, {score:.4f}: saved {file}.')
        return [old] if old and old != file else []


def _refuse_stores(given: Mapping[str, Mapping | None], out_dir: str | None) -> None:
    """Files are put in place whole, and old ones removed, in a folder of this machine."""
    found = [f'{name}={dict(args)!r}' for name, args in given.items()
             if args and args.get('backend', 'local') not in ('local', 'disk')]  # fmt: skip
    found += [f'out_dir={out_dir!r}'] if '://' in str(out_dir or '') else []
    if found:
        raise ConfigError(
            f'default_hooks.checkpoint.{found[0]} is no folder of this machine: leave it out, and '
            'name the store by the work directory, as in work_dir=s3://BUCKET/FOLDER'
        )


def _names(found: str | list[str] | None) -> list[str]:
    """Names of files in the message hub, where one was once noted as it is."""
    return [found] if isinstance(found, str) else list(found or ())


def _saved_to_stop(path: Path) -> bool:
    """Whether a checkpoint says of itself that it was saved to stop."""
    try:
        info = load_checkpoint(path, mmap=True, check=False)['message_hub']['runtime_info']
    except (UserError, OSError, LookupError, TypeError):
        return False
    return path.name in _names(info.get(_STOPPED))


def _remove(runner: 'Runner', path: Path) -> None:
    """A checkpoint that others have taken the place of; in a store with the next upload."""
    path.unlink(missing_ok=True)
    remote = getattr(runner, 'remote', None)
    if remote is not None:
        remote.discard(path.name)
