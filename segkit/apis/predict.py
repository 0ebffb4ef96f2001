"""Predictions of many pictures as files: masks, overlays, and one JSON with class shares."""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os.path import lexists
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from mmengine.dist import barrier, get_dist_info, get_rank
from torch import nn
from tqdm import tqdm

from segkit.engine.checkpoints import weights_digest
from segkit.engine.dist import from_first_rank
from segkit.engine.folders import make_folder
from segkit.errors import UserError
from segkit.outputs import check_outputs, output_file
from segkit.structures import SegDataSample
from segkit.visualization.certainty import CONFIDENCE, PROBABILITIES, write_certainty

from .inference import certainty_settings, predict_stream
from .named_pictures import NamedPictures, plain_name
from .predict_resume import Done, Entry, Journal, earlier, finish, stamps, start, write_records
from .show import show_result
from .sources import VIDEO_SUFFIXES, Picture, Source, is_live, pictures

if TYPE_CHECKING:
    from .model import ReadyNetwork

WRITER = 'predict'


def predict_to_folder(
    model: nn.Module,
    sources: Source,
    out_dir: str | Path,
    aug_test: bool = False,
    batch_size: int = 1,
    opacity: float = 0.5,
    on_error: Callable[[str], None] | None = None,
    *,
    confidence: bool = False,
    probabilities: bool = False,
    unknown_below: float | None = None,
    palette: Sequence[Sequence[int]] | None = None,
    resume: bool = False,
) -> int:
    """Write masks/, overlays/ and predictions.json under ``out_dir``; gives their number.

    ``confidence`` adds confidence/ (grey pictures: the probability of the predicted class in 255
    steps), ``probabilities`` probabilities/ (those of all classes, (K, H, W) float16 in .npy);
    ``unknown_below`` makes pixels whose class has a lower probability 255, left bare in overlays.

    ``on_error`` is told of each file that cannot be read, which is left out; without it that ends
    everything. What an earlier call wrote is written over, nothing else; ``resume`` goes on with
    one that did not come to its end. The processes of a job that has been joined share the
    pictures, and the result is that of one process.

    The JSON is a list of dicts: name, path, width, height, mask, overlay (relative to the folder,
    in the sub-folders that the files had) and ``classes``, the share of the
    pixels of each class that was found, largest first; 'unknown' is one of them.
    """
    out_dir = Path(out_dir)
    rank, ranks = get_dist_info()
    kinds = [CONFIDENCE] * confidence + [PROBABILITIES] * probabilities
    looks = dict(opacity=opacity, palette=palette)
    wanted = certainty_settings(confidence, probabilities, unknown_below)
    options = dict(looks, aug_test=aug_test, kinds=kinds, **wanted)
    walk, total = _walk(sources, ranks)
    number = _begin(out_dir, model, options, walk, kinds, resume)
    journal = Journal(out_dir, number, rank, ranks)
    done = Done(out_dir, earlier(out_dir, number))
    todo = _Todo(walk, done, journal)
    results = predict_stream(model, iter(todo), aug_test, batch_size, on_error, wanted)
    share = None if total is None else len(range(rank, total, ranks))
    with tqdm(total=share, unit='image', desc='predicting', disable=rank > 0) as bar:
        todo.bar = bar
        for picture, sample in results:
            position, name = todo.place_of(picture)
            record = _write(picture, sample, model, name, out_dir, opacity, palette)
            for made in write_certainty(sample, out_dir, name, WRITER):
                record[made.partition('/')[0]] = made
            files = [str(record[key]) for key in ('mask', 'overlay', *_MORE) if key in record]
            journal.add(Entry(position, name, picture.path, stamps(out_dir, files), record))
            bar.update()
    todo.flush()
    return _end(out_dir, journal)


_MORE = ('confidence', 'probabilities')
Walked = Iterable[tuple[int, str, Picture]]


def _walk(sources: Source, ranks: int) -> tuple[Walked, int | None]:
    """The pictures with their positions and names, and how many where that can be known."""
    if _all_files(sources):
        walk = NamedPictures(lambda: pictures(sources))
        return walk, walk.count
    if ranks > 1 and not _can_share(sources):
        raise UserError(
            'a camera, a stream or a generator gives its pictures once, to one process: predict '
            'it without torchrun or srun.'
        )
    used = Counter[str]()
    named = ((i, _unused(picture, used), picture) for i, picture in enumerate(pictures(sources)))
    return named, None


def _begin(
    out_dir: Path,
    model: nn.Module,
    options: Mapping[str, object],
    walk: Walked,
    kinds: Sequence[str],
    resume: bool,
) -> int:
    """Look at what is there before anything is written; the number of this start, on all ranks."""
    found: list = [0, None, getattr(walk, 'digest', '')]
    if get_rank() == 0:
        try:
            if isinstance(walk, NamedPictures) and not resume:
                _refuse_overwriting(walk, out_dir, kinds)
            make_folder('--out-dir', out_dir)
            found[0] = start(out_dir, _settings(model, options), resume)
        except Exception as error:
            found[1] = error
    number, failure, digest = from_first_rank(found)
    if failure is not None:
        raise failure
    if digest != getattr(walk, 'digest', ''):
        raise UserError(
            f'{out_dir}: rank {get_rank()} finds other pictures than rank 0: all of them must see '
            'the same files.'
        )
    return number


