import numpy as np
import pytest
from helpers.run_tool import run_tool
from helpers.tiny_config import write_tiny_config
from PIL import Image

HEADS = {
    'PSAHead': "type='PSAHead', mask_size=(7, 7), channels=8",
    'DAHead': "type='DAHead', pam_channels=4, channels=8",
    'ISAHead': "type='ISAHead', isa_channels=4, down_factor=(2, 2), channels=8",
}


def prepare(tmp_path, head: str):
    config = write_tiny_config(tmp_path)
    text = config.read_text()
    old = "type='PSPHead', in_channels=64, in_index=3, channels=16, pool_scales=(1, 2)"
    assert old in text
    config.write_text(text.replace(old, f'{HEADS[head]}, in_channels=64, in_index=3'))
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / 'a.png')
    return config, '', tmp_path / 'a.png'


@pytest.mark.parametrize(('head', 'maps'), [('PSAHead', 2), ('DAHead', 1), ('ISAHead', 1)])
def test_sheet_of_two_points(tmp_path, head, maps):
    out = tmp_path / 'out.png'
    arguments = ['--points', '10,20', '50,40', '--out', out]
    status, text = run_tool('visualize_attention', *prepare(tmp_path, head), *arguments)
    assert status == 0, text
    assert Image.open(out).size[0] == 8 + (1 + maps) * (64 + 8)
