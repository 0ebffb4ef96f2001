"""The files of a hub space that serves the page: one folder, ready to be pushed."""

import json
from pathlib import Path
from typing import cast

from torch import nn

from segkit import __version__
from segkit.apis.export import export_model
from segkit.engine.folders import make_folder
from segkit.outputs import own_outputs

WRITER = 'app --space'
WEIGHTS = 'model.safetensors'
PORT = 7860  # what the hub expects of a container

README = """\
---
title: {heading}
sdk: docker
app_port: {port}
---

A network of segkit to try: {classes} classes. Drop a picture, see what is where, take the mask.

To push this folder: copy the wheel beside these files (`python -m build --wheel` in a checkout of
segkit, then `cp dist/segkit-{version}-py3-none-any.whl` here), make an empty space with the SDK
"Docker" on the hub, and

    hf upload USER/SPACE . . --repo-type space

To try it here first: `docker build -t space . && docker run --rm -p 127.0.0.1:{port}:{port} space`,
or without Docker, where segkit and gradio are installed: `python app.py`.
"""

DOCKERFILE = """\
FROM python:3.12-slim
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
COPY segkit-{version}-py3-none-any.whl /tmp/
RUN pip install torch --index-url https://download.pytorch.org/whl/cpu \\
    && pip install "/tmp/segkit-{version}-py3-none-any.whl[app]" \\
    # The build with windows needs libGL; the headless one has the same files.
    && pip install --force-reinstall --no-deps opencv-python-headless \\
    && rm /tmp/*.whl \\
    && useradd --create-home --uid 1000 segkit
USER segkit
WORKDIR /home/segkit
COPY app.py {weights} ./
ENV SEGKIT_HOST=0.0.0.0
EXPOSE {port}
CMD ["python", "app.py"]
"""

APP = '''\
"""Serves the page of the network in {weights}: to this machine alone unless SEGKIT_HOST says so."""

import os
from pathlib import Path

from segkit.apis.export.safetensors_file import model_of
from segkit.apis.app.server import LOCAL, serve

model, _ = model_of(Path(__file__).with_name({weights!r}))
serve(model, {title!r}, host=os.environ.get('SEGKIT_HOST', LOCAL), port={port})
'''


def write_space(model: nn.Module, folder: str | Path, title: str) -> None:
    """Write README.md, Dockerfile, app.py and the model into ``folder``.

    The model is a safetensors file that describes itself, so that neither config nor pickle is
    read there.

    Raises:
        OutputError: a file is there that this did not write. ExportError: of the model.
    """
    place = Path(folder)
    make_folder('--space', place)
    meta = cast('dict[str, list]', getattr(model, 'dataset_meta', None) or {})
    plain = ' '.join(title.split())
    heading = json.dumps(plain, ensure_ascii=False)  # which YAML reads as the same text
    facts = dict(
        title=plain, heading=heading, port=PORT, version=__version__, weights=WEIGHTS,
        classes=len(meta.get('classes') or ()),
    )  # fmt: skip
    texts = {'README.md': README, 'Dockerfile': DOCKERFILE, 'app.py': APP}
    paths = [place / name for name in (*texts, WEIGHTS)]
    with own_outputs('--space', WRITER, paths):
        for name, text in texts.items():
            (place / name).write_text(text.format(**facts), encoding='utf-8')
        export_model(model, place / WEIGHTS, 'safetensors', (64, 64))
