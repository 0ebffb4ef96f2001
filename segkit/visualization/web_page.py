"""Self-contained pages: jinja2 templates over ``base.html`` and ``style.css``, pictures embedded.

Everything put into a page is escaped; a name that a template asks for and nobody gives is an
error. Nothing is loaded from elsewhere: a page can be mailed, archived and opened offline.
"""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from segkit.console import told


def templates(*folders: Path, **options: Any) -> Environment:
    """The templates in these folders; ``options`` of jinja2's Environment."""
    strict: dict[str, Any] = dict(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return Environment(loader=FileSystemLoader(folders), **strict, **options)


def fill(template: Path, **contents: object) -> str:
    """The page of a template file with its contents."""
    pages = templates(template.parent, Path(__file__).parent, autoescape=True)
    return told(pages.get_template(template.name).render(contents))


def data_uri(image: np.ndarray, photograph: bool = False) -> str:
    """An (H, W, 3 or 4) uint8 picture as a data: address; lossy, and smaller, for photographs."""
    from PIL import Image

    buffer, kind = io.BytesIO(), 'jpeg' if photograph else 'png'
    options = dict(quality=86) if photograph else {}
    Image.fromarray(image).save(buffer, kind, optimize=True, **options)
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}'
