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


def test_unknown_part_tells_what_there_is(tmp_path):
    status, text = run_tool('print_config', write_tiny_config(tmp_path), '--key', 'model.neck')
    assert status == 1
    assert 'neck is not in model; it has type, data_preprocessor' in text


def test_unknown_config():
    status, text = run_tool('print_config', 'pspnet_r50-d8_512x512_80k_ade2k')
    assert status == 1
    assert 'pspnet_r50-d8_512x512_80k_ade20k' in text


def test_a_file_of_unknown_kind_is_refused(tmp_path):
    status, text = run_tool('print_config', write_tiny_config(tmp_path), '--out', 'x.txt')
    assert status == 2
    assert 'must end with .py, .json or .yml' in text
