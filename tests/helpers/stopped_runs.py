"""Runs stopped at any point, by anything, gone on with, and compared with one never stopped.

A process that has imported everything and trains nothing forks one for each run, so that a kill is
a kill, and a run costs what it takes and no start of Python.
"""

import json
import os
import re
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from helpers.fault_child import free_port
from helpers.object_store import forget_connections
from helpers.runs import CrashError, differences, read
from helpers.small_runs import OPTIONS, small_config

from segkit.engine import Runner, components, stops  # noqa: F401  (all the engine registers)
from segkit.engine.dist import leave_dist
from segkit.engine.env import commit
from segkit.storage import is_remote

KINDS = dict(
    term=signal.SIGTERM, usr1=signal.SIGUSR1, ctrl_c=signal.SIGINT, error=None, kill=signal.SIGKILL,
    term_kill=signal.SIGTERM,
)  # fmt: skip
# 0: the run was over.
STATUSES = dict(
    term=(75, 0), usr1=(75, 0), ctrl_c=(130, 0), error=(3,), kill=(-9,), term_kill=(-9, 75, 0)
)


@dataclass(frozen=True)
class Event:
    """The ``number``th time that a run comes to ``point``: before or after a hook point, a step of
    the model, or the replacing of a file."""

    point: str
    number: int


