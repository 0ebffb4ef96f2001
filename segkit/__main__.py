"""``segkit TOOL ...`` (or ``python -m segkit TOOL ...``): the scripts of tools/, from any install.

A checkout has them in tools/; a wheel carries a copy in ``segkit/.shipped/tools``. Nothing heavy is
imported here.
"""

import ast
import difflib
import runpy
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
HOMES = (PACKAGE.parent / 'tools', PACKAGE / '.shipped' / 'tools')
CONVERTERS = 'dataset_converters'

# bash, and zsh by its bashcompinit: tools first, then the options that a tool's --help names.
COMPLETION = """\
_segkit() {
    local word="${COMP_WORDS[COMP_CWORD]}"
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "%s" -- "$word"))
    elif [[ "$word" = -* ]]; then
        local help="$(segkit "${COMP_WORDS[1]}" --help 2>/dev/null)"
        local options="$(grep -o -e '--[a-z][a-z-]*' <<< "$help" | sort -u)"
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    fi
}
[ -z "$ZSH_VERSION" ] || { autoload -U +X bashcompinit && bashcompinit; }
complete -o default -F _segkit segkit
"""


def tools() -> dict[str, Path]:
    """Name without ``.py`` -> path of every script, converters of data sets after the others."""
    home = next((home for home in HOMES if (home / 'train.py').is_file()), None)
    if home is None:
        return {}
    paths = [*sorted(home.glob('*.py')), *sorted((home / CONVERTERS).glob('*.py'))]
    return {path.stem: path for path in paths if "__name__ == '__main__'" in path.read_text()}


def summary(path: Path) -> str:
    """The first sentence of a script's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return ' '.join(text.partition('\n\n')[0].split()).removesuffix('.')


def overview(found: dict[str, Path]) -> str:
    """Every tool with a line of what it is for."""
    width = max(map(len, found), default=0)
    lines = ['usage: segkit TOOL [ARGUMENTS]', '       segkit TOOL --help', '']
    for name, path in found.items():
        if path.parent.name == CONVERTERS and 'data sets into shape:' not in lines:
            lines += ['', 'data sets into shape:']
        lines.append(f'  {name:<{width}}  {summary(path)}')
    more = 'segkit --version; segkit --completion prints what a shell completes by:'
    return '\n'.join([*lines, '', more, '  eval "$(segkit --completion)"'])


def main() -> None:
    found = tools()
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if name in ('-h', '--help'):
        print(overview(found))
    elif name in ('-V', '--version'):
        from segkit import __version__

        print(f'segkit {__version__}')
    elif name == '--completion':
        print(COMPLETION % ' '.join(found), end='')
    elif name not in found:
        near = difflib.get_close_matches(name, found, 1)
        hint = f'Did you mean {near[0]}? ' if near else ''
        sys.exit(f"There is no tool '{name}'. {hint}`segkit` lists them: {', '.join(found)}")
    else:
        from segkit.command import called_by_name

        called_by_name()
        sys.argv = [str(found[name]), *sys.argv[2:]]
        sys.path.insert(0, str(found[name].parent))  # as Python does for a script
        runpy.run_path(str(found[name]), run_name='__main__')


if __name__ == '__main__':
    main()
