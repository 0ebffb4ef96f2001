"""Eight-bit networks by onnxruntime's static quantisation, calibrated on the training set.

Weights become int8, a scale for each channel; what flows between layers becomes uint8, with ranges
that pictures of the training set show when they are predicted exactly. Other engines read the same
file. Results change: compare mIoU before using it.
"""

import glob
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from segkit.apis.inference import pipeline_of
from segkit.inspection.config_datasets import leaf_configs
from segkit.registry import DATASETS

from .kept import kept, stem_of
from .sessions import needed
from .settings import BackendError, Settings
from .signed import sign_second_factors

T = TypeVar('T')
Watched = Callable[[Callable[[Tensor], None]], nn.Module]


def quantised(
    file: Path, settings: Settings, cfg: Config, watched: Watched, opened: Callable[[Path], T]
) -> T:
    """``opened`` of the int8 file made of an exact one, kept beside it; made unless it is there.

    Args:
        cfg: whose training pictures are taken, prepared by its test pipeline.
        watched: a function that gives the exact model, which tells its argument of each batch.

    Raises:
        BackendError: no onnxruntime, or no training set to take pictures of.
    """
    runtime = needed('onnxruntime', settings.backend)
    source = _training_set(cfg)
    digest = hashlib.blake2b(file.read_bytes(), digest_size=8)
    for weights in sorted(file.parent.glob(f'{glob.escape(file.name)}.data')):  # beside the graph
        digest.update(weights.read_bytes())
    fed = [cfg.model.get(name) for name in ('data_preprocessor', 'test_cfg')]  # as what, in pieces
    digest.update(
        f'{runtime.__version__} {settings.calibration} {source} {pipeline_of(cfg)} {fed}'.encode()
    )
    name = f'{stem_of(file)}-int8-{digest.hexdigest()}{file.suffix}'

    def make(target: Path) -> None:
        dataset = DATASETS.build(source)
        if not len(dataset):
            raise BackendError(
                'precision int8: is calibrated on pictures of train_dataloader.dataset, and it has '
                f'none ({source.get("data_root") or source["type"]}); give the config that the '
                'network was trained with, with its pictures.'
            )
        batches = _Batches(dataset, settings.calibration, watched)
        print(
            f'{settings.backend}: quantising the network with {batches.count} pictures, once; it '
            f'is kept as {target.name}'
        )
        _quantise(file, target, batches)

    return kept(name, file, make, opened)


def _training_set(cfg: Config) -> dict[str, object]:
    """The config of the first training data set, read by the test pipeline without labels."""
    loader = cfg.get('train_dataloader')
    if not loader or not loader.get('dataset'):
        raise BackendError(
            'precision int8: is calibrated on pictures of train_dataloader.dataset, and the config '
            'has none; give the config that the network was trained with.'
        )
    dataset, _ = next(leaf_configs(loader['dataset']))
    steps = [dict(step) for step in pipeline_of(cfg) if step['type'] != 'LoadAnnotations']
    return {**dataset, 'pipeline': steps, 'test_mode': True}


class _Batches:
    """What the graph is given while pictures spread over ``dataset`` are predicted; the reader that
    onnxruntime asks."""

    def __init__(self, dataset: Sequence[object], count: int, watched: Watched) -> None:
        self.seen: list[Tensor] = []
        self.dataset, self.count = dataset, min(count, len(dataset))
        self.model = watched(self.seen.append)
        self.items = self._items()

    def _items(self) -> Iterator[dict[str, np.ndarray]]:
        for index in np.linspace(0, len(self.dataset) - 1, self.count).round().astype(int):
            data = pseudo_collate([self.dataset[int(index)]])
            with torch.no_grad():
                cast(Any, self.model).test_step(data)
            for batch in self.seen:
                yield from ({'image': image[None].numpy()} for image in batch)
            self.seen.clear()

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.items, None)


def _quantise(file: Path, target: Path, batches: _Batches) -> None:
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # which its writer checks the type of
        def get_next(self) -> object:
            return batches.get_next()

    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / 'ready.onnx'
        quant_pre_process(str(file), str(ready), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(ready),
            str(target),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    written = onnx.load(str(target))
    sign_second_factors(written.graph)
    onnx.save(written, str(target))
