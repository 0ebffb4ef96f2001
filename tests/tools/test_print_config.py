from helpers.run_tool import run_tool
from helpers.tiny_config import write_tiny_config


def test_whole_config_with_an_option(tmp_path):
    out = tmp_path / 'new' / 'full.py'
    config = write_tiny_config(tmp_path)
    option = 'model.decode_head.channels=24'
    status, text = run_tool('print_config', config, '--cfg-options', option, '--out', out)
    assert status == 0
    assert 'channels=24' in text
    assert 'channels=24' in out.read_text()


def test_one_part_and_one_value(tmp_path):
    config = write_tiny_config(tmp_path)
    part = run_tool('print_config', config, '--key', 'model.decode_head')[1]
    assert "type = 'PSPHead'" in part
    assert 'backbone' not in part
    value = run_tool('print_config', config, '--key', 'model.decode_head.pool_scales.1')[1]
    assert value.strip() == '2'
