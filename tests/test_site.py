"""The site: it builds, a dead link fails it, and what is public is in its reference."""

import importlib.util
import logging
import re
import shutil

import pytest
from helpers import found
from helpers.doc_pages import ROOT
from helpers.tool_parsers import actions, parsers

pytest.importorskip('mkdocs', reason='needs requirements/docs.txt')
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

REFERENCE = sorted((ROOT / 'docs/reference').glob('*.md'))


@pytest.fixture(scope='module')
def hooks():
    spec = importlib.util.spec_from_file_location('site_hooks', ROOT / 'docs/site_hooks.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built(docs, site, **settings):
    config = load_config(
        str(ROOT / 'mkdocs.yml'), docs_dir=str(docs), site_dir=str(site), strict=True, **settings
    )
    config.plugins.run_event('startup', command='build', dirty=False)
    try:
        build(config)
    finally:
        config.plugins.run_event('shutdown')
        logging.getLogger('mkdocs').handlers.clear()


def test_a_dead_link_or_a_page_outside_the_navigation_fails(tmp_path, caplog):
    docs = tmp_path / 'docs'
    shutil.copytree(ROOT / 'docs', docs, ignore=shutil.ignore_patterns('reference'))
    shutil.copytree(ROOT / 'docs/reference', docs / 'reference')
    built(docs, tmp_path / 'good')
    made = (tmp_path / 'good/reference/models.html').read_text()
    assert 'pool_scales' in made, 'arguments of PSPHead'
    for page in (docs / 'reference').glob('*.md'):
        page.write_text(re.sub('(?m)^:::.*', '', page.read_text()))
    plain = dict(plugins=['search'])
    assert (tmp_path / 'good/source/segkit/model_zoo/measured.csv').is_file()
    page = docs / 'install.md'
    whole = page.read_text()
    for wrong in ('[x](nowhere.md)', '[x](training.md#nowhere)', '[x](../tools/nowhere.py)'):
        page.write_text(f'{whole}\n{wrong}\n')
        with pytest.raises(Abort):
            built(docs, tmp_path / 'bad', **plain)
    page.write_text(whole)
    (docs / 'alone.md').write_text('# A page that nothing leads to\n')
    with pytest.raises(Abort):
        built(docs, tmp_path / 'bad', **plain)


def test_what_is_registered_is_in_the_reference(hooks):
    text = '\n'.join(hooks.with_names(page.read_text()) for page in REFERENCE)
    shown = set(re.findall(r'^::: \S*?(\w+)$', text, re.M))
    kinds = (
        found.heads, found.backbones, found.losses, found.segmentors, found.preprocessors,
        found.transforms, found.datasets, found.metrics, found.collations, found.pixel_samplers,
    )  # fmt: skip
    names = {
        getattr(thing, '__name__', name)
        for kind in kinds
        for name, thing in kind().items()
        if thing.__module__.startswith('segkit.') and 'familiar' not in thing.__module__
    }
    assert len(names) >= 39
    assert sorted(names - shown) == []


def test_every_command_and_all_its_options_are_in_the_reference(hooks):
    page, held = hooks.commands_page(), parsers()
    assert set(hooks.commands()) == set(held)
    count = 0
    for name, parser in held.items():
        part = page.split(f'\n## {name}\n')[1].split('\n## ')[0]
        assert part.startswith('\n```text\nusage: segkit '), name
        for _, action in actions(name, parser):
            for option in action.option_strings:
                assert option in part, (name, option)
                count += 1
    assert count >= 250


def test_every_command_is_in_prose_with_an_example_or_has_one_in_its_own_help(hooks):
    """The reference shows what each prints for --help: a command that no page tells of says there
    how it is called."""
    pages = [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')]
    prose = '\n'.join(page.read_text() for page in pages)
    blocks = '\n'.join(re.findall(r'^```bash\n(.*?)^```', prose, re.M | re.S))
    reference = hooks.commands_page()
    assert len(hooks.commands()) >= 26
    for name in hooks.commands():
        short = name.rpartition('/')[2]
        typed = rf'(segkit|tools/(dataset_converters/)?){short}\b|segkit {short}\b'
        part = reference.split(f'\n## {name}\n')[1].split('\n## ')[0]
        shown = re.search(rf'^ *segkit {short}\b', part.partition('\n\n')[2], re.M)
        assert re.search(typed, blocks) or shown, f'{name}: no example anywhere'


def test_examples_that_do_not_run_are_listed_with_their_reason(hooks):
    listed = hooks.unrun_blocks()
    marks = [
        line
        for page in (ROOT / 'docs').glob('*.md')
        for line in page.read_text().splitlines()
        if line.startswith('<!-- not run: ')
    ]
    assert len(marks) >= 4
    assert len(listed.splitlines()) - 2 == len(marks)
