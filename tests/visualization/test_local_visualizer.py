"""SegLocalVisualizer and its hook, as a Runner uses them."""

from types import SimpleNamespace
from uuid import uuid4

import numpy as np
import pytest
import torch
from helpers.eval_samples import META, PALETTE, random_samples
from helpers.imports import modules_after
from PIL import Image

from segkit.registry import HOOKS, VISUALIZERS


def visualizer_of(tmp_path, **kwargs):
    visualizer = VISUALIZERS.build(
        {
            'type': 'SegLocalVisualizer',
            'name': f'test-{uuid4()}',
            'vis_backends': [{'type': 'LocalVisBackend'}],
            'save_dir': str(tmp_path),
            **kwargs,
        }
    )
    visualizer.dataset_meta = META
    return visualizer


def grey(sample):
    return np.full((*sample.ori_shape, 3), 100, np.uint8)


def test_prediction_stands_to_the_right_of_the_label(tmp_path):
    sample = random_samples(1)[0]
    drawn = visualizer_of(tmp_path, alpha=1.0).add_datasample(
        'a', grey(sample), sample, out_file=tmp_path / 'deep/a.png'
    )
    height, width = sample.ori_shape
    body = drawn[-height:]
    assert body.shape[1] == 2 * width + 8
    pred = sample.pred_sem_seg.data[0].numpy()
    assert np.array_equal(body[:, width + 8 :], np.array(PALETTE, np.uint8)[pred])
    assert np.array_equal(np.array(Image.open(tmp_path / 'deep/a.png')), drawn)


def test_prediction_alone_keeps_the_size(tmp_path):
    sample = random_samples(1)[0]
    drawn = visualizer_of(tmp_path).add_datasample('a', grey(sample), sample, draw_gt=False)
    assert drawn.shape[:2] == sample.ori_shape
    assert list(tmp_path.rglob('a_0.png'))


def test_every_rank_draws_in_the_colours_of_the_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 1)
    assert visualizer_of(tmp_path).dataset_meta == META


def test_opacity_out_of_range_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'alpha=2.*\(0, 1\]'):
        visualizer_of(tmp_path, alpha=2)


def test_matplotlib_drawing_still_works(tmp_path):
    visualizer = visualizer_of(tmp_path)
    visualizer.set_image(np.zeros((20, 20, 3), np.uint8))
    visualizer.draw_bboxes(torch.tensor([2, 2, 12, 12]))
    assert visualizer.get_image().max() > 0


def test_no_matplotlib_until_it_is_needed():
    assert 'matplotlib.figure' not in modules_after(
        'from segkit.visualization import SegLocalVisualizer; SegLocalVisualizer("x")'
    )


def test_hook_draws_every_image_of_a_test_into_a_folder(tmp_path):
    samples = random_samples(2)
    hook = HOOKS.build({'type': 'SegVisualizationHook', 'show_dir': str(tmp_path / 'show')})
    runner = SimpleNamespace(visualizer=visualizer_of(tmp_path), iter=0)
    images = [torch.zeros(3, *sample.ori_shape, dtype=torch.uint8) for sample in samples]
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, {'inputs': images}, samples)
    assert sorted(p.name for p in (tmp_path / 'show').iterdir()) == ['000.png', '001.png']


def test_hook_draws_the_same_images_in_every_validation():
    drawn = []
    recorder = SimpleNamespace(add_datasample=lambda name, *args, **kwargs: drawn.append(name))
    runner = SimpleNamespace(visualizer=recorder, iter=0)
    hook = HOOKS.build({'type': 'SegVisualizationHook', 'draw': True, 'interval': 2})
    for _ in range(2):
        hook.before_val_epoch(runner)
        for i, sample in enumerate(random_samples(3)):
            image = torch.zeros(3, *sample.ori_shape, dtype=torch.uint8)
            hook.after_val_iter(runner, i, {'inputs': [image]}, [sample])
    assert drawn == ['val_001', 'val_001']


def test_pictures_of_one_name_lie_in_the_folders_of_their_images(tmp_path):
    hook = HOOKS.build({'type': 'SegVisualizationHook', 'show_dir': str(tmp_path / 'show')})
    dataset = SimpleNamespace(data_prefix={'img_path': 'data/val'})
    runner = SimpleNamespace(
        visualizer=visualizer_of(tmp_path), test_dataloader=SimpleNamespace(dataset=dataset)
    )
    for i, folder in enumerate('ab'):
        sample = random_samples(1)[0]
        sample.set_metainfo({'img_path': f'data/val/{folder}/0.jpg'})
        image = torch.zeros(3, *sample.ori_shape, dtype=torch.uint8)
        hook.after_test_iter(runner, i, {'inputs': [image]}, [sample])
    shown = (tmp_path / 'show').rglob('*.png')
    assert sorted(str(p.relative_to(tmp_path)) for p in shown) == ['show/a/0.png', 'show/b/0.png']


def test_hook_does_nothing_unless_asked(tmp_path):
    hook = HOOKS.build({'type': 'SegVisualizationHook'})
    hook.after_val_iter(None, 0, None, random_samples(1))


def test_hook_reads_the_image_file_where_there_is_one(tmp_path):
    from segkit.visualization.images import image_of, read_rgb

    Image.new('RGB', (7, 5), (1, 2, 3)).save(tmp_path / 'ä.png')
    sample = random_samples(1)[0]
    sample.set_metainfo({'img_path': str(tmp_path / 'ä.png')})
    assert image_of(sample, None, 0)[0, 0].tolist() == [1, 2, 3]
    (tmp_path / 'b.png').write_text('no image')
    with pytest.raises(ValueError, match='b.png is not an image'):
        read_rgb(tmp_path / 'b.png')


def test_without_a_file_the_input_is_shown_in_rgb():
    from segkit.visualization.images import image_of

    bgr = torch.tensor([1, 2, 3], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 6)
    shown = image_of(random_samples(1)[0], {'inputs': [bgr]}, 0)
    assert shown.tolist() == [[[3, 2, 1]] * 6] * 4


@pytest.mark.parametrize('channels', [1, 2, 3, 5])
def test_a_file_that_is_no_picture_is_shown_as_the_network_saw_it(tmp_path, channels):
    from segkit.visualization.images import image_of

    np.save(tmp_path / 'a.npy', np.zeros((8, 9, channels), np.float32))
    sample = random_samples(1)[0]
    sample.set_metainfo({'img_path': str(tmp_path / 'a.npy')})
    inputs = torch.arange(4.0).reshape(1, 2, 2).repeat(channels, 1, 1)
    image = image_of(sample, {'inputs': [inputs]}, 0)
    assert image.dtype == np.uint8
    assert image.tolist() == [[[0] * 3, [85] * 3], [[170] * 3, [255] * 3]]
    with pytest.raises(ValueError, match=r'a\.npy is not an image'):
        image_of(sample, None, 0)


def test_of_several_views_the_largest_is_shown():
    from segkit.structures import ImageViews
    from segkit.visualization.images import image_of

    views = [torch.zeros(3, 4 * i, 6 * i, dtype=torch.uint8) for i in (1, 3, 2)]
    sample = random_samples(1)[0]
    assert image_of(sample, {'inputs': [ImageViews(views)]}, 0).shape == (12, 18, 3)
    with pytest.raises(ValueError, match='images/000.jpg: neither an image file nor'):
        image_of(sample, None, 0)
