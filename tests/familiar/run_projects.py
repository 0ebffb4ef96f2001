"""Run each project of a folder as a user of mmsegmentation would after changing one word.

    python -m run_projects FOLDER NAME ...

One process that forks for each, so that they share the imports and nothing else. Prints a line of
JSON: name -> '' or the traceback.
"""

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path

import numpy as np
from PIL import Image

PROJECTS = Path(__file__).with_name('projects')


def moved(name: str) -> str:
    """The text of a project after ``s/mmseg/segkit/``."""
    text = (PROJECTS / f'{name}.py').read_text()
    assert 'mmseg' in text
    return text.replace('mmseg', 'segkit')


def make_data(folder: Path) -> None:
    """Four pictures of 48x64 for training and two for testing, three classes, lists of their
    names."""
    rng = np.random.RandomState(0)
    for split, names in (
        ('train', ['0', '1', '2', '3']),
        ('val', ['00_night', '01']),
    ):
        for kind in ('images', 'labels'):
            (folder / kind / split).mkdir(parents=True)
        for name in names:
            picture = rng.randint(0, 256, (48, 64, 3), np.uint8)
            label = np.kron(rng.randint(0, 3, (6, 8)), np.ones((8, 8))).astype(np.uint8)
            Image.fromarray(picture).save(folder / 'images' / split / f'{name}.jpg')
            Image.fromarray(label).save(folder / 'labels' / split / f'{name}.png')
        (folder / f'{split}.txt').write_text('\n'.join(names) + '\n')


def run(name: str, home: Path) -> None:
    """In a folder of its own, beside its data and the config that all start from."""
    home.mkdir()
    make_data(home / 'data')
    (home / 'base_config.py').write_text(moved('base_config'))
    (home / f'{name}_project.py').write_text(moved(name))
    os.chdir(home)
    sys.path.insert(0, str(home))
    __import__(f'{name}_project').main()


def in_child(name: str, home: Path) -> str:
    reading, writing = os.pipe()
    if os.fork() == 0:
        said = ''
        try:
            with contextlib.redirect_stdout(sys.stderr):
                run(name, home)
        except BaseException:
            said = traceback.format_exc()
        with os.fdopen(writing, 'w') as pipe:
            pipe.write(said)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.wait()
    return said


def main(folder: str, names: list[str]) -> None:
    import mmengine.runner  # noqa: F401
    import torch

    import segkit.datasets
    import segkit.engine.components
    import segkit.models.segmentors  # noqa: F401

    torch.set_num_threads(1)
    found = {}
    for name in names:
        found[name] = in_child(name, Path(folder) / name)
    print(json.dumps(found))


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2:])
