"""What subclasses in the style of mmsegmentation 0.x replace; arguments by their older names."""

import numpy as np
import pytest
import torch
from helpers.older_uses import IMAGE, folders, home, labelled, model

import segkit.models.losses as losses
from segkit.apis import inference_model
from segkit.core.utils import sync_random_seed
from segkit.datasets import CityscapesDataset, ConcatDataset, RepeatDataset
from segkit.datasets.custom import CustomDataset
from segkit.datasets.samplers import DistributedSampler
from segkit.errors import UserError
from segkit.evaluation import IoUMetric
from segkit.models.segmentors import EncoderDecoder
from segkit.utils import find_latest_checkpoint
from segkit.visualization import SegLocalVisualizer

PARTS = dict(
    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
    decode_head=dict(
        type='FCNHead', in_channels=32, channels=8, num_classes=3, in_index=3, dropout_ratio=0
    ),
    auxiliary_head=dict(type='FCNHead', in_channels=16, channels=8, num_classes=3, in_index=2),
)
IMAGES = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))


class Weighted(EncoderDecoder):
    """Steps with the arguments of 0.x, each of which shows in what comes out."""

    seen: list

    def forward_train(self, img, img_metas, gt_semantic_seg, **kwargs):
        self.seen = [type(img_metas), gt_semantic_seg.shape, gt_semantic_seg.dtype]
        found = super().forward_train(img, img_metas, gt_semantic_seg)
        return {name: 2 * value if 'loss' in name else value for name, value in found.items()}

    def _decode_head_forward_train(self, x, img_metas, gt_semantic_seg):
        own = self.decode_head.forward_train(x, img_metas, gt_semantic_seg, self.train_cfg)
        return {f'decode.{name}': 3 * value for name, value in own.items()}

    def _auxiliary_head_forward_train(self, x, img_metas, gt_semantic_seg):
        return super()._auxiliary_head_forward_train(x, img_metas, gt_semantic_seg)

    def whole_inference(self, img, img_meta, rescale):
        logits = super().whole_inference(img, img_meta, rescale)
        return logits.flip(1)

    def inference(self, img, img_meta, rescale):
        return super().inference(img, img_meta, rescale).softmax(1)


def built(kind):
    torch.manual_seed(0)
    made = kind(**PARTS).eval()
    made.init_weights()
    return made


def test_a_segmentor_of_0_x_trains_and_predicts_by_its_steps():
    mine, plain = built(Weighted), built(EncoderDecoder)
    got, usual = (m.loss(IMAGES, labelled()) for m in (mine, plain))
    assert mine.seen == [list, (2, 1, 32, 40), torch.int64]
    torch.testing.assert_close(got['decode.loss_ce'], 6 * usual['decode.loss_ce'])
    torch.testing.assert_close(got['aux.loss_ce'], 2 * usual['aux.loss_ce'])
    samples = [m.predict(IMAGES, labelled())[0].pred_sem_seg.data for m in (mine, plain)]
    assert torch.equal(samples[0], 2 - samples[1])
    assert (mine.simple_test(IMAGES, [{}] * 2)[0] == samples[0].numpy()).all()
    assert mine.forward_dummy(IMAGES).shape == (2, 3, 32, 40)


def test_a_model_has_its_classes_by_the_names_of_0_x():
    made = built(EncoderDecoder)
    assert made.CLASSES is None
    made.CLASSES, made.PALETTE = ('a', 'b', 'c'), [[1] * 3] * 3
    assert made.dataset_meta == dict(classes=('a', 'b', 'c'), palette=[[1] * 3] * 3)
    assert model().dataset_meta['classes'] == model().CLASSES


def test_rescaling_within_a_step_and_steps_nobody_calls_are_said():
    with pytest.raises(UserError, match='postprocess_result resizes'):
        built(EncoderDecoder).inference(IMAGES, [{}] * 2, True)
    with pytest.warns(UserWarning, match='Old.simple_test is of mmsegmentation 0.x'):
        type('Old', (EncoderDecoder,), {'simple_test': lambda *args: None})


