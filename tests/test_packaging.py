"""The wheel: pure Python, whole, and working outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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
