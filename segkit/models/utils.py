"""The import path users know for ``resize``; it lives with the other bricks in ``layers``."""

from segkit.old_names import serve

from .layers import resize

__all__ = ['resize']


serve(__name__)
