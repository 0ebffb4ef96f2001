"""Values that nothing can be made of are refused with their key; every default is let through."""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import pytest
from helpers.config_fuzz import WELL, changes, outcome, put
from helpers.tiny_config import tiny_config
from mmengine.registry import Registry

from segkit import registry as registries
from segkit.engine import ConfigError, Runner, check_config
from segkit.engine.config import places_named
from segkit.engine.config_check import constructors, fits, wrong_kind, wrong_value
from segkit.engine.config_schema import CHOICES, KINDS, RANGES
from segkit.errors import UserError
from segkit.registry import MODELS

SHORT = dict(
    train_cfg__max_iters=1, train_cfg__val_interval=1, param_scheduler__0__end=1,
    train_dataloader__dataset__num_images=4, val_dataloader__dataset__num_images=1,
    test_dataloader__dataset__num_images=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.decode_head.dropout_ratio', -3),
        ('model.decode_head.dropout_ratio', 1.0),
        ('model.data_preprocessor.std', [-3, 1, 1]),
        ('model.data_preprocessor.std', [0.0, 1, 1]),
        ('model.data_preprocessor.mean', [math.inf, 1, 1]),
        ('model.data_preprocessor.bgr_to_rgb', 'yes'),
        ('model.auxiliary_head.loss_decode.loss_weight', math.nan),
        ('model.auxiliary_head.loss_decode.loss_weight', -1),
        ('model.decode_head.num_classes', 13.5),
        ('model.decode_head.pool_scales', (0, 1)),
        ('model.decode_head.pool_scales', ()),
        ('model.decode_head.align_corners', 0),
        ('model.backbone.depth', '18'),
        ('model.backbone.strides', (1, 2, -1, 1)),
        ('model.backbone.norm_cfg.requires_grad', 'no'),
        ('param_scheduler.0.power', -3),
        ('param_scheduler.0.end', 0),
        ('param_scheduler.0.begin', 99),
        ('optim_wrapper.optimizer.lr', math.inf),
        ('optim_wrapper.optimizer.lr', '0.01'),
        ('train_dataloader.dataset.pipeline.3.cat_max_ratio', 1e9),
        ('train_dataloader.dataset.pipeline.2.ratio_range', (2.0, 0.5)),
        ('train_dataloader.dataset.pipeline.2.ratio_range', 0.5),
        ('train_dataloader.dataset.pipeline.4.prob', 1.5),
        ('train_dataloader.num_workers', -1),
        ('train_dataloader.num_workers', 10**9),
        ('val_evaluator.iou_metrics', ['mIuO']),
        ('env_cfg.mp_cfg.mp_start_method', 'frok'),
        ('default_hooks.logger.interval', 0),
        ('default_hooks.logger.type', 1.5),
        ('randomness.seed', -1),
        ('train_cfg.max_iters', '80k'),
        ('work_dir', ['x']),
        ('log_level', 'LOUD'),
    ],
)
def test_nonsense_is_refused_with_its_key_and_value(key, value):
    cfg = tiny_config('w')
    put(cfg, key, value)
    with pytest.raises(ConfigError) as caught:
        check_config(cfg)
    said = str(caught.value).replace('[', '.').replace(']', '')
    assert f'{key}: ' in said
    assert repr(value).replace('[', '.').replace(']', '') in said


def test_a_loss_may_be_without_focus_and_one_sided(tmp_path):
    config = tiny_config(tmp_path)
    config.model.decode_head.loss_decode = [
        dict(type='FocalLoss', gamma=0.0), dict(type='TverskyLoss', alpha=1.0, beta=0.0),
    ]  # fmt: skip
    check_config(config)
    config.model.decode_head.loss_decode[0].gamma = -1.0
    with pytest.raises(ConfigError, match='gamma'):
        check_config(config)


def all_classes() -> dict[str, type]:
    found: dict[str, type] = {}
    for name, registry in vars(registries).items():
        if not isinstance(registry, Registry):
            continue
        while registry is not None:
            registry.import_from_location()
            found |= {f'{name}.{key}': x for key, x in registry.module_dict.items()}
            registry = registry.parent
    return {key: x for key, x in found.items() if inspect.isclass(x)}


def test_no_default_of_any_class_is_refused():
    judged, wrong = 0, []
    for name, cls in all_classes().items():
        seen: set[str] = set()
        for constructor in constructors(cls):
            for key, parameter in inspect.signature(constructor).parameters.items():
                first = key not in seen
                seen.add(key)
                if parameter.default is inspect.Parameter.empty or not first:
                    continue
                judged += 1
                why = wrong_value(key, parameter.default) if parameter.default is not None else None
                why = why or wrong_kind(cls, key, parameter.default)
                if why:
                    wrong.append(f'{name}({key}={parameter.default!r}) {why}')
    assert judged >= 800
    assert wrong == []


@pytest.mark.parametrize(
    ('hint', 'good', 'bad'),
    [
        (int, [1, -1], [1.0, True, '1', None, [1]]),
        (float, [1, 0.5], [True, '1', None]),
        (bool, [True], [1, 'True', None]),
        (str, ['', 'x'], [1, None]),
        (int | None, [None, 2], [2.5, 'x']),
        (Sequence[int], [[1, 2], (1,), []], [1, '12', [1.5], ['a']]),
        (tuple[int, int], [(1, 2), [1, 2]], [(1, 2, 3), (1, 'a'), 7]),
        (tuple[int, ...], [(), (1, 2)], [('a',)]),
        (Sequence[str], [['a'], 'a'], [1, [1]]),
        (Mapping, [{}], [1, 'x', None]),
        (Literal['a', 'b'], ['a'], ['c']),
        (object, [1, 'x', None], []),
    ],
)
def test_values_fit_hints(hint, good, bad):
    assert all(fits(value, hint) for value in good)
    assert not any(fits(value, hint) for value in bad)


def test_the_table_is_of_names_that_something_takes():
    taken = {
        name
        for cls in all_classes().values()
        for constructor in constructors(cls)
        for name in inspect.signature(constructor).parameters
    }
    assert len(RANGES) >= 80
    assert len({*RANGES, *KINDS, *CHOICES} & taken) >= 70


def test_an_error_of_a_constructor_tells_its_place(tmp_path):
    cfg = tiny_config(tmp_path, model__backbone__depth=7)
    with pytest.raises(UserError, match=r'depth 7 .*In the config: model\.backbone\.depth=7'):
        Runner.from_cfg(cfg)


def test_other_errors_are_left_as_they_are():
    for error in (ValueError('depth 18'), KeyError('depth 18')):
        with pytest.raises(type(error)) as caught, places_named(tiny_config('w')._cfg_dict):
            raise error
        assert caught.value.args == ('depth 18',)


def test_an_injected_fault_of_a_constructor_keeps_its_traceback(tmp_path, monkeypatch):
    def broken(self, *args, **kwargs):
        return int('no number')

    monkeypatch.setattr(MODELS.get('PSPHead'), '__init__', broken)
    kind, said = outcome(tiny_config(tmp_path, **SHORT), 'model.decode_head.channels', 8)
    assert kind == 'traceback', said


def test_random_changes_of_single_values_end_well(tmp_path):
    """Thousands: ``make soak``."""
    cfg = tiny_config(tmp_path, **SHORT)
    ends = [(outcome(cfg, key, value), key, value) for key, value in changes(cfg, 100)]
    ill = [(key, value, end) for end, key, value in ends if end[0] not in WELL]
    assert len(ill) <= 5, ill
    assert sum(end[0] == 'named' for end, *_ in ends) >= 70
    assert sum(end[0] == 'runs' for end, *_ in ends) >= 2
