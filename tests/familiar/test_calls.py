"""Calls of both generations: pictures, the inferencer, data sets, testing by hand."""

import numpy as np
import pytest
import torch
from helpers.older_uses import IMAGE, LABEL, folders, labelled, model
from mmengine.structures import PixelData
from PIL import Image

from segkit.apis import MMSegInferencer, show_result_pyplot
from segkit.core.evaluation import eval_metrics, intersect_and_union
from segkit.datasets.custom import CustomDataset
from segkit.errors import UserError


@pytest.fixture
def prediction():
    found = labelled()[0]
    found.pred_sem_seg = PixelData(data=torch.zeros(1, 32, 40, dtype=torch.uint8))
    return found


def test_the_arguments_of_1x_in_their_order(prediction, tmp_path):
    out = tmp_path / 'out.png'
    args = (0.7, 'street', True, True, 0, False, False, str(tmp_path / 'saved'), str(out))
    both = show_result_pyplot(model(), IMAGE, prediction, *args)
    assert both.shape[1] > 2 * 40  # the label beside the prediction
    np.testing.assert_array_equal(np.asarray(Image.open(out)), both)
    assert (tmp_path / 'saved/street.png').is_file()
    alone = show_result_pyplot(model(), IMAGE, prediction, 0.7, draw_gt=False, show=False)
    assert alone.shape == (32, 40, 3)


def test_the_arguments_of_0x_in_their_order():
    palette = [[9, 9, 9]] * 13
    found = show_result_pyplot(
        model(), IMAGE, [LABEL], palette, (15, 10), 1.0, 'a', False, show=False
    )
    assert (found == 9).all()


def test_the_order_of_show_result_is_taken_too():
    mine = show_result_pyplot(IMAGE, LABEL, model(), show=False, opacity=0.4)
    np.testing.assert_array_equal(mine, show_result_pyplot(model(), IMAGE, LABEL, 0.4, show=False))


def test_names_are_written_onto_the_areas(prediction):
    plain, named = (
        show_result_pyplot(
            model(), IMAGE, prediction, draw_gt=False, show=False, with_labels=wanted
        )
        for wanted in (False, True)
    )
    changed = (plain != named).any(-1)
    assert 10 < changed.sum() < changed.size


def test_colours_are_rgb_and_unwritten_arguments_are_named():
    red = show_result_pyplot(model(), IMAGE, LABEL, [[255, 0, 0]] * 13, opacity=1.0, show=False)
    assert red.reshape(-1, 3).max(0).tolist() == [255, 0, 0]
    with pytest.raises(TypeError, match='opacty'):
        show_result_pyplot(model(), IMAGE, LABEL, opacty=0.5)
    with pytest.raises(TypeError, match='opacity is given twice'):
        show_result_pyplot(model(), IMAGE, LABEL, 0.5, opacity=0.5)


def test_without_a_screen_and_a_file_it_is_said():
    with pytest.warns(UserWarning, match='no screen'):
        show_result_pyplot(model(), IMAGE, LABEL)


def test_the_inferencer_writes_pictures_and_classes(tmp_path):
    path = tmp_path / 'street.png'
    Image.fromarray(IMAGE).save(path)
    inferencer = MMSegInferencer(model())
    found = inferencer([str(path), IMAGE], out_dir=str(tmp_path / 'out'), return_vis=True)
    files = sorted(
        p.relative_to(tmp_path / 'out').as_posix() for p in (tmp_path / 'out').rglob('*.*')
    )
    pictures = {'vis/street.png', 'vis/00000001_vis.jpg'}
    assert pictures | {'pred/00000000_pred.png', 'pred/00000001_pred.png'} <= set(files)
    classes = np.asarray(Image.open(tmp_path / 'out/pred/00000000_pred.png'))
    np.testing.assert_array_equal(classes, found['predictions'][0])
    assert [picture.shape for picture in found['visualization']] == [(32, 40, 3)] * 2
    one = inferencer(IMAGE)
    assert one['predictions'].shape == (32, 40)
    samples = inferencer([IMAGE, IMAGE], return_datasamples=True, batch_size=2)
    assert [tuple(s.pred_sem_seg.data.shape) for s in samples] == [(1, 32, 40)] * 2


def test_the_inferencer_does_not_write_over_pictures_of_others(tmp_path):
    (tmp_path / 'vis').mkdir()
    Image.fromarray(IMAGE).save(tmp_path / 'vis/00000000_vis.jpg')
    with pytest.raises(UserError, match='00000000_vis.jpg'):
        MMSegInferencer(model())(IMAGE, out_dir=str(tmp_path))


