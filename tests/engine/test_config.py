import pytest

from segkit.engine.config import find_config, load_config, shipped_configs

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


def test_options_reach_any_depth():
    cfg = load_config(NAME, {'model.decode_head.num_classes': 3, 'train_cfg.max_iters': 7})
    assert (cfg.model.decode_head.num_classes, cfg.train_cfg.max_iters) == (3, 7)


def test_data_root_reaches_every_dataset():
    cfg = load_config('pspnet_r50-d8_512x512_20k_voc12aug', {'data_root': '/elsewhere'})
    roots = [part.data_root for part in cfg.train_dataloader.dataset.datasets]
    roots += [cfg.val_dataloader.dataset.data_root, cfg.test_dataloader.dataset.data_root]
    assert roots == ['/elsewhere'] * 4


def test_the_given_config_is_not_changed():
    first = load_config(NAME)
    load_config(first, {'model.decode_head.num_classes': 3})
    assert first.model.decode_head.num_classes == 150
