"""``python -m segkit TOOL ...`` (or ``segkit TOOL ...``): the scripts of tools/, from any install.

A checkout has them in tools/; a wheel carries a copy in ``segkit/.shipped/tools``.
"""

import runpy
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
HOMES = (PACKAGE.parent / 'tools', PACKAGE / '.shipped' / 'tools')


def tools() -> dict[str, Path]:
    """Name without ``.py`` -> path of every script."""
    home = next((home for home in HOMES if (home / 'train.py').is_file()), None)
    return {path.stem: path for path in sorted(home.glob('*.py'))} if home else {}


def main() -> None:
    found = tools()
    name = sys.argv[1] if len(sys.argv) > 1 else ''
    if name not in found:
        wanted = f"There is no tool '{name}'. " if name not in ('', '-h', '--help') else ''
        sys.exit(f'{wanted}usage: segkit TOOL [ARGUMENTS], TOOL one of: {", ".join(found)}')
    sys.argv = [str(found[name]), *sys.argv[2:]]
    runpy.run_path(str(found[name]), run_name='__main__')


if __name__ == '__main__':
    main()
