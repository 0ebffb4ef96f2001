"""The import path users know for ``resize``; it lives with the other bricks in ``layers``."""

from .layers import resize

__all__ = ['resize']
