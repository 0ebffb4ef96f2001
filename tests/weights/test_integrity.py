"""Every flipped bit of a file that segkit writes is found; what carries no checksum says so."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch
from helpers.checkpoint_files import published, save, tiny_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from segkit.engine.checkpoints import write
from segkit.weights import CheckpointError, load_checkpoint, load_into, write_checkpoint
from segkit.weights.integrity import UNVERIFIED, verify, write_safetensors

STATE = {'backbone.weight': torch.randn(4, 3), 'head.bias': torch.arange(5)}


def training(path):
    write(dict(meta=dict(iter=3, epoch=0), state_dict=STATE), path)
    return path


def exported(path):
    meta = dict(segkit_model=json.dumps(dict(type='EncoderDecoder')), format='pt')
    write_safetensors(STATE, path, meta)
    return path


def named(path):
    buffer = io.BytesIO()
    write_checkpoint(dict(state_dict=STATE), buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    path = path.with_name(f'net-{digest}.pth')
    path.write_bytes(buffer.getvalue())
    return path


WRITERS = {'training': training, 'exported': exported, 'published': named}
ENDINGS = {'training': '.pth', 'exported': '.safetensors', 'published': '.pth'}


@pytest.mark.parametrize('kind', WRITERS)
def test_flips_at_a_thousand_places_are_found(kind, tmp_path):
    path = WRITERS[kind](tmp_path / f'net{ENDINGS[kind]}')
    assert 'verified' in verify(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    places = rng.choice(len(whole) * 8, 1000, replace=False)
    unfound = []
    for place in places:
        data = bytearray(whole)
        data[place // 8] ^= 1 << (place % 8)
        path.write_bytes(data)
        try:
            load_checkpoint(path)
            unfound.append(int(place))
        except CheckpointError:
            pass
    assert unfound == []


@pytest.mark.parametrize('kind', WRITERS)
def test_files_cut_short_or_with_something_behind_are_found(kind, tmp_path):
    path = WRITERS[kind](tmp_path / f'net{ENDINGS[kind]}')
    whole = path.read_bytes()
    for data in [whole[:-n] for n in (1, 8, 30, len(whole) // 2)] + [whole + b'x', whole[8:]]:
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


def test_plain_torch_and_safetensors_read_them(tmp_path):
    path = training(tmp_path / 'a.pth')
    for mmap in (False, True):
        state = torch.load(path, weights_only=True, mmap=mmap)['state_dict']
        assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert zipfile.ZipFile(path).testzip() is None
    path = exported(tmp_path / 'a.safetensors')
    state = load_file(path)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    with safe_open(path, 'pt') as file:
        assert file.metadata()['format'] == 'pt'


def test_large_writes_and_small_ones_give_the_same_file(tmp_path):
    from segkit.weights.integrity import _Summed

    data = np.random.default_rng(1).bytes(5000)
    results = set()
    for step in (1, 7, 21, 22, 23, 4999, 5000):
        file = io.BytesIO()
        summed = _Summed(file)
        for at in range(0, len(data), step):
            summed.write(data[at : at + step])
        assert file.getvalue() + summed.tail == data
        results.add(summed.crc)
    assert len(results) == 1


def test_a_zip_of_torch_is_checked_by_its_records(tmp_path):
    path = save(published(tiny_model()), tmp_path / 'a.pth')
    assert verify(path) == 'verified by the CRC-32 of its records'
    data = bytearray(path.read_bytes())
    place = data.index(tiny_model().state_dict()['backbone.0.weight'].numpy().tobytes()[:16])
    data[place + 3] ^= 4
    path.write_bytes(data)
    torch.load(path, weights_only=True)  # torch itself notices nothing
    with pytest.raises(CheckpointError, match='checksum of its part a/data/'):
        load_checkpoint(path)
    load_checkpoint(path, check=False)


def test_what_has_no_checksum_loads_and_is_called_unverified(tmp_path):
    model = tiny_model()
    path = save(published(model), tmp_path / 'old.pth', legacy=True)
    assert load_into(tiny_model(), path).verified == UNVERIFIED
    assert 'unverified' in str(load_into(tiny_model(), path))
    save_file(model.state_dict(), tmp_path / 'b.safetensors')
    assert load_into(tiny_model(), tmp_path / 'b.safetensors').verified == UNVERIFIED


def test_a_hash_in_a_name_is_compared_and_a_date_is_no_hash(tmp_path):
    path = named(tmp_path / 'x')
    assert verify(path) == 'verified by the SHA-256 in its name'
    dated = path.rename(tmp_path / 'net-20240131.pth')
    assert verify(dated) == 'verified by the CRC-32 of the file'
    wrong = dated.rename(tmp_path / 'net-deadbeef.pth')
    with pytest.raises(CheckpointError, match=r'net-deadbeef\.pth: its SHA-256 begins with'):
        load_checkpoint(wrong)


def test_what_was_read_is_plain_and_can_be_saved_again(tmp_path):
    checkpoint = load_checkpoint(training(tmp_path / 'a.pth'))
    assert type(checkpoint) is dict
    torch.save(checkpoint, tmp_path / 'b.pth')
    assert torch.load(tmp_path / 'b.pth', weights_only=True)['meta']['iter'] == 3


def test_the_switch_skips_the_check(tmp_path, monkeypatch):
    path = training(tmp_path / 'a.pth')
    path.write_bytes(path.read_bytes()[:-1] + b'?')
    with pytest.raises(CheckpointError, match='checksum of the file is wrong'):
        load_checkpoint(path)
    monkeypatch.setenv('SEGKIT_NO_VERIFY', '1')
    assert load_checkpoint(path)['meta']['iter'] == 3


def test_what_would_unpack_to_far_more_is_refused(tmp_path):
    path = tmp_path / 'bomb.pth'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a/data.pkl', b'\x80\x02}q\x00.')
        archive.writestr('a/data/0', bytes(20 << 20))
    with pytest.raises(CheckpointError, match='would unpack to 209'):
        load_checkpoint(path, check=False)
    expanded = save({'w': torch.zeros(1).expand(10**9)}, tmp_path / 'wide.pth')
    with pytest.raises(CheckpointError, match='more than 100 times the size'):
        load_checkpoint(expanded)
