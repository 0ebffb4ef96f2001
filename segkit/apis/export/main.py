"""Export, then run what was written: a file that disagrees with the network is not left behind."""

import contextlib
import copy
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from segkit.apis.inference import InferencePipeline, input_channels
from segkit.apis.sources import Picture, pictures

from .agreement import Agreement, agreements
from .network import ExportedNetwork
from .writers import FORMATS, PACKAGES, SUFFIXES, load_exported, metadata

_EXPORTERS = r'(torch|onnx\w*|openvino|nncf|copyreg|sympy)(\.|$)'  # modules


class ExportError(RuntimeError):
    """The file could not be written, or does not compute what the network computes."""


def export_model(
    model: nn.Module,
    file: str | Path,
    format: str = 'onnx',
    shape: Sequence[int] = (512, 512),
    *,
    dynamic: bool = False,
    open_batch: bool = False,
    opset: int | None = None,
    argmax: bool = False,
    normalize: bool = False,
    grid: bool = False,
    images: Sequence[str | Path] = (),
    tolerance: float = 1e-4,
    agreement: float = 0.999,
) -> list[Agreement]:
    """Write ``model`` (of ``init_model``, on any device) to ``file`` and compare the two.

    Args:
        format: 'onnx', 'torchscript', 'torch_export' or 'safetensors'.
        shape: (height, width) of the example; every image's, unless ``dynamic``.
        dynamic: leave height and width open; open_batch: the number of images. In ONNX the open
            axes are called batch, height and width.
        opset: of ONNX, the version of its operators; what torch writes unless given.
        argmax: classes out, not logits. normalize: grey levels in, mean and std in the graph.
        grid: logits as the head has them out, mostly at one eighth; who reads them resizes.
        images: files to compare on, beside two random images.
        tolerance: of the largest difference of logits, relative to the largest logit; where
            float32 itself is further off, 4 times as far from float64 as the network is.
        agreement: least share of pixels with equal classes.

    Returns:
        One comparison an image; sizes other than ``shape`` are among them when ``dynamic``.

    Raises:
        ExportError: an unknown format, options it does not take, what went wrong, or by how much
            the file was off. Nothing is left behind.
    """
    _check_options(format, dynamic or open_batch, argmax, normalize, grid, opset)
    _check_weights(format, model)
    file, versions = Path(file), {} if opset is None else {'opset': opset}
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f'.draft-{file.stem}{SUFFIXES[format]}')  # readers go by the suffix
    net = _on_cpu(ExportedNetwork(model, normalize, argmax, grid).eval())
    sizes = _sizes(shape) if dynamic else [(shape[0], shape[1])]
    axes = (0,) * open_batch + (2, 3) * dynamic
    try:
        examples = list(_examples(net, model, sizes, images))
        # torch.export takes a batch of one for a constant.
        image = torch.cat(examples[:2]) if open_batch else examples[0]
        if open_batch:
            examples += [image, torch.cat([image, examples[0]])]
        with _quiet_exporters():
            _write(net, image, draft, format, axes, metadata(model, net), **versions)
            found = agreements(net, load_exported(draft, format), examples, tolerance)
        _refuse_difference(file, found, tolerance, agreement)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return found


def _refuse_difference(
    file: Path, found: Sequence[Agreement], tolerance: float, agreement: float
) -> None:
    wrong = [item for item in found if not item.good(tolerance, agreement)]
    if wrong:
        raise ExportError(
            f'{file}: not written, the exported network differs (allowed: {tolerance:.0e} and '
            f'{100 * agreement:.1f} %):\n' + '\n'.join(map(str, wrong))
        )


def _check_options(
    format: str, opened: bool, argmax: bool, normalize: bool, grid: bool, opset: int | None
) -> None:
    if format not in FORMATS:
        raise ExportError(f"format: '{format}' is none of {', '.join(FORMATS)}.")
    if opset is not None and (format != 'onnx' or opset < 18):
        raise ExportError(
            f'opset={opset}: is of format onnx, and 18 or above: what torch.onnx writes.'
        )
    if format == 'torchscript' and opened:
        raise ExportError(
            'format torchscript holds the one size it was traced at; for open sizes or an open '
            'batch choose onnx or torch_export.'
        )
    if argmax and grid:
        raise ExportError('argmax, grid: classes are of the size of the picture; choose one.')
    if format == 'safetensors' and (opened or argmax or normalize or grid):
        raise ExportError(
            'format safetensors holds weights, which take any size; it has no graph to put argmax, '
            'normalisation, a grid or open sizes into.'
        )
    needed = PACKAGES.get(format, ())  # before minutes of exporting, not after
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"format: '{format}' needs {' and '.join(missing)}, not installed here: "
            f'pip install {" ".join(needed)}'
        )


def _check_weights(format: str, model: nn.Module) -> None:
    if format == 'safetensors' and getattr(model, 'bn_fused', False):
        raise ExportError(
            'format safetensors holds the weights that the config describes, batch norms included, '
            'and fuse_bn=True folded those away; export a model that was built without it.'
        )


def _on_cpu(net: ExportedNetwork) -> ExportedNetwork:
    """Where every reader runs: another device rounds differently, TF32 beyond the tolerance."""
    if all(tensor.device.type == 'cpu' for tensor in net.state_dict().values()):
        return net
    return copy.deepcopy(net).cpu()


def _write(
    net: ExportedNetwork, image: Tensor, file: Path, format: str, *rest: object, **options: object
) -> None:
    """The format's writer; what an exporter raises is turned into a sentence."""
    try:
        with torch.no_grad():
            FORMATS[format][0](net, image, file, *rest, **options)
    except Exception as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ExportError(
            f"The network could not be exported to '{format}': {reason}. A module of your own may "
            'branch on values or sizes; export a fixed --shape, or rewrite that branch.'
        ) from error


@contextlib.contextmanager
def _quiet_exporters() -> Iterator[None]:
    """Without the warnings that exporters give for code of theirs, and a trace for the branches of
    our networks, which hold for the size that it is of; what came of it is compared afterwards.

    Those about code of the user's own stay: a line of it "might cause the trace to be incorrect".
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', module=_EXPORTERS)
        warnings.filterwarnings('ignore', category=torch.jit.TracerWarning, module=r'segkit\.')
        yield


def _sizes(shape: Sequence[int]) -> list[tuple[int, int]]:
    """The example's size and others: halves with odd and even maps, taller and wider ones."""
    height, width = shape
    return [(height, width), (height + 8, width + 16), (height + 16, width), (height + 1, width)]


def _examples(
    net: ExportedNetwork,
    model: nn.Module,
    sizes: Sequence[tuple[int, int]],
    images: Sequence[str | Path],
) -> Iterator[Tensor]:
    """Inputs to compare on: random ones of every size, and the given files at the first."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, input_channels(model), *size) for size in (sizes[0], *sizes)]
    grey = [torch.rand(shape, generator=generator) * 255 for shape in shapes]
    if images:
        pipeline = InferencePipeline(model.cfg)
        grey += [_read(picture, sizes[0], pipeline) for picture in pictures(list(images))]
    for image in grey:
        yield image if net.normalize else net.normalised(image)


def _read(picture: Picture, size: tuple[int, int], pipeline: InferencePipeline) -> Tensor:
    """A file as the config loads it, (1, C, *size) float32; three channels as RGB."""
    import cv2

    from segkit.datasets.transforms.formatting import image_to_tensor

    image = image_to_tensor(cv2.resize(pipeline.loaded(picture)['img'], size[::-1])).float()
    return (image.flip(0) if len(image) == 3 else image)[None]
