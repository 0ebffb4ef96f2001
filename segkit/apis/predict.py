"""Predictions of many pictures as files: masks, overlays, and one JSON with class shares."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from segkit.whole_file import write_text

from .inference import predict_stream
from .show import show_result
from .sources import VIDEO_SUFFIXES, Picture, Source, pictures


def predict_to_folder(
    model: nn.Module,
    sources: Source,
    out_dir: str | Path,
    aug_test: bool = False,
    batch_size: int = 1,
    opacity: float = 0.5,
    on_error: Callable[[str], None] | None = None,
) -> int:
    """Write masks/, overlays/ and predictions.json under ``out_dir``; gives their number.

    ``on_error`` is told of each file that cannot be read, which is left out; without it that ends
    everything.

    The JSON is a list of dicts: name, path, width, height, mask, overlay (relative to the folder)
    and ``classes``, the share of the pixels of each class that was found, largest first.
    """
    from tqdm import tqdm

    out_dir = Path(out_dir)
    for folder in ('masks', 'overlays'):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    stream, total = pictures(sources), None
    if _all_files(sources):  # listing them costs nothing and gives the bar its ETA
        listed = list(stream)
        stream, total = iter(listed), len(listed)
    records, used = [], Counter[str]()
    results = predict_stream(model, stream, aug_test, batch_size, on_error)
    for picture, sample in tqdm(results, total=total, unit='image', desc='predicting'):
        name = _unused(picture.name, used)
        records.append(_write(picture, sample, model, name, out_dir, opacity))
    write_text(out_dir / 'predictions.json', json.dumps(records, indent=1))
    return len(records)


def _unused(name: str, used: Counter[str]) -> str:
    """``name``, or with the next number that makes it a new one; ``used`` counts each."""
    unused = name
    while unused in used:
        used[name] += 1
        unused = f'{name}_{used[name]}'
    used[unused] = 1
    return unused


def _all_files(sources: Source) -> bool:
    """Whether the sources are paths without a video, whose frames are not to be kept."""
    paths = [sources] if isinstance(sources, (str, Path)) else sources
    return isinstance(paths, Sequence) and all(
        isinstance(path, (str, Path)) and Path(path).suffix.lower() not in VIDEO_SUFFIXES
        for path in paths
    )


def _write(
    picture: Picture, sample: Any, model: nn.Module, name: str, out_dir: Path, opacity: float
) -> dict[str, Any]:
    import cv2

    labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
    kind = np.uint8 if labels.max(initial=0) < 256 else np.uint16
    mask, overlay = f'masks/{name}.png', f'overlays/{name}.png'
    if not cv2.imwrite(str(out_dir / mask), labels.astype(kind)):
        raise OSError(f"The mask could not be written to '{out_dir / mask}'.")
    image = picture.path if picture.array is None else picture.array
    assert image is not None, 'a picture is a path or an array'
    meta: Any = model.dataset_meta
    show_result(image, sample, model, opacity=opacity, out_file=out_dir / overlay)
    height, width = labels.shape
    return dict(
        name=name, path=picture.path, width=width, height=height, mask=mask, overlay=overlay,
        classes=_shares(labels, meta.get('classes')),
    )  # fmt: skip


def _shares(labels: np.ndarray, classes: Sequence[str] | None) -> dict[str, float]:
    counts = np.bincount(labels.ravel())
    order = np.argsort(-counts, kind='stable')
    names = classes or range(len(counts))
    return {str(names[i]): round(counts[i] / labels.size, 6) for i in order if counts[i]}
