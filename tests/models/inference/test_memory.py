"""Running out of device memory makes the work smaller, not the result different."""

import pytest
import torch
from helpers.tiny_net import tiny_segmentor

from segkit.models.inference.logits import run_shrinking


def no_more_than(limit, seen):
    """A hook of the network on a device that holds ``limit`` images."""

    def hook(module, args):
        seen.append(len(args[0]))
        if len(args[0]) > limit:
            raise torch.OutOfMemoryError('CUDA out of memory.')

    return hook


@pytest.mark.parametrize(('mode', 'batch'), [('slide', 1), ('whole', 6)])
def test_classes_are_the_same_and_the_log_says_it_once(monkeypatch, mode, batch):
    lines, seen = [], []
    monkeypatch.setattr(
        'mmengine.logging.print_log', lambda message, **kwargs: lines.append(message)
    )
    model = tiny_segmentor(mode=mode).eval()
    model.test_cfg['batch_windows'] = 6
    images = torch.randn(batch, 3, 60, 90)
    want = [s.pred_sem_seg.data for s in model.predict(images)]
    model.backbone.register_forward_pre_hook(no_more_than(2, seen))
    for _ in range(2):
        got = [s.pred_sem_seg.data for s in model.predict(images)]
        assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))
    assert seen[:2] == [6, 3]
    assert max(seen[2:]) == 1  # halved from 3, and remembered for the next image
    what = 'windows' if mode == 'slide' else 'images'
    assert lines == [f'Out of device memory with 6 {what} at a time; going on with 1.']


def test_what_does_not_fit_at_all_is_an_error():
    def run(size):
        raise torch.OutOfMemoryError('CUDA out of memory.')

    with pytest.raises(torch.OutOfMemoryError):
        run_shrinking(run, 8, 'windows')


def test_work_shrinks_down_to_a_single_part():
    def run(size):
        if size > 1:
            raise torch.OutOfMemoryError('CUDA out of memory.')
        return f'{size} done'

    assert run_shrinking(run, 8, 'windows', fitted := {}) == '1 done'
    assert fitted == {'windows': 1}
