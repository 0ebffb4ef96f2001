# segkit for NVIDIA GPUs, with the CUDA extension of PSANet's mask op.
#   docker build -f docker/cuda.Dockerfile -t segkit:cuda .
# Data workers hand batches over in shared memory, of which a container gets 64 MB: run it with
#   docker run --rm --gpus all --shm-size=8g -v "$PWD:/work" segkit:cuda train my_data/config.py
ARG TORCH=2.13.0-cuda13.0-cudnn9
FROM pytorch/pytorch:${TORCH}-devel AS build
COPY . /segkit
WORKDIR /segkit
# Compute capabilities of the GPUs to come: A100, RTX 30, RTX 40, H100, and newer by PTX.
ARG TORCH_CUDA_ARCH_LIST="8.0;8.6;8.9;9.0+PTX"
RUN pip install --no-cache-dir setuptools wheel \
    && SEGKIT_BUILD_EXT=1 pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels .

FROM pytorch/pytorch:${TORCH}-runtime
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
COPY --from=build /wheels /wheels
RUN pip install /wheels/*.whl huggingface_hub onnx onnxruntime onnxscript tensorboard timm \
    && pip install --force-reinstall --no-deps opencv-python-headless \
    && rm -rf /wheels \
    && useradd --create-home segkit
USER segkit
WORKDIR /work
ENTRYPOINT ["segkit"]
