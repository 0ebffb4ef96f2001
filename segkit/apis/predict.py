"""Predictions of many pictures as files: masks, overlays, and one JSON with class shares."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from torch import nn

from segkit.engine.folders import make_folder
from segkit.outputs import check_outputs, output_file
from segkit.structures import SegDataSample
from segkit.visualization.certainty import CONFIDENCE, PROBABILITIES, write_certainty

from .inference import certainty_settings, predict_stream
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
) -> int:
    """Write masks/, overlays/ and predictions.json under ``out_dir``; gives their number.

    ``confidence`` adds confidence/ (grey pictures: the probability of the predicted class in 255
    steps), ``probabilities`` probabilities/ (those of all classes, (K, H, W) float16 in .npy);
    ``unknown_below`` makes pixels whose class has a lower probability 255, left bare in overlays.

    ``on_error`` is told of each file that cannot be read, which is left out; without it that ends
    everything. What an earlier call wrote is written over, nothing else.

    The JSON is a list of dicts: name, path, width, height, mask, overlay (relative to the folder,
    in the sub-folders that the files had) and ``classes``, the share of the
    pixels of each class that was found, largest first; 'unknown' is one of them.
    """
    from tqdm import tqdm

    out_dir = Path(out_dir)
    stream, total = pictures(sources), None
    kinds = [CONFIDENCE] * confidence + [PROBABILITIES] * probabilities
    if _all_files(sources):  # listing them costs nothing and gives the bar its ETA
        listed = list(stream)
        stream, total = iter(listed), len(listed)
        _refuse_overwriting(listed, out_dir, kinds)
    make_folder('--out-dir', out_dir)
    records, used = [], Counter[str]()
    wanted = certainty_settings(confidence, probabilities, unknown_below)
    results = predict_stream(model, stream, aug_test, batch_size, on_error, wanted)
    for picture, sample in tqdm(results, total=total, unit='image', desc='predicting'):
        name = _unused(picture, used)
        record = _write(picture, sample, model, name, out_dir, opacity, palette)
        for made in write_certainty(sample, out_dir, name, WRITER):
            record[made.partition('/')[0]] = made
        records.append(record)
    with output_file(out_dir / 'predictions.json', WRITER) as file:
        file.write(json.dumps(records, indent=1).encode())
    return len(records)


def _refuse_overwriting(
    listed: Sequence[Picture], out_dir: Path, kinds: Sequence[str] = ()
) -> None:
    """Before the first prediction: what all of them will write."""
    used = Counter[str]()
    names = [_unused(picture, used) for picture in listed]
    paths = [out_dir / file for name in names for file in _files_of(name)]
    paths += [out_dir / kind.format(name) for name in names for kind in kinds]
    inputs = [picture.path for picture in listed if picture.path]
    check_outputs('--out-dir', WRITER, [*paths, out_dir / 'predictions.json'], inputs)


def _files_of(name: str) -> tuple[str, str]:
    """Mask and overlay of a picture, relative to the folder."""
    return f'masks/{name}.png', f'overlays/{name}.png'


def _unused(picture: Picture, used: Counter[str]) -> str:
    """Its name, in its sub-folder, or with the next number that makes it a new one in any letter
    case; ``used`` counts each."""
    unused = name = f'{picture.folder}/{picture.name}' if picture.folder else picture.name
    while unused.lower() in used:
        used[name.lower()] += 1
        unused = f'{name}_{used[name.lower()]}'
    used[unused.lower()] = 1
    return unused


def _all_files(sources: Source) -> bool:
    """Whether the sources are paths without a video, whose frames are not to be kept."""
    paths = [sources] if isinstance(sources, (str, Path)) else sources
    return isinstance(paths, Sequence) and all(
        isinstance(path, (str, Path))
        and not is_live(path)
        and Path(path).suffix.lower() not in VIDEO_SUFFIXES
        for path in paths
    )


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
