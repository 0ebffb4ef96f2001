import pytest

from segkit.engine.config import load_config
from segkit.engine.config_files import find_config, shipped_configs
from segkit.errors import ConfigError

NAME = 'pspnet_r101-d8_512x512_80k_ade20k'


def test_every_shipped_config_has_its_own_name():
    names = shipped_configs()
    assert NAME in names
    assert not any('_base_' in path.parts for path in names.values())
    assert len(names) == len(set(names.values()))


def test_a_shipped_config_is_found_by_name_with_and_without_suffix():
    assert find_config(NAME) == find_config(f'{NAME}.py') == shipped_configs()[NAME]


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(FileNotFoundError, match='pspnet_r101-d8_512x512_80k_ade20k'):
        find_config('pspnet_r101_512x512_80k_ade20k')


def test_a_wrong_path_is_not_taken_for_a_name():
    with pytest.raises(FileNotFoundError, match='somewhere'):
        find_config(f'somewhere/{NAME}.py')


def test_the_file_with_the_wrong_syntax_is_named(tmp_path):
    (tmp_path / 'base.py').write_text('a = 1\nmodel = dict(\n')
    (tmp_path / 'leaf.py').write_text("_base_ = 'base.py'\n")
    with pytest.raises(ConfigError, match=r'base\.py, line 2: .*never closed'):
        load_config(tmp_path / 'leaf.py')


def test_a_module_with_the_wrong_syntax_is_named(tmp_path, monkeypatch):
    (tmp_path / 'my_broken_module.py').write_text('\n\ndef f(:\n')
    (tmp_path / 'leaf.py').write_text("custom_imports = dict(imports=['my_broken_module'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r'my_broken_module\.py, line 3'):
        load_config(tmp_path / 'leaf.py')


def test_a_picture_is_no_config(tmp_path):
    (tmp_path / 'a.jpg').touch()
    with pytest.raises(ConfigError, match=r'a\.jpg: not a config'):
        load_config(tmp_path / 'a.jpg')


def test_the_given_config_is_not_changed():
    first = load_config(NAME)
    load_config(first, {'model.decode_head.num_classes': 3})
    assert first.model.decode_head.num_classes == 150


def test_a_base_is_named_by_package_wherever_the_config_lies(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        "_base_ = ['segkit::_base_/models/pspnet_r50-d8.py']\n"
        'width = _base_.model.decode_head.channels\n'
    )
    cfg = load_config(path)
    assert cfg.width == cfg.model.decode_head.channels == 512
    assert '_scope_' not in cfg.model.decode_head
    path.write_text("_base_ = 'nobody::a/b.py'")
    with pytest.raises(Exception, match='nobody'):
        load_config(path)