def test_names_and_colours_of_another_data_set():
    inferencer = MMSegInferencer('fcn_r18-d8_shapes', dataset_name='cityscapes', device='cpu')
    assert inferencer.model.dataset_meta['classes'][0] == 'road'


def test_a_data_set_of_0x_reads_scores_and_lists():
    class Three(CustomDataset):
        CLASSES = ('a', 'b', 'c')
        PALETTE = [[1, 1, 1], [2, 2, 2], [3, 3, 3]]

    root = folders()['data_root']
    found = Three(data_root=root, img_dir='images', ann_dir='labels')
    assert (found.CLASSES, len(found), len(found.img_infos)) == (('a', 'b', 'c'), 3, 3)
    assert found.img_infos[0]['ann']['seg_map'].endswith('labels/0.png')
    maps = list(found.get_gt_seg_maps())
    np.testing.assert_array_equal(maps[0], LABEL)
    scores = found.evaluate(maps, metric=['mIoU', 'mDice', 'mFscore'])
    assert {scores[name] for name in ('aAcc', 'mIoU', 'mDice', 'mFscore', 'IoU.b')} == {1.0}
    wrong = [np.zeros_like(LABEL)] * 3
    assert found.evaluate(wrong)['mIoU'] == pytest.approx((LABEL == 0).mean() / 3)
    assert found.evaluate(found.pre_eval(wrong, [0, 1, 2]))['mIoU'] == found.evaluate(wrong)['mIoU']
    new = Three(**folders())
    assert len(new) == 3
    subset = Three(data_root=root, img_dir='images', ann_dir='labels', classes=('c', 'a'))
    assert subset.label_map == {0: 1, 1: 255, 2: 0}


def test_scores_by_function_against_scikit_learn():
    from sklearn.metrics import f1_score, jaccard_score

    rng = np.random.RandomState(0)
    labels, preds = (rng.randint(0, 3, (4, 9, 11)) for _ in range(2))
    labels[:, 0] = 255
    kept = labels != 255
    found = eval_metrics(list(preds), list(labels), 3, 255, ['mIoU', 'mDice', 'mFscore'])
    flat = labels[kept], preds[kept]
    np.testing.assert_allclose(found['IoU'], jaccard_score(*flat, average=None))
    np.testing.assert_allclose(found['Dice'], f1_score(*flat, average=None))
    np.testing.assert_allclose(found['Fscore'], f1_score(*flat, average=None))
    assert found['aAcc'] == pytest.approx((flat[0] == flat[1]).mean())


def test_labels_are_mapped_as_a_data_set_maps_them(tmp_path):
    stored = np.array([[0, 1, 2, 255]], np.uint8)
    pred = np.array([[1, 0, 1, 0]])
    right, _, predicted, labelled_as = intersect_and_union(
        pred, stored, 2, 255, reduce_zero_label=True
    )
    # 0 and 255 are ignored, 1 and 2 become 0 and 1: both right.
    assert (right.tolist(), predicted.tolist(), labelled_as.tolist()) == ([1, 1],) * 3
    np.save(tmp_path / 'pred.npy', pred)
    Image.fromarray(stored).save(tmp_path / 'label.png')
    again = intersect_and_union(
        str(tmp_path / 'pred.npy'), str(tmp_path / 'label.png'), 2, 255, {2: 0, 0: 255}
    )
    assert again[0].tolist() == [0, 0]
    assert again[3].tolist() == [1, 1]


def test_a_name_alone_stands_for_its_published_weights(monkeypatch, capsys):
    """As in the example of the documentation of 1.x; a file of one's own for none."""
    asked = []

    def init(config, weights, device):
        asked.append((config, weights))
        return model()

    monkeypatch.setattr('segkit.familiar.inferencer.init_model', init)
    name = 'deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024'
    MMSegInferencer(model=name)
    with pytest.warns(UserWarning, match='random'):
        MMSegInferencer(model='configs/demo/pspnet_r18-d8_shapes.py')
    MMSegInferencer(model=name, weights='mine.pth')
    (_, url), (_, none), (_, mine) = asked
    assert url.endswith(
        '/deeplabv3plus_r18-d8_512x1024_80k_cityscapes_20201226_080942-cff257fe.pth'
    )
    assert (none, mine) == (None, 'mine.pth')
    assert 'Cityscapes' in capsys.readouterr().err
    listed = MMSegInferencer.list_models('mmseg', 'segformer.*cityscapes')
    assert len(listed) == 6
    assert 'segformer_mit-b0_8x1_1024x1024_160k_cityscapes' in listed
