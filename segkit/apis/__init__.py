"""Calls from Python: a trained network of a folder; a model, its predictions, a picture of them.

trained = train('my_data', model='segformer_mit-b0', out='runs/a', pretrained=True)
model = init_model('pspnet_r50-d8_512x512_80k_ade20k', 'checkpoint.pth', device='cuda:0')
result = inference_model(model, 'street.jpg')
show_result('street.jpg', result, out_file='street_overlay.png')

Each is loaded when it is used (PEP 562).
"""

import importlib
from typing import TYPE_CHECKING

from segkit.engine.command_line import resting_collector
from segkit.old_names import serve

if TYPE_CHECKING:
    from .available import available_models
    from .inference import inference_model, inference_segmentor
    from .model import init_model, init_segmentor
    from .show import show_result
    from .train_folder import train

_HOMES = {
    'available_models': 'available',
    'train': 'train_folder',
    'init_model': 'model',
    'init_segmentor': 'model',
    'inference_model': 'inference',
    'inference_segmentor': 'inference',
    'show_result': 'show',
}

__all__ = [
    'available_models',
    'inference_model',
    'inference_segmentor',
    'init_model',
    'init_segmentor',
    'show_result',
    'train',
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    with resting_collector():
        return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


serve(__name__)
