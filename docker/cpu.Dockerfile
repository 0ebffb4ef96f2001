# segkit without a GPU.   docker build -f docker/cpu.Dockerfile -t segkit:cpu .
# Data workers hand batches over in shared memory, of which a container gets 64 MB: run it with
#   docker run --rm --shm-size=8g -v "$PWD:/work" segkit:cpu train my_data/config.py
FROM python:3.12-slim
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
COPY . /segkit
RUN pip install torch --index-url https://download.pytorch.org/whl/cpu \
    && pip install "/segkit[optional]" \
    # The build with windows needs libGL; the headless one has the same files.
    && pip install --force-reinstall --no-deps opencv-python-headless \
    && rm -rf /segkit \
    && useradd --create-home segkit
USER segkit
WORKDIR /work
ENTRYPOINT ["segkit"]
