"""The switches of tools/test.py reach the network after its weights, wrapped or not."""

import argparse
import logging
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny_net import tiny_segmentor
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from segkit.engine.hooks import SpeedUpHook
from segkit.engine.test_arguments import apply_test_arguments


@MODEL_WRAPPERS.register_module()
class WrapperOfATest(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize('wrap', [lambda model: model, WrapperOfATest])
def test_the_network_is_changed_in_place(wrap, caplog):
    model = tiny_segmentor()
    wrapped = wrap(model)
    assert is_model_wrapper(wrapped) == (wrapped is not model)
    runner = SimpleNamespace(model=wrapped, logger=logging.getLogger('speed-up'))
    with caplog.at_level(logging.INFO, 'speed-up'):
        SpeedUpHook(fuse_bn=True, bf16=True).before_test_epoch(runner)
    assert model.autocast_dtype is torch.bfloat16
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert caplog.messages == ['Faster inference: fuse_bn, bf16.']


@pytest.mark.parametrize('given', [{}, {'channels_last': True}])
def test_arguments_add_the_hook_only_when_one_is_given(given):
    names = (
        'out', 'eval', 'format_only', 'show', 'show_dir', 'aug_test', 'fuse_bn', 'channels_last',
        'bf16', 'report', 'unknown_below', 'probabilities', 'certainty_dir', 'per_picture',
        'resume',
    )  # fmt: skip
    engine = dict(backend=None, precision='fp32', fixed_sizes=False, calibration=32)
    options = {**dict.fromkeys(names), **engine, **given}
    args = argparse.Namespace(checkpoint='a.pth', opacity=0.5, **options)
    parts = {'model': {}, 'test_dataloader': {'dataset': {}}}
    cfg = Config({**parts, 'test_evaluator': {'type': 'IoUMetric'}})
    apply_test_arguments(args, cfg)
    hooks = [hook for hook in cfg.get('custom_hooks', []) if hook.type == 'SpeedUpHook']
    assert hooks == ([{'type': 'SpeedUpHook', 'channels_last': True}] if given else [])
