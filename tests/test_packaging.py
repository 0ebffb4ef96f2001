"""The wheel: pure Python, whole, and working outside the checkout."""

import email
import os
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """Built from the sdist, as an index would build it, so that the sdist is whole too."""
    out = tmp_path_factory.mktemp('dist')
    command = [sys.executable, '-m', 'build', '--no-isolation', '--outdir', out, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob('*.whl'))


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp('site')
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', target]
    subprocess.run([*pip, wheel], check=True)
    return target


def run(installed, tmp_path, *command):
    env = {**os.environ, 'PYTHONPATH': str(installed)}
    return subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True
    )


def test_the_wheel_is_pure_python_and_typed(wheel):
    assert wheel.name.endswith('-py3-none-any.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    assert 'segkit/py.typed' in names
    assert not any(name.startswith(('tests/', 'configs/', 'tools/')) for name in names)
    homes = {name.partition('/')[0] for name in names}
    assert {home for home in homes if not home.endswith('.dist-info')} == {'segkit'}
    parts = {part for name in names for part in name.split('/')}
    assert not {'tests', 'benchmarks', 'helpers', 'conftest.py'} & parts


def test_the_metadata_is_whole(wheel):
    """What an index shows; the project has no address yet, so none is named."""
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
    told = email.message_from_bytes(archive.read(name))
    assert told['Summary']
    assert told['License-Expression'] == 'Apache-2.0'
    assert told['Requires-Python'] == '>=3.10'
    assert told['Description-Content-Type'] == 'text/markdown'
    assert told.get_payload().startswith('# segkit')
    assert len(told.get_all('Classifier')) >= 10
    assert set(told.get_all('License-File')) == {'LICENSE', 'NOTICE'}
    needs = [Requirement(line) for line in told.get_all('Requires-Dist')]
    of_extra = {
        extra: {
            need.name for need in needs if need.marker and need.marker.evaluate({'extra': extra})
        }
        for extra in told.get_all('Provides-Extra')
    }
    assert {'all', 'app', 'albu', 'docs', 'engines', 'optional', 's3', 'tests'} == set(of_extra)
    for part in ('app', 'engines', 'optional', 's3'):
        assert of_extra[part] <= of_extra['all'], part
    assert not of_extra['all'] & {'pytest', 'mypy', 'ruff', 'albumentations'}
    everywhere = {need.name for need in needs}
    assert not {'torchvision', 'opencv-python'} & everywhere, 'they bring builds of their own'


def test_constraints_get_the_versions_of_today_where_they_are_for_this_python():
    update = runpy.run_path(str(ROOT / 'requirements/update_constraints.py'))['updated']
    here, elsewhere = "python_version >= '3.10'", "python_version < '3.10'"
    lines = ['# kept', 'a==1.0', f'B_c==2.0; {here}', f'b-c==1.5; {elsewhere}', 'unasked==3.0']
    out, changes = update(lines, {'a': '1.0', 'b-c': '2.1'})
    assert out == [*lines[:2], f'B_c==2.1; {here}', *lines[3:]]
    assert changes == ['B_c 2.0 -> 2.1']
    kept = (ROOT / 'requirements/constraints.txt').read_text().splitlines()
    assert update(kept, {}) == (kept, [])
    assert len(kept) > 50


def test_every_module_config_and_tool_of_the_checkout_is_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ['git', 'ls-files', 'segkit', 'configs', 'tools/*.py'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split()
    if not tracked:
        pytest.skip('not a git checkout')
    suffixes = ('.py', '.json', '.csv', '.gz', '.css', '.js', '.html', '.jinja')
    wanted = {
        name if name.startswith('segkit/') else f'segkit/.shipped/{name}'
        for name in tracked
        if name.endswith(suffixes) and (ROOT / name).exists() and '/benchmarks/' not in name
    }
    assert len(wanted) > 200
    assert wanted - names == set()
    assert not any('benchmarks' in name for name in names)


def test_configs_are_found_by_name_outside_the_checkout(installed, tmp_path):
    code = (
        'import segkit; from segkit.engine.config import load_config; '
        "print(segkit.__file__, load_config('psanet_r101-d8_769x769_80k_cityscapes').max_iters)"
    )
    done = run(installed, tmp_path, '-c', code)
    assert done.stdout.split() == [str(installed / 'segkit/__init__.py'), '80000'], done.stderr


def test_the_tools_run_from_the_wheel(installed, tmp_path):
    done = run(installed, tmp_path, '-m', 'segkit', 'train', '--help')
    assert done.returncode == 0
    assert '--auto-scale-lr' in done.stdout
    wrong = run(installed, tmp_path, '-m', 'segkit', 'trian')
    assert wrong.returncode != 0
    assert "no tool 'trian'" in wrong.stderr
    assert 'train' in wrong.stderr
