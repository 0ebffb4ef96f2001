"""An exported network on onnxruntime's CUDA provider, where there is one, beside PyTorch.

python tools/benchmarks/gpu_onnxruntime.py
"""

import tempfile
from pathlib import Path

import gpu_device as device
import numpy as np
import torch
from gpu_bench import Bench

from segkit.apis import init_model
from segkit.apis.export import export_model

CONFIG, SIZE = 'pspnet_r50-d8_512x1024_80k_cityscapes', (512, 1024)
if device.REHEARSAL:
    CONFIG, SIZE = 'pspnet_r18-d8_shapes', (64, 96)


def exported(bench: Bench, case: str, path: Path) -> None:
    """Logits of one random picture; the other form is PyTorch's."""
    import onnxruntime

    if device.PROVIDER not in onnxruntime.get_available_providers():
        note = f'onnxruntime {onnxruntime.__version__} here has no {device.PROVIDER}'
        bench.add(case, 'not run', note=note)
        return
    model = init_model(CONFIG, device=device.DEVICE)
    export_model(model, path, 'onnx', SIZE)
    session = onnxruntime.InferenceSession(path, providers=[device.PROVIDER])
    image = torch.randn(1, 3, *SIZE)
    name, placed = session.get_inputs()[0].name, image.to(device.DEVICE)
    device.exact_products()
    with torch.no_grad():
        want = model.encode_decode(placed, [{}]).cpu().numpy()
        (got,) = session.run(None, {name: image.numpy()})
        error = float(np.linalg.norm(got - want) / np.linalg.norm(want))
        if not error < 1e-3:
            raise ValueError(f'logits differ by {error:.1e}')
        calls = (
            lambda: session.run(None, {name: image.numpy()}),
            lambda: model.encode_decode(image.to(device.DEVICE), [{}]).cpu(),
        )
        bench.compare(case, *calls, images=1, error=error)


def main() -> None:
    bench = Bench('onnxruntime', __doc__)
    with tempfile.TemporaryDirectory() as folder:
        bench.run(f'{CONFIG} {SIZE}', exported, Path(folder, 'network.onnx'))
    raise SystemExit(bench.status)


if __name__ == '__main__':
    main()
