"""Trained networks in the formats products use: ONNX, TorchScript, torch.export, safetensors.

`export_model` writes a file and runs it against the network before it gets its name, so a file that
exists computes what the network computes.
"""

from .agreement import Agreement
from .main import ExportError, export_model
from .network import ExportedNetwork
from .writers import FORMATS, load_exported

__all__ = [
    'FORMATS',
    'Agreement',
    'ExportError',
    'ExportedNetwork',
    'export_model',
    'load_exported',
]
