import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from segkit.apis import inference_model, init_model
from segkit.apis.predict import predict_to_folder
from segkit.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    'model.backbone.base_channels': 8,
    'model.decode_head.in_channels': 64,
    'model.auxiliary_head.in_channels': 32,
}


def write_images(folder, count=3):
    rng = np.random.default_rng(0)
    for i in range(count):
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f'{i}.png'), rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))


def test_masks_overlays_and_json_of_two_folders(tmp_path):
    write_images(tmp_path / 'a'), write_images(tmp_path / 'b', 1)
    model = init_model('pspnet_r18-d8_shapes', cfg_options=SMALL)
    out = tmp_path / 'out'
    assert predict_to_folder(model, [str(tmp_path / 'a'), str(tmp_path / 'b')], out) == 4
    records = json.loads((out / 'predictions.json').read_text())
    assert [record['name'] for record in records] == ['0', '1', '2', '0_2']
    for record in records:
        mask = cv2.imread(str(out / record['mask']), cv2.IMREAD_UNCHANGED)
        expected = inference_model(model, record['path']).pred_sem_seg.data[0].numpy()
        assert np.array_equal(mask, expected)
        assert cv2.imread(str(out / record['overlay'])).shape == (48, 64, 3)
        names = model.dataset_meta['classes']
        shares = {names[i]: float((expected == i).mean()) for i in np.unique(expected)}
        assert record['classes'].keys() == shares.keys()
        assert all(abs(record['classes'][k] - v) < 1e-6 for k, v in shares.items())


def test_no_picture_takes_the_numbered_name_of_another(tmp_path):
    for name in ('x/a.png', 'y/a.png', 'z/a_2.png', 'z/a.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((16, 16, 3), np.uint8))
    model = init_model('pspnet_r18-d8_shapes', cfg_options=SMALL)
    sources = [str(tmp_path / name) for name in ('x', 'y', 'z/a_2.png', 'z/a.png')]

    assert predict_to_folder(model, sources, tmp_path / 'out') == 4

    masks = sorted(path.stem for path in (tmp_path / 'out/masks').iterdir())
    assert masks == ['a', 'a_2', 'a_2_2', 'a_3']


def test_the_tool_from_the_command_line(tmp_path):
    write_images(tmp_path / 'a', 1)
    model = init_model('pspnet_r18-d8_shapes')
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    command = [sys.executable, ROOT / 'tools/predict.py', f'{tmp_path}/a/*.png']
    command += ['--config', 'pspnet_r18-d8_shapes', '--out-dir', tmp_path / 'out']
    done = subprocess.run(
        [*command, '--checkpoint', tmp_path / 'weights.pth'], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'out/masks/0.png').exists()
    refused = subprocess.run(
        [*command, '--checkpoint', 'nowhere.pth'], capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert 'nowhere.pth' in refused.stderr
    assert 'Traceback' not in refused.stderr


def test_what_cannot_be_read_is_left_out_and_listed(tmp_path):
    write_images(tmp_path / 'a', 4)
    (tmp_path / 'a/1.png').write_bytes(b'no image')
    (tmp_path / 'a/3.png').write_bytes(b'')
    model = init_model('pspnet_r18-d8_shapes', cfg_options=SMALL)
    unread = []
    for size in (1, 2, 8):
        out = tmp_path / f'out{size}'
        count = predict_to_folder(
            model, str(tmp_path / 'a'), out, batch_size=size, on_error=unread.append
        )
        names = [r['name'] for r in json.loads((out / 'predictions.json').read_text())]
        assert (count, names) == (2, ['0', '2'])
    assert [u.startswith(f'{tmp_path}/a/{i}.png: ') for u, i in zip(unread, '131313')] == [True] * 6
    assert not any('on_error' in u for u in unread)
    with pytest.raises(DataError, match=r'1\.png'):
        predict_to_folder(model, str(tmp_path / 'a'), tmp_path / 'out')


def test_a_batch_of_no_image_is_refused():
    model = init_model('pspnet_r18-d8_shapes', cfg_options=SMALL)
    with pytest.raises(ValueError, match='batch_size: 0 must be 1 or more'):
        inference_model(model, np.zeros((32, 32, 3), np.uint8), batch_size=0)
