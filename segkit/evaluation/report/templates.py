"""Pages from jinja2 templates: ``base.html`` and ``style.css`` here, each page's beside its code.

Everything put into a page is escaped; a name that a template asks for and nobody gives is an
error.
"""

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_HERE = Path(__file__).parent


@lru_cache
def environment(*folders: Path) -> Environment:
    """Where templates are found: these folders, then this one."""
    return Environment(
        loader=FileSystemLoader([*folders, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