class Points:
    """Counts events in a run, notes them, and stops it at one of them."""

    def __init__(self, at: Event | None, kind: str) -> None:
        self.at, self.kind = at, kind
        self.counts: Counter[str] = Counter()
        self.seen: list[Event] = []

    def reach(self, point: str) -> None:
        event = Event(point, self.counts[point])
        self.counts[point] += 1
        self.seen.append(event)
        if event == self.at:
            if self.kind == 'term_kill':  # while it saves what the signal had it save
                self.at, self.kind = Event('before replace last_checkpoint', 0), 'kill'
                self.at = Event(self.at.point, self.counts[self.at.point])
                os.kill(os.getpid(), signal.SIGTERM)
            elif self.kind == 'error':
                raise CrashError
            else:
                os.kill(os.getpid(), KINDS[self.kind])

    def around(self, function: Callable, name: Callable[..., str]) -> Callable:
        """``function``, with an event before it and one after."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            point = name(*args)
            self.reach(f'before {point}')
            result = function(*args, **kwargs)
            self.reach(f'after {point}')
            return result

        return watched

    def watch(self, runner: Runner) -> None:
        runner.call_hook = self.around(runner.call_hook, lambda name: name)
        model = runner.model
        model.train_step = self.around(model.train_step, lambda *_: 'train_step')
        model.val_step = self.around(model.val_step, lambda *_: 'val_step')
        os.replace = self.around(os.replace, lambda _, path: f'replace {_kind_of(path)}')


def _kind_of(path: str | os.PathLike) -> str:
    """A file by what it is: the number in its name is not part of that."""
    return re.sub(r'\d+', 'N', Path(path).name)


def _run(work_dir: Path, option: str, at: Event | None, kind: str, log: Path) -> None:
    """Train in this process; ends it. Status 3 is the error that was put in."""
    stops.watch()
    points, status = Points(at, kind), 1
    try:
        cfg = small_config(work_dir, option, resume='auto')
        runner = Runner.from_cfg(cfg)
        points.watch(runner)
        runner.train()
        leave_dist()
        status = 0
    except SystemExit as end:
        status = end.code
    except CrashError:
        status = 3
    except KeyboardInterrupt:  # before the training
        status = stops.INTERRUPTED
    except BaseException:
        traceback.print_exc()
    finally:
        seen = [[event.point, event.number] for event in points.seen]
        log.with_suffix('.json').write_text(json.dumps(seen))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def forked(work_dir: Path, option: str, at: Event | None, kind: str, log: Path, ranks: int = 1,
           stopped: int = 0) -> list[int]:  # fmt: skip
    """One run in forks of this process, one a rank, of which ``stopped`` alone is stopped; the
    status of each, or minus its signal."""
    sys.stdout.flush()
    job = dict(WORLD_SIZE=str(ranks), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
    pids = []
    for rank in range(ranks):
        if not (pid := os.fork()):
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            if ranks > 1:
                own = dict(RANK=str(rank), LOCAL_RANK=str(rank), TORCHELASTIC_RUN_ID='test')
                os.environ.update({**job, **own})
            own_log = log if rank == stopped else log.with_name(f'rank{rank}_{log.name}')
            _run(work_dir, option, at if rank == stopped else None, kind, own_log)
        pids.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


# -- what is left ----------------------------------------------------------------------------------

_CLOCKS = {'time', 'data_time', 'eta', 'memory', 'val/time', 'val/data_time'}
_OF_THE_START = {'time', 'experiment_name', 'cfg', 'config_json'}
# What a stop leaves to be removed later, beside what clocks and starts say.
_OF_THE_STOP = {'eta', 'cfg', 'experiment_name', 'surplus_checkpoints', 'saved_to_stop'}
_OF_THE_CARD = {
    'experiment', 'wall_time_s', 'iterations_this_start', 'images_per_s', 'peak_memory_mb',
    'config_sha256', 'config', 'commit', 'environment',
}  # fmt: skip


def files_of(work_dir: Path, option: str) -> dict[str, Any]:
    """All that a run left, without what clocks say, by name: contents of checkpoints, the pointer,
    the card, the scalars; other files by their names alone."""
    folders = [work_dir, work_dir.with_name(work_dir.name + '_elsewhere')]
    address = OPTIONS[option].get('work_dir', '')
    if is_remote(address):
        folders = [
            _fetched(address.replace('RUN', f'{work_dir.parent.name}_{work_dir.name}'), work_dir)
        ]
    left: dict[str, Any] = {}
    for folder in folders:
        for path in sorted(folder.rglob('*')):
            name = re.sub(r'\d{8}_\d{6}(_\d+)?', 'TIME', path.relative_to(folder).as_posix())
            name = name.replace(work_dir.name, 'RUN')
            if path.is_file():
                left[f'{folder.name[len(work_dir.name) :]}{name}'] = _content(path, left.get(name))
    for content in left.values():
        if isinstance(content, dict) and 'last_ckpt' in content:
            content['last_ckpt'] = Path(content['last_ckpt']).name
    return left


def _fetched(address: str, work_dir: Path) -> Path:
    from segkit.storage import stores

    folder = work_dir.with_name(work_dir.name + '_store')
    for name in stores.find(address):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stores.read_all(f'{address}/{name}'))
    return folder.rename(work_dir)


def _content(path: Path, before: Any) -> Any:
    if path.suffix == '.pth':
        return _checkpoint(path)
    if path.name == 'run.json':
        card = json.loads(path.read_text())
        return {key: value for key, value in card.items() if key not in _OF_THE_CARD}
    if path.name == 'last_checkpoint':
        return Path(path.read_text()).name
    if path.name == 'scalars.json':
        lines = dict(before or {})
        for text in path.read_text().splitlines():
            line = {k: v for k, v in json.loads(text).items() if k not in _CLOCKS}
            kind = 'train' if 'loss' in line and 'mIoU' not in line else 'val'
            lines.setdefault(f'{kind} {line["step"]}', line)
            if lines[f'{kind} {line["step"]}'] != line:
                lines[f'{kind} {line["step"]}, another time'] = line
        return lines
    return None


def _checkpoint(path: Path) -> dict:
    checkpoint = read(path)
    checkpoint['meta'] = {k: v for k, v in checkpoint['meta'].items() if k not in _OF_THE_START}
    hub = checkpoint['message_hub']
    hub['history'] = {k: v for k, v in hub['history'].items() if 'time' not in k}
    hub['runtime_info'] = {k: v for k, v in hub['runtime_info'].items() if k not in _OF_THE_STOP}
    del hub['resumed_keys']
    return checkpoint


# -- trials ----------------------------------------------------------------------------------------


def warm_up(folder: Path) -> None:
    """Import and cache what the first run of a process does; trains nothing, which may not be
    forked."""
    torch.set_num_threads(1)
    runner = Runner.from_cfg(small_config(folder, 'plain'))
    runner._build_training()
    commit()
    forget_connections()


class Straight:
    """The runs that nothing happened to, by option; each is made once."""

    def __init__(self, folder: Path, ranks: int = 1) -> None:
        self.folder, self.ranks = folder, ranks
        self.made: dict[str, tuple[dict[str, Any], list[Event]]] = {}

    def __call__(self, option: str) -> tuple[dict[str, Any], list[Event]]:
        """What it left, and all that it came to."""
        if option not in self.made:
            run = Run(self.folder / 'straight', option, self.ranks)
            assert run.go() == {0}, run.log.read_text()[-3000:]
            self.made[option] = run.left(), run.events()
        return self.made[option]


class Run:
    """One work directory, and the runs in it."""

    def __init__(self, folder: Path, option: str, ranks: int = 1) -> None:
        self.ranks = ranks
        self.work_dir = folder / re.sub(r'\W+', '_', option)
        self.option, self.log = option, folder / f'{self.work_dir.name}.log'
        folder.mkdir(parents=True, exist_ok=True)

    def go(self, at: Event | None = None, kind: str = 'error', stopped: int = 0) -> set[int]:
        """The statuses of its ranks."""
        run = self.work_dir, self.option, at, kind, self.log
        return set(forked(*run, ranks=self.ranks, stopped=stopped))

    def left(self) -> dict[str, Any]:
        return files_of(self.work_dir, self.option)

    def events(self) -> list[Event]:
        """Of the last run."""
        return [Event(*event) for event in json.loads(self.log.with_suffix('.json').read_text())]


Stop = tuple[Event, str]


def trial(
    folder: Path, option: str, stops_at: Iterable[Stop], straight: Straight, stopped: int = 0
) -> tuple[str, list[Stop]]:
    """Stop a run, or one rank of it, at each of the events in turn, then let it end.

    Returns:
        '' if it is as one never stopped, else what differs; and the stops it came to.
    """
    run, saved, made = Run(folder, option, straight.ranks), set[str](), []
    for event, kind in stops_at:
        status = run.go(event, kind, stopped)
        if status != {0} or event in run.events():
            made.append((event, kind))
        if made and not (len(status) == 1 and status <= set(STATUSES[kind])):
            return f'{option}, {made}: status {status}\n{run.log.read_text()[-3000:]}', made
        saved |= {path.name for path in folder.rglob('*.pth')}
    if (status := run.go()) != {0}:
        return f'{option}, {made}: going on: {status}\n{run.log.read_text()[-3000:]}', made
    expected, left = straight(option)[0], run.left()
    if option == 'all kept':  # what a stop saved stays
        left = {
            k: v
            for k, v in left.items()
            if k in expected or k.removeprefix('_elsewhere') not in saved
        }
    found = differences(expected, left)
    shutil.rmtree(folder)
    return (f'{option}, {made}: {found[:6]}' if found else ''), made


# Of runs that go on from a checkpoint.
LATER = [
    (Event('before after_load_checkpoint', 0), 'term'),
    (Event('after after_load_checkpoint', 0), 'kill'),
    (Event('before before_train', 0), 'error'),
    (Event('after before_train_epoch', 0), 'usr1'),
    (Event('before after_train_iter', 0), 'ctrl_c'),
    (Event('before before_val_iter', 0), 'term'),
    (Event('before checkpoint_written', 0), 'kill'),
    (Event('before after_run', 0), 'error'),
]


def all_stops(events: list[Event]) -> list[Stop]:
    """What can happen at each of them: a kill matters where files change, all else where code
    runs."""
    found = []
    for number, event in enumerate(events):
        side, _, point = event.point.partition(' ')
        if point.startswith('replace'):
            found.append((event, 'kill'))
            continue
        found.append((event, ('term', 'usr1', 'ctrl_c', 'term_kill')[number % 4]))
        if side == 'before':
            found.append((event, 'error'))
    return found


def few_stops(straight: Straight) -> Iterator[tuple[str, list[Stop]]]:
    """(option, stops) of each option: points, kinds and sides that came least before; each third
    run is stopped once more, where it goes on."""
    came: Counter[str] = Counter()
    for number, option in enumerate(OPTIONS):
        every = all_stops(straight(option)[1])
        every = every[number * 7 % len(every) :] + every[: number * 7 % len(every)]
        stop = min(every, key=lambda stop: [came[part] for part in parts_of(stop)])
        came.update(parts_of(stop))
        again = [LATER[number // 3 % len(LATER)]] if number % 3 == 0 else []
        yield option, [stop, *again]


def parts_of(stop: Stop) -> list[str]:
    """The point, the kind and the side of a stop, by which few are chosen from all."""
    side, _, point = stop[0].point.partition(' ')
    return [point, stop[1], side]


def sweep(folder: str, option: str | None, environment: dict[str, str]) -> None:
    """In a process of its own: try all stops of an option, or few of all; write what was tried and
    what differs to ``folder/said.json``."""
    os.environ.update(environment)
    place = Path(folder)
    warm_up(place / 'warm')
    straight = Straight(place)
    tried: Iterable = few_stops(straight)
    if option is not None:
        tried = ((option, [stop]) for stop in all_stops(straight(option)[1]))
    said, stops_made = [], []
    for number, (name, stops_at) in enumerate(tried):
        unlike, made = trial(place / f'trial{number}', name, stops_at, straight)
        said.append(unlike)
        stops_made += [[name, *parts_of(stop)] for stop in made]
    text = json.dumps(dict(said=[line for line in said if line], made=stops_made))
    (place / 'said.json').write_text(text)


def sweep_ranks(folder: str, every: int) -> None:
    """As ``sweep``, of two ranks, one of which hears a signal at each ``every``th point."""
    place = Path(folder)
    warm_up(place / 'warm')
    straight, said, made = Straight(place, ranks=2), [], []
    events = straight('two ranks')[1]
    names = [event.point for event in events]
    first, last = names.index('after before_train'), names.index('before after_train')
    inside = [event for event in events[first:last] if 'replace' not in event.point]
    for number, event in enumerate(inside[::every]):
        rank = number % 2
        if rank:  # which has fewer batches to validate
            event = Event(event.point, event.number // 2)
        stop = event, 'term'
        unlike, came = trial(place / f'trial{number}', 'two ranks', [stop], straight, rank)
        said.append(unlike)
        made += [[rank, *parts_of(stop)] for stop in came]
    text = json.dumps(dict(said=[line for line in said if line], made=made))
    (place / 'said.json').write_text(text)
