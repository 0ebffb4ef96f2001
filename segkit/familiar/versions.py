"""The version, as a text and as numbers."""

from segkit import __version__

version_info = tuple(int(part) for part in __version__.split('.'))

__all__ = ['__version__', 'version_info']
