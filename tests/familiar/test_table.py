"""Each name that code around mmsegmentation imports is there and works, or a sentence says what to
use."""

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.imports import modules_after
from helpers.older_uses import SHARED, USES

from segkit.familiar.table import LACKING, PLACES, TYPES

LISTED = [
    (place, name)
    for places in (PLACES, SHARED)
    for place, names in places.items()
    for name in names.split()
    if place != 'engine.checkpoint'  # of ours, not of mmsegmentation's; see below
]
OLDER = [(registry, name) for registry, names in TYPES.items() for name in names.split()]
MISSING = [
    (area, name)
    for areas, groups in LACKING.items()
    for area in areas.split()
    for names in groups.values()
    for name in names.split()
]


def module(place: str) -> str:
    return f'segkit.{place}' if place else 'segkit'


WORKED: set[tuple[str, int]] = set()  # names and what they gave, wherever they stand


def use(name: str, found: object) -> None:
    """Once for each object."""
    if (name, id(found)) not in WORKED:
        assert USES[name](found) is not False
        WORKED.add((name, id(found)))


def test_every_name_has_a_use():
    assert {name for _, name in LISTED} <= set(USES)
    assert len(LISTED) >= 300
    assert len({name for _, name in LISTED}) >= 150
    assert len(PLACES) >= 70


@pytest.mark.parametrize(('place', 'name'), LISTED)
def test_a_name_is_imported_and_used(place, name):
    names: dict[str, object] = {}
    exec(f'from {module(place)} import {name} as found', names)
    use(name, names['found'])


@pytest.mark.parametrize('place', PLACES)
def test_a_place_is_a_module_that_can_be_imported_whole(place):
    found = importlib.import_module(module(place))
    assert found.__name__ == module(place)
    names: dict[str, object] = {}
    if not getattr(found, '__file__', None):
        exec(f'from {module(place)} import *', names)
        public = {n for n in PLACES[place].split() if not n.startswith('_')}
        assert public <= set(names)


@pytest.mark.parametrize(('area', 'name'), MISSING)
def test_what_is_not_here_is_answered(area, name):
    where = module(area)
    with pytest.raises(ImportError) as caught:
        exec(f'from {where} import {name}')
    assert str(caught.value).startswith(f'{name} is not in segkit. ')
    assert str(caught.value).endswith('.')
    found = importlib.import_module(where)
    assert not hasattr(found, name)
    with pytest.raises(ImportError, match='is not in segkit'):
        importlib.import_module(f'{where}.{name}')


def test_what_is_said_to_be_missing_is_not_here():
    from segkit import registry

    here = {n for r in ('MODELS', 'DATASETS', 'TRANSFORMS') for n in list_of(registry, r)}
    assert len(here) > 60
    assert here & {name for _, name in MISSING} == set()


def list_of(registry, name: str) -> list[str]:
    found = getattr(registry, name)
    found.import_from_location()
    return list(found.module_dict)


@pytest.mark.parametrize(
    ('registry', 'name'), [(r, n) for r, v in TYPES.items() for n in v.split()]
)
def test_an_older_type_is_found_when_a_config_has_it(registry, name):
    from segkit import registry as ours

    assert getattr(ours, registry).get(name).__name__ == name


def test_a_type_that_is_not_here_is_answered():
    from segkit.engine import check_config
    from segkit.engine.config import load_config
    from segkit.errors import ConfigError
    from segkit.registry import MODELS

    with pytest.raises(KeyError, match='aug_test'):
        MODELS.build(dict(type='SegTTAModel', module=None))
    cfg = load_config('pspnet_r18-d8_shapes')
    cfg.model.type = 'SegTTAModel'
    with pytest.raises(ConfigError, match=r'model.type: SegTTAModel is not in segkit.*aug_test'):
        check_config(cfg)


def test_a_former_place_of_ours_hands_on_what_moved():
    import segkit.weights

    names = PLACES['engine.checkpoint'].split()
    assert len(names) >= 20
    former = importlib.import_module('segkit.engine.checkpoint')
    assert [n for n in names if getattr(former, n) is not getattr(segkit.weights, n)] == []


def test_the_guide_has_the_table():
    from segkit.familiar.guide import with_table

    page = (Path(__file__).parents[2] / 'docs/migration.md').read_text(encoding='utf-8')
    assert page == with_table(page), 'python -m segkit.familiar.guide docs/migration.md'
    assert '| `mmseg.datasets.custom` | `CustomDataset` | `segkit.familiar.datasets` |' in page


def test_an_unknown_name_is_the_usual_error():
    import segkit.datasets

    with pytest.raises(ImportError, match="cannot import name 'Nonsense'"):
        exec('from segkit.datasets import Nonsense')
    with pytest.raises(ModuleNotFoundError, match='segkit.datasets.nonsense'):
        importlib.import_module('segkit.datasets.nonsense')
    assert not hasattr(segkit.datasets, 'Nonsense')


def test_nothing_of_it_is_loaded_before_a_name_is_missing():
    loaded = modules_after('import segkit.datasets, segkit.models, segkit.apis, segkit.ops')
    assert not [name for name in loaded if name.startswith('segkit.familiar')]
    assert 'segkit.datasets.custom' not in loaded
    assert 'segkit.familiar.table' in modules_after('from segkit.utils import add_prefix')


def test_what_a_place_gave_can_be_pickled():
    from segkit.datasets.custom import CustomDataset
    from segkit.models.utils import Upsample

    assert pickle.loads(pickle.dumps(CustomDataset)) is CustomDataset
    assert type(pickle.loads(pickle.dumps(Upsample(scale_factor=2)))) is Upsample


def test_a_cleared_cache_of_finders_is_no_loss():
    code = (
        'import sys, importlib, segkit.datasets; importlib.invalidate_caches(); '
        'from segkit.datasets.custom import CustomDataset; assert len(sys.meta_path) < 9'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
