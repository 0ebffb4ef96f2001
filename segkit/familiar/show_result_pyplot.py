"""`show_result_pyplot`, with the arguments of both generations."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from segkit.apis import show_result
from segkit.structures import SegDataSample
from segkit.visualization.overlays import side_by_side, with_names

_SINCE_1 = (
    'opacity', 'title', 'draw_gt', 'draw_pred', 'wait_time', 'show', 'with_labels', 'save_dir',
    'out_file',
)  # fmt: skip
_BEFORE = ('palette', 'fig_size', 'opacity', 'title', 'block', 'out_file')


def show_result_pyplot(
    model: object, img: object, result: object, *args: object, **kwargs: object
) -> np.ndarray:
    """Colour an image by its predicted classes, and show it.

    The arguments after ``result`` are, in order, those since 1.0 (opacity=0.5, title='',
    draw_gt=True, draw_pred=True, wait_time=0, show=True, with_labels=True, save_dir=None,
    out_file=None) or those before it (palette=None, fig_size=(15, 10), opacity=0.5, title='',
    block=True, out_file=None): the fourth is a number or it is not. By name any of both.

    Args:
        model: of ``init_model``; its palette and class names are taken.
        img: path, or (H, W, 3) uint8 BGR.
        result: a SegDataSample, an (H, W) array, or the list that ``inference_segmentor`` gives.
        draw_gt: also show the label of ``result``, to the left, if it has one.
        with_labels: write the name of each class onto its largest area.
        show: open a matplotlib window (where there is a screen); until ``wait_time`` seconds are
            over, or for 0 until it is closed.
        save_dir: folder to write ``title`` (or 'result') .png into.

    Returns:
        The picture, (H, W', 3) uint8 RGB.
    """
    if not isinstance(model, nn.Module):  # show_result's order: img, result, model
        model, img, result = (result, model, img)
    options = _named(args, kwargs)
    model = getattr(model, 'module', model)
    panels, titles = [], []
    for wanted, labels, heading in _maps(result):
        if options.get(wanted, True):
            panels.append(_panel(model, img, labels, options))
            titles.append(heading)
    if not panels:
        panels = [_panel(model, img, np.full(_size(img), 255), options)]
    picture = side_by_side(panels, titles) if len(panels) > 1 else panels[0]
    _deliver(picture, options)
    return picture


def _named(args: Sequence, kwargs: dict[str, object]) -> dict[str, object]:
    """All options by name."""
    older = bool(args) and not isinstance(args[0], (int, float))
    names = _BEFORE if older else _SINCE_1
    if len(args) > len(names):
        raise TypeError(f'show_result_pyplot takes {", ".join(names)} after the result.')
    options = dict(zip(names, args))
    unknown = set(kwargs) - set(_BEFORE) - set(_SINCE_1)
    twice = set(kwargs) & set(options)
    if unknown or twice:
        name = sorted(unknown | twice)[0]
        problem = 'is given twice' if name in twice else 'is no argument'
        raise TypeError(f'show_result_pyplot: {name} {problem}.')
    return {**options, **kwargs}


def _maps(result: Any) -> list[tuple[str, np.ndarray, str]]:
    """(option that asks for it, (H, W) labels, heading), the label first."""
    if isinstance(result, (list, tuple)):
        result = result[0]
    if not isinstance(result, SegDataSample):
        return [('draw_pred', result, 'prediction')]
    kinds = (('draw_gt', 'gt_sem_seg', 'ground truth'), ('draw_pred', 'pred_sem_seg', 'prediction'))
    found = [(option, result.get(field), heading) for option, field, heading in kinds]
    return [
        (option, field.data.reshape(field.data.shape[-2:]).cpu().numpy(), heading)
        for option, field, heading in found
        if field is not None
    ]


def _size(img: object) -> tuple[int, int]:
    from segkit.visualization.images import read_rgb

    return (read_rgb(img) if isinstance(img, (str, Path)) else np.asarray(img)).shape[:2]


def _panel(model: object, img: object, labels: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    """(H, W, 3) RGB."""
    palette = options.get('palette')
    if palette is None:
        palette = getattr(model, 'PALETTE', None)
    opacity = options.get('opacity', 0.5)
    picture = show_result(img, labels, model, palette=palette, opacity=opacity)[..., ::-1]
    classes = (getattr(model, 'dataset_meta', None) or {}).get('classes')
    since_1 = not {'palette', 'fig_size', 'block'} & set(options)
    if options.get('with_labels', since_1) and classes:
        picture = with_names(picture, labels, classes)
    return np.ascontiguousarray(picture)


def _deliver(picture: np.ndarray, options: dict[str, Any]) -> None:
    """Into files and a window, as asked for."""
    from segkit.visualization.local_visualizer import write_image

    title = str(options.get('title') or '')
    files = [options['out_file']] if options.get('out_file') else []
    if options.get('save_dir'):
        files.append(Path(options['save_dir']) / f'{title or "result"}.png')
    for file in files:
        write_image(picture, file)
    if options.get('show', True) and not _window(picture, title, options) and not files:
        warnings.warn(
            'There is no screen to show the picture on: give out_file, or draw what is returned.',
            stacklevel=3,
        )


def _window(picture: np.ndarray, title: str, options: dict[str, Any]) -> bool:
    """Whether matplotlib can show pictures here; then it does."""
    import matplotlib
    import matplotlib.pyplot as plt

    backend = matplotlib.get_backend().lower()
    if backend in ('agg', 'svg', 'pdf', 'ps', 'cairo', 'template'):
        return False
    figure = plt.figure(figsize=options.get('fig_size', (15, 10)))
    plt.imshow(picture)
    plt.title(title)
    plt.axis('off')
    wait = options.get('wait_time', 0)
    if wait:
        plt.pause(wait)
        plt.close(figure)
    else:
        plt.show(block=options.get('block', True))
    return True
