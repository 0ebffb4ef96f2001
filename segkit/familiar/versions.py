"""The version, as a text and as numbers."""

from segkit import __version__


def parse_version_info(version_str: str) -> tuple[int | str, ...]:
    """'1.2.0rc1' as (1, 2, 0, 'rc1')."""
    found: list[int | str] = []
    for part in version_str.split('.'):
        number, mark, last = part.partition('rc')
        found.append(int(number))
        if mark:
            found.append(mark + last)
    return tuple(found)


version_info = parse_version_info(__version__)

__all__ = ['__version__', 'parse_version_info', 'version_info']
