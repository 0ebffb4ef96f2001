"""What MkDocs does beside its own: pages made from the repository, and links out of docs/.

- Pages of the root (``PAGES``) are pages of the site too.
- The page of commands is written from what each command prints for ``--help``.
- ``<!-- all of MODULE but A B -->`` stands for the docstrings of all public names of a module,
  ``<!-- blocks that do not run -->`` for the list of examples marked so.
- A link to a file outside docs/ (a config, a script, a CSV) leads to a copy of it below
  ``source/``. So every link is one within the site, and a dead one fails.
"""

import ast
import contextlib
import io
import posixpath
import re
import runpy
import sys
from pathlib import Path
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from segkit import command

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    'model_zoo.md': 'model_zoo.md',
    'SECURITY.md': 'security.md',
    'CHANGELOG.md': 'changelog.md',
    'CONTRIBUTING.md': 'contributing.md',
    'RELEASING.md': 'releasing.md',
}
_ALL = re.compile(r'^<!-- all of (\S+)(?: but ([^>]*?))? -->$', re.M)
_UNRUN_PLACE = '<!-- blocks that do not run -->'
_UNRUN = re.compile(r'^<!-- not run: (.+) -->\n```\w+\n(.*)$', re.M)
_OPTIONS = {'segkit.engine.hooks': '\n    options: {members: false}'}
COMMANDS = 'reference/commands.md'
_LINK = re.compile(r'(\]\()(?!https?://|mailto:|#)([^)#\s]+)')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages of the root and of the commands, and what the pages link to in the repository."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text()))
    files.append(File.generated(config, COMMANDS, content=commands_page()))
    homes = [(ROOT / 'docs' / f.src_uri, f) for f in files.documentation_pages()]
    homes += [(ROOT / source, files.get_file_from_path(name)) for source, name in PAGES.items()]
    for home, page in homes:
        for _, target in _LINK.findall(page.content_string):
            inside = _in_repository(home.parent, target)
            if inside and not files.get_file_from_path(f'source/{inside}'):
                copy = File.generated(config, f'source/{inside}', abs_src_path=str(ROOT / inside))
                files.append(copy)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of docs/, and those of pages of the root, as links within the site."""
    here = page.file.src_uri
    markdown = with_names(markdown).replace(_UNRUN_PLACE, unrun_blocks())
    source = next((source for source, name in PAGES.items() if name == here), None)
    folder = ROOT if source else (ROOT / 'docs' / here).parent

    def rewritten(match: re.Match) -> str:
        place = _place(folder, match[2])
        return match[1] + (posixpath.relpath(place, posixpath.dirname(here)) if place else match[2])

    return _LINK.sub(rewritten, markdown)


def _place(folder: Path, target: str) -> str | None:
    """Where a link out of docs/ leads within the site; None for one that is right as it is."""
    path = (folder / target).resolve()
    if not path.is_relative_to(ROOT):
        return None
    name = path.relative_to(ROOT).as_posix()
    if name == 'README.md':
        return 'index.md'
    if name in PAGES:
        return PAGES[name]
    if path.is_relative_to(ROOT / 'docs'):
        return path.relative_to(ROOT / 'docs').as_posix()
    return f'source/{name}' if path.is_file() else None


def _in_repository(folder: Path, target: str) -> str | None:
    """The path of a linked file that is no page of the site."""
    place = _place(folder, target)
    return place.removeprefix('source/') if place and place.startswith('source/') else None


def with_names(markdown: str) -> str:
    """Each line ``<!-- all of MODULE but A B -->`` as a line of mkdocstrings for each name."""

    def expanded(match: re.Match) -> str:
        left_out = (match[2] or '').split()
        names = [name for name in public_names(match[1]) if name not in left_out]
        return '\n\n'.join(f'::: {match[1]}.{name}{_OPTIONS.get(match[1], "")}' for name in names)

    return _ALL.sub(expanded, markdown)


def public_names(module: str) -> list[str]:
    """``__all__`` of a package of segkit, read from its source."""
    tree = ast.parse((ROOT / module.replace('.', '/') / '__init__.py').read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '__all__':
            return ast.literal_eval(node.value)
    raise ValueError(f'{module}: has no __all__')


def unrun_blocks() -> str:
    """A list of the examples that are marked as not run: page, first line, reason."""
    lines = ['| page | begins with | why it does not run |', '| --- | --- | --- |']
    for page in sorted((ROOT / 'docs').glob('*.md')):
        for reason, first in _UNRUN.findall(page.read_text()):
            first = first.replace('|', '\\|')
            lines.append(f'| [{page.stem}]({page.name}) | `{first}` | {reason} |')
    return '\n'.join(lines)


def commands() -> dict[str, Path]:
    """Name -> script of everything a user types."""
    found = [*(ROOT / 'tools').glob('*.py'), *(ROOT / 'tools/dataset_converters').glob('*.py')]
    named = {str(p.relative_to(ROOT / 'tools').with_suffix('')): p for p in sorted(found)}
    return {name: path for name, path in named.items() if '__main__' in path.read_text()}


def commands_page() -> str:
    """Every command with all of its options, as it tells them itself."""
    parts = [
        '# Commands\n',
        '`segkit` lists them with a line each; `segkit NAME` runs one, and so does '
        '`python tools/NAME.py` in a checkout. Those of `tools/dataset_converters/` go by their '
        'own names too (`segkit polygons`). `eval "$(segkit --completion)"` makes bash and zsh '
        'complete names and options. What follows is what each prints for `--help`.\n',
    ]
    for name, path in commands().items():
        whole = help_of(path)
        actions = re.search(r'^  \{([a-z,]+)\}', whole, re.M)
        texts = [whole, *(help_of(path, a) for a in (actions[1].split(',') if actions else ()))]
        parts.append(f'## {name}\n')
        parts += [f'```text\n{text}\n```\n' for text in texts]
    return '\n'.join(parts)


def help_of(script: Path, *action: str) -> str:
    """What a script, or one of its actions, prints for ``--help``, 96 columns wide."""
    output = io.StringIO()
    before = list(sys.path)
    with (
        mock.patch.object(sys, 'argv', [script.name, *action, '--help']),
        mock.patch.object(command, '_start', ['segkit']),  # as an installed user calls it
        mock.patch.dict('os.environ', COLUMNS='96'),
        contextlib.redirect_stdout(output),
        contextlib.suppress(SystemExit),
    ):
        runpy.run_path(str(script), run_name='__main__')
    sys.path[:] = before
    return output.getvalue().strip()