class Listed(CustomDataset):
    """Names its own files, and adds to its samples."""

    CLASSES, PALETTE = ('a', 'b', 'c'), [[0, 0, 0], [1, 1, 1], [2, 2, 2]]

    def load_annotations(self, img_dir, img_suffix, ann_dir, seg_map_suffix, split):
        every = super().load_annotations(img_dir, img_suffix, ann_dir, seg_map_suffix, split)
        assert every[0] == dict(filename='0.jpg', ann=dict(seg_map='0.png'))
        return [every[2], dict(filename='0.jpg', ann=dict(seg_map='1.png'))]

    def pre_pipeline(self, results):
        super().pre_pipeline(results)
        results['mine'] = results['img_info']['filename']

    def prepare_train_img(self, idx):
        return {**super().prepare_train_img(idx), 'number': idx}


def test_a_data_set_of_0_x_names_its_files_and_adds_to_its_samples():
    found = Listed(
        data_root=str(home()), img_dir='images', ann_dir='labels',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )  # fmt: skip
    assert len(found) == 2
    assert found[1]['seg_map_path'] == str(home() / 'labels/1.png')
    assert (found[1]['mine'], found[1]['number']) == ('0.jpg', 1)
    assert found.get_ann_info(1)['seg_map'].endswith('1.png')
    assert found.CLASSES == found.metainfo['classes'] == ('a', 'b', 'c')


def test_classes_of_0_x_of_any_data_set():
    assert CityscapesDataset.CLASSES[0] == 'road'
    assert list(CityscapesDataset.PALETTE[0]) == [128, 64, 128]
    mine = type('Mine', (CityscapesDataset,), dict(CLASSES=('x', 'y'), PALETTE=[[1] * 3, [2] * 3]))
    found = mine(**folders(img_suffix='.jpg', seg_map_suffix='.png'))
    both = [found, RepeatDataset(found, 2), ConcatDataset([found, found])]
    for part in both:
        assert (part.CLASSES, part.PALETTE) == (('x', 'y'), [[1] * 3, [2] * 3])


@pytest.mark.parametrize('name', ['DiceLoss', 'FocalLoss', 'TverskyLoss', 'LovaszLoss'])
def test_arguments_of_losses_by_name(name):
    loss, labels = getattr(losses, name)(), torch.randint(0, 3, (2, 4, 5))
    logits = torch.randn(2, 3, 4, 5)
    names = ('cls_score', 'label') if name == 'LovaszLoss' else ('pred', 'target')
    assert loss(**dict(zip(names, (logits, labels)))) == loss(logits, labels)


def test_arguments_of_metrics_pictures_and_samplers():
    for metric in (IoUMetric(0, ['mDice']), IoUMetric(['mDice'], 0), IoUMetric(0, 'mDice', 1, 2.0)):
        assert (metric.ignore_index, metric.metrics) == (0, ['mDice'])
    assert IoUMetric(['mIoU']).ignore_index == 255
    same = inference_model(model(), img=IMAGE).pred_sem_seg.data
    assert torch.equal(same, inference_model(model(), IMAGE).pred_sem_seg.data)
    with pytest.raises(UserError, match='give imgs'):
        inference_model(model())
    shares = [list(DistributedSampler(range(6), 2, rank, shuffle=False)) for rank in (0, 1)]
    assert shares == [[0, 2, 4], [1, 3, 5]]
    assert sync_random_seed(seed=3, device='cpu') == 3


def test_the_visualizer_knows_a_data_set_and_writes_names():
    drawing = SegLocalVisualizer(dataset_name='cityscapes')
    assert drawing.dataset_meta['classes'][0] == 'road'
    drawing.set_dataset_meta(classes=['a', 'b', 'c'], palette=[[9, 9, 9]] * 3)
    sample = labelled()[0]
    plain, named = (
        drawing.add_datasample('x', np.zeros_like(IMAGE), sample, True, True, False, 0, None, 0, on)
        for on in (False, True)
    )
    assert 10 < (plain != named).any(-1).sum() < plain[..., 0].size


def test_the_latest_checkpoint_of_a_folder(tmp_path):
    assert find_latest_checkpoint(str(tmp_path)) is None
    for name in ('iter_900.pth', 'iter_1000.pth', 'best_mIoU.pth'):
        (tmp_path / name).touch()
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_1000.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_900.pth'))
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_900.pth')