def _settings(model: nn.Module, options: Mapping[str, object]) -> dict[str, str]:
    """What decides the bytes of a result: hashes of the weights, the config and the options."""
    config = json.dumps(cast('ReadyNetwork', model).cfg.to_dict(), default=str, sort_keys=True)
    shown = json.dumps(dict(options), default=str, sort_keys=True)
    texts = dict(config=config, options=shown)
    hashes = {key: hashlib.blake2b(text.encode(), digest_size=16) for key, text in texts.items()}
    found = {key: digest.hexdigest() for key, digest in hashes.items()}
    return dict(found, weights=weights_digest(model))


class _Todo:
    """The pictures of this rank that are still to be predicted; knows their places in the whole."""

    def __init__(self, walk: Walked, done: Done, journal: Journal) -> None:
        self.walk, self.done, self.journal = walk, done, journal
        self.bar: tqdm | None = None
        self._places: deque[tuple[Picture, int, str]] = deque()
        self._late: deque[Entry] = deque()

    def __iter__(self) -> Iterator[Picture]:
        for position, name, picture in self.walk:
            if position % self.journal.ranks != self.journal.rank:
                continue
            entry = self.done.find(position, name, picture.path)
            if entry is None:
                self._places.append((picture, position, name))
                yield picture
                continue
            if self.bar is not None:
                self.bar.update()
            # Lines are in order: those of pictures that are being predicted come first.
            self._late.append(entry)
            self._write_late(self._places[0][1] if self._places else position + 1)

    def place_of(self, picture: Picture) -> tuple[int, str]:
        """Position and name; pictures before it could not be read."""
        while True:
            own, position, name = self._places.popleft()
            if own is picture:
                self._write_late(position)
                return position, name

    def _write_late(self, before: int) -> None:
        while self._late and self._late[0].position < before:
            self.journal.add(self._late.popleft())

    def flush(self) -> None:
        """At the end: what is left."""
        self._write_late(1 << 62)


def _end(out_dir: Path, journal: Journal) -> int:
    """All ranks have come to their ends: one writes what there is of all."""
    journal.done()
    journal.wait()
    barrier()
    count = 0
    if journal.rank == 0:
        count = write_records(out_dir / 'predictions.json', journal.entries(), WRITER)
        finish(out_dir)
    return from_first_rank(count)


def _refuse_overwriting(walk: NamedPictures, out_dir: Path, kinds: Sequence[str] = ()) -> None:
    """Before the first prediction: what of all that it will write is there already."""

    def there() -> Iterator[Path]:
        for _, name, _ in walk:
            files = [*_files_of(name), *(kind.format(name) for kind in kinds)]
            yield from (path for file in files if lexists(path := out_dir / file))

    paths = [*there(), out_dir / 'predictions.json']
    inputs = (picture.path for _, _, picture in walk if picture.path)
    check_outputs('--out-dir', WRITER, paths, inputs)


def _files_of(name: str) -> tuple[str, str]:
    """Mask and overlay of a picture, relative to the folder."""
    return f'masks/{name}.png', f'overlays/{name}.png'


def _unused(picture: Picture, used: Counter[str]) -> str:
    """Its name, in its sub-folder, or with the next number that makes it a new one in any letter
    case; ``used`` counts each."""
    unused = name = plain_name(picture)
    while unused.lower() in used:
        used[name.lower()] += 1
        unused = f'{name}_{used[name.lower()]}'
    used[unused.lower()] = 1
    return unused


def _paths(sources: Source) -> list[str | Path]:
    """The sources, where all of them are paths; else nothing."""
    found = [sources] if isinstance(sources, (str, Path)) else sources
    if not isinstance(found, Sequence):
        return []
    paths = [path for path in found if isinstance(path, (str, Path))]
    return paths if len(paths) == len(found) else []


def _can_share(sources: Source) -> bool:
    """Whether every process can read them for itself: files and videos' files."""
    paths = _paths(sources)
    return bool(paths) and not any(is_live(path) for path in paths)


def _all_files(sources: Source) -> bool:
    """Whether the sources are paths without a video, whose frames are not to be kept."""
    video = any(Path(path).suffix.lower() in VIDEO_SUFFIXES for path in _paths(sources))
    return _can_share(sources) and not video


def _write(
    picture: Picture,
    sample: SegDataSample,
    model: nn.Module,
    name: str,
    out_dir: Path,
    opacity: float,
    palette: Sequence[Sequence[int]] | None,
) -> dict[str, object]:
    import cv2

    labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
    kind = np.uint8 if labels.max(initial=0) < 256 else np.uint16
    image = picture.path if picture.array is None else picture.array
    assert image is not None, 'a picture is a path or an array'
    mask, overlay = _files_of(name)
    drawn = show_result(image, sample, model, palette=palette, opacity=opacity)
    for file, array in ((mask, labels.astype(kind)), (overlay, drawn)):
        with output_file(out_dir / file, WRITER) as target:
            target.write(cv2.imencode('.png', array)[1].tobytes())
    height, width = labels.shape
    return dict(
        name=name, path=picture.path, width=width, height=height, mask=mask, overlay=overlay,
        classes=_shares(labels, cast('ReadyNetwork', model).dataset_meta.get('classes')),
    )  # fmt: skip


def _shares(labels: np.ndarray, classes: Sequence[str] | None) -> dict[str, float]:
    counts = np.bincount(labels.ravel())
    order = np.argsort(-counts, kind='stable')
    names = classes or range(len(counts))
    if len(counts) > len(names):  # 255 among a few classes: where the network was unsure
        names = [*names, *['unknown'] * (len(counts) - len(names))]
    return {str(names[i]): round(counts[i] / labels.size, 6) for i in order if counts[i]}
