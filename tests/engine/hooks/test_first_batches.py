"""Bad labels stop a run at its first iteration, by the name of their file."""

from types import SimpleNamespace

import pytest
import torch
from helpers.tiny_config import tiny_config
from helpers.untouched import untouched
from mmengine.structures import PixelData

from segkit.engine import Runner
from segkit.engine.errors import TrainingError
from segkit.engine.hooks.first_batches import FirstBatchesHook
from segkit.structures import SegDataSample


def batch(*labels: torch.Tensor, size=(4, 6)) -> dict:
    samples = []
    for i, label in enumerate(labels):
        sample = SegDataSample(metainfo=dict(img_path=f'{i}.jpg', seg_map_path=f'{i}.png'))
        sample.gt_sem_seg = PixelData(data=label)
        samples.append(sample)
    inputs = [torch.zeros(3, *size, dtype=torch.uint8) for _ in labels]
    return dict(inputs=inputs, data_samples=samples)


def label(*values: int, size=(4, 6)) -> torch.Tensor:
    count = size[0] * size[1]
    return torch.tensor(values, dtype=torch.uint8).repeat(count)[:count].view(1, *size)


RUNNER = SimpleNamespace(
    cfg={},
    bare_model=SimpleNamespace(decode_head=SimpleNamespace(num_classes=3, ignore_index=255)),
)


def look(*batches: dict, hook: FirstBatchesHook | None = None) -> FirstBatchesHook:
    hook = hook or FirstBatchesHook(len(batches))
    for i, data in enumerate(batches):
        hook.before_train_iter(RUNNER, i, data)
    return hook


def test_good_labels_pass():
    look(batch(label(0, 1, 2, 255), label(2, 2)), batch(label(0)))


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.int64])
def test_labels_are_looked_at_alone(dtype):
    """They go on to the network."""
    data = batch(label(0, 1, 2, 255).to(dtype))
    with untouched(data=data):
        hook = look(data, batch(label(1).to(dtype)))
    assert hook._counts.tolist() == [6, 30, 6, 6]


def test_a_value_that_is_no_class_names_its_file():
    with pytest.raises(ValueError, match=r'1\.png.*value\(s\) 7 on .* 3 classes'):
        look(batch(label(0, 1), label(0, 7)))


def test_a_label_of_another_size_names_its_file():
    with pytest.raises(TrainingError, match=r'1\.png: after the pipeline the label is \(2, 6\)'):
        look(batch(label(0), label(0, size=(2, 6))))


def test_a_sample_without_a_label():
    data = batch(label(0))
    del data['data_samples'][0].gt_sem_seg
    with pytest.raises(TrainingError, match=r'0\.png: there is no label to train with'):
        look(data)


def test_nothing_but_ignored_pixels():
    with pytest.raises(TrainingError, match=r'first 2 batches is ignored.*label_map=\{255: 1\}'):
        look(batch(label(255)), batch(label(255)))


def test_masks_of_0_and_255_are_warned_about(monkeypatch):
    said = []
    monkeypatch.setattr(
        'segkit.engine.hooks.first_batches.print_log', lambda text, *_: said.append(text)
    )

    look(batch(label(0, 255)), batch(label(0)))

    (text,) = said
    assert 'the only class is 0' in text
    assert 'label_map={255: 1}' in text
    look(batch(label(0, 1, 255)))
    assert len(said) == 1


def test_a_class_that_the_dataset_ignores_is_warned_about_once(monkeypatch):
    said = []
    monkeypatch.setattr(
        'segkit.engine.hooks.first_batches.print_log', lambda text, *_: said.append(text)
    )
    data = batch(label(0, 1), label(2, 255))
    data['data_samples'][1].set_metainfo({'ignore_index': 255})
    look(data, data)
    assert not said
    data['data_samples'][1].set_metainfo({'ignore_index': 2})
    look(data, data)
    (text,) = said
    assert 'The dataset ignores label 2, the head 255: 2 counts as a class there.' in text


def test_only_the_first_batches_are_looked_at():
    hook = look(batch(label(0, 1)), batch(label(1)))

    look(batch(label(99)), hook=hook)


def test_a_run_has_the_check_and_stops_at_once(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.model.decode_head.num_classes = cfg.model.auxiliary_head.num_classes = 4

    runner = Runner.from_cfg(cfg)

    assert any(isinstance(hook, FirstBatchesHook) for hook in runner.hooks)
    with pytest.raises(ValueError, match=r'shapes/train/\d+\.png.* of the 4 classes'):
        runner.train()
    assert runner.iter == 0
