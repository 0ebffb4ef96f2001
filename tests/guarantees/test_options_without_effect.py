"""G7: an option that nothing reads is refused by every tool that takes options."""

import pytest
from helpers import found
from helpers.run_tool import run_tool
from helpers.tiny_config import write_tiny_config

from segkit.registry import MODELS

IDLE = {
    'optimizer.lr=0.1': 'Set optim_wrapper.optimizer.lr instead',
    'data.samples_per_gpu=4': 'Set train_dataloader.batch_size instead',
    'lr_config.policy=step': 'Set param_scheduler.0.type instead',
    'foo.bar=1': 'print_config.py',
    'num_classes=7': 'model.decode_head.num_classes',
}
# What a tool takes besides the config.
MORE = {
    'cache_dataset': ['{d}/cache'],
    'confusion_matrix': ['{d}/ids'],
    'browse_dataset': ['--out', '{d}/sheet.png'],
    'test': ['{d}/none.pth'],
    'app': ['{d}/none.pth'],
    'export': ['{d}/none.pth', '--out', '{d}/a.onnx'],
    'predict': ['{d}/none.pth', '{d}/a.png', '--out-dir', '{d}/out'],
    'visualize_attention': ['{d}/none.pth', '{d}/a.png'],
    'dataset_converters/to_shards': ['--out-dir', '{d}/shards'],
}


def tools_with_options() -> list[str]:
    tools = found.tools()
    adding = ("'--cfg-options'", 'add_common_arguments(', 'tool_parser(__doc__, config=True)')
    taking = [
        name for name, path in tools.items() if any(call in path.read_text() for call in adding)
    ]
    taking.append('predict')
    assert len(taking) >= 14, taking
    return taking


@pytest.mark.parametrize('tool', tools_with_options())
def test_every_tool_refuses_options_that_nothing_reads(tool, tmp_path):
    config = write_tiny_config(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    for option, cure in IDLE.items():
        more = [argument.format(d=tmp_path) for argument in MORE.get(tool, [])]
        status, said = run_tool(tool, config, *more, '--cfg-options', option)
        key = option.partition('=')[0]
        assert status == 1, said
        assert f'--cfg-options {key}: changes nothing' in said
        assert cure in said
        assert 'Traceback' not in said
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('tool', ['browse_dataset', 'confusion_matrix', 'print_config', 'test'])
def test_an_option_that_is_read_is_taken(tool, tmp_path):
    """The same call with a setting of a run does not end over the option."""
    config = write_tiny_config(tmp_path)
    more = [argument.format(d=tmp_path) for argument in MORE.get(tool, [])]
    said = run_tool(tool, config, *more, '--cfg-options', 'randomness.seed=3')[1]
    assert 'changes nothing' not in said


def test_a_loss_that_is_logged_and_not_trained_by_is_said(recwarn):
    """Only names that hold 'loss' are summed, as in mmengine."""
    for kind in ('CrossEntropyLoss', 'DiceLoss'):
        with pytest.warns(UserWarning, match=f"{kind}: loss_name='own' holds no .*'loss_own'"):
            MODELS.build(dict(type=kind, loss_name='own'))
        MODELS.build(dict(type=kind, loss_name='own_loss'))
    assert not [w for w in recwarn if 'loss_name' in str(w.message)]
