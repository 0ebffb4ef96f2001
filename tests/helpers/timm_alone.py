"""timm, where it is installed."""

from types import ModuleType

import pytest

from segkit.models.backbones.import_timm import import_timm


def require_timm() -> ModuleType:
    """timm, imported as the package imports it; without it the test is skipped."""
    try:
        return import_timm()
    except ImportError as error:
        pytest.skip(str(error))
