"""Bring constraints.txt up to what pip would install today: `make constraints`.

In an environment of its own pip resolves what requirements/ asks for (runtime, tests, docs) without
constraints, installing nothing. Each line of constraints.txt whose marker holds for this Python
gets the version that was resolved; lines for other Pythons, and names that nothing asks for, stay.
What changed is printed. Then run the tests in a new `.venv` (`rm -rf .venv && make test`).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
ASKED = ('runtime', 'tests', 'tests-app', 'docs')


def updated(lines: Sequence[str], versions: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(the lines with today's versions, a sentence for each change); comments stay.

    Args:
        versions: canonical name -> version, without the label of a build ('2.13.0', not '+cpu').
    """
    out, changes = [], []
    for line in lines:
        if not line.strip() or line.startswith('#'):
            out.append(line)
            continue
        wanted = Requirement(line)
        version = versions.get(canonicalize_name(wanted.name))
        mine = wanted.marker is None or wanted.marker.evaluate()
        old = str(wanted.specifier).removeprefix('==')
        if version is None or not mine or version == old:
            out.append(line)
            continue
        out.append(line.replace(f'=={old}', f'=={version}', 1))
        changes.append(f'{wanted.name} {old} -> {version}')
    return out, changes


def resolved() -> dict[str, str]:
    """Canonical name -> version of all that pip would install into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, '-m', 'venv', f'{folder}/env'], check=True)
        report = Path(folder) / 'report.json'
        files = [word for name in ASKED for word in ('-r', str(HERE / f'{name}.txt'))]
        command = [f'{folder}/env/bin/python', '-m', 'pip', 'install', '--quiet', '--dry-run']
        subprocess.run([*command, '--report', str(report), *files], check=True)
        found = json.loads(report.read_text())['install']
    names = [item['metadata'] for item in found]
    return {canonicalize_name(m['name']): m['version'].partition('+')[0] for m in names}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--check', action='store_true', help='change nothing; status 1 if stale')
    args = parser.parse_args()
    path = HERE / 'constraints.txt'
    lines, changes = updated(path.read_text().splitlines(), resolved())
    print('\n'.join(changes) or f'{path}: up to date')
    if changes and not args.check:
        path.write_text('\n'.join([*lines, '']))
    return int(bool(changes) and args.check)


if __name__ == '__main__':
    sys.exit(main())
