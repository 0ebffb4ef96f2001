"""What is delivered and cannot run here: containers, workflows, the citation. Checked as text."""

import re
import shlex
from itertools import chain

import pytest
import yaml
from helpers import found
from helpers.doc_pages import ROOT

DOCKERFILES = sorted((ROOT / 'docker').glob('*.Dockerfile'))
WORKFLOWS = sorted((ROOT / '.github/workflows').glob('*.yml'))
INSTRUCTIONS = {'ARG', 'COPY', 'ENTRYPOINT', 'ENV', 'FROM', 'RUN', 'USER', 'WORKDIR'}


def instructions(path) -> list[tuple[str, str]]:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith('#')]
    joined = '\n'.join(lines).replace('\\\n', ' ')
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


@pytest.mark.parametrize('path', DOCKERFILES, ids=lambda path: path.stem)
def test_a_dockerfile_is_one(path):
    steps = instructions(path)
    names = [name for name, _ in steps]
    assert set(names) <= INSTRUCTIONS
    assert next(name for name in names if name != 'ARG') == 'FROM'
    assert names[-1] == 'ENTRYPOINT'
    assert 'USER' in names, 'nothing runs as root'
    assert '--shm-size=8g' in path.read_text()
    for name, rest in steps:
        if name == 'RUN':
            assert shlex.split(rest), rest
        if name == 'COPY' and not rest.startswith('--from'):
            assert (ROOT / rest.split()[0]).exists()


def test_extras_and_packages_named_in_the_dockerfiles_are_ours():
    assert [path.stem for path in DOCKERFILES] == ['cpu', 'cuda']
    setup = (ROOT / 'setup.py').read_text()
    for path in DOCKERFILES:
        for extra in re.findall(r'/segkit\[(\w+)\]', path.read_text()):
            assert f"'{extra}'" in setup
    optional = re.findall(r'^[\w-]+', (ROOT / 'requirements/optional.txt').read_text(), re.M)
    (line,) = (rest for _, rest in instructions(DOCKERFILES[1]) if '*.whl' in rest)
    added = shlex.split(line.split('&&')[0].split('*.whl')[1])
    assert added
    assert set(added) <= set(optional)


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_one_and_its_commands_are_ours(path):
    content = yaml.safe_load(path.read_text())
    assert {'name', True, 'jobs', 'permissions'} <= set(content)  # "on" is YAML's True
    steps = list(chain(*(job['steps'] for job in content['jobs'].values())))
    assert steps
    for step in steps:
        assert ('uses' in step) != ('run' in step)
        if 'uses' in step:
            assert re.fullmatch(r'[\w-]+/[\w-]+@[\w./-]+', step['uses'])
    runs = '\n'.join(step.get('run', '') for step in steps)
    for target in re.findall(r'\bmake (\w+)', runs):
        assert f'\n{target}:' in (ROOT / 'Makefile').read_text()
    for tool in re.findall(r'\bsegkit"? (\w+) ', runs):
        assert tool in found.tools()


def test_all_pythons_that_the_package_names_are_in_the_workflow():
    named = re.findall(r'3\.\{minor\}.*range\((\d+), (\d+)\)', (ROOT / 'setup.py').read_text())
    low, high = map(int, named[0])
    (ci,) = (path for path in WORKFLOWS if path.stem == 'ci')
    matrix = yaml.safe_load(ci.read_text())['jobs']['tests']['strategy']['matrix']['python']
    assert (
        matrix
        == [f'3.{minor}' for minor in range(low, high)]
        == ['3.10', '3.11', '3.12', '3.13', '3.14']
    )


def test_the_citation_has_what_the_format_asks_for():
    content = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert {'cff-version', 'message', 'title', 'authors'} <= set(content)
    assert len(content['references']) >= 4
    for reference in content['references']:
        assert {'type', 'title', 'authors', 'year'} <= set(reference)


def test_what_never_ran_names_all_of_it():
    page = (ROOT / 'docs/never_run.md').read_text()
    for word in ('GPU', 'Windows', 'macOS', 'Dockerfile', 'workflows', 'hub', '3.14'):
        assert word in page
