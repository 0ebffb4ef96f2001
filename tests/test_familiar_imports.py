"""Import paths of mmsegmentation lead to the same objects after changing one word."""

import subprocess
import sys

import numpy as np
import pytest

from segkit.utils import get_classes, get_palette


def test_familiar_paths_are_the_same_objects():
    import segkit.evaluation
    import segkit.evaluation.metrics
    from segkit.models.layers import resize
    from segkit.models.utils import resize as through_utils

    assert segkit.evaluation.metrics.IoUMetric is segkit.evaluation.IoUMetric
    assert through_utils is resize


def test_names_of_both_generations_are_there():
    from segkit.apis import inference_segmentor, init_model, init_segmentor
    from segkit.datasets import LoadAnnotations, PackSegInputs
    from segkit.models import HEADS, LOSSES, BaseSegmentor, build_loss, build_segmentor
    from segkit.models.builder import BACKBONES, NECKS, build_backbone, build_head
    from segkit.models.losses.utils import get_class_weight, weighted_loss
    from segkit.registry import MODELS, TRANSFORMS
    from segkit.utils import ConfigType, OptSampleList, SampleList, add_prefix

    assert init_segmentor is init_model
    assert MODELS is HEADS is LOSSES is BACKBONES is NECKS
    assert TRANSFORMS.get('PackSegInputs') is PackSegInputs
    assert TRANSFORMS.get('LoadAnnotations') is LoadAnnotations
    assert issubclass(MODELS.get('EncoderDecoder'), BaseSegmentor)
    assert build_loss({'type': 'CrossEntropyLoss'}).loss_name == 'loss_ce'
    assert build_backbone is build_head
    loss = dict(type='CrossEntropyLoss')
    assert type(build_segmentor(loss)) is type(build_loss(loss))
    assert add_prefix({'a': 1}, 'aux') == {'aux.a': 1}
    assert None not in (inference_segmentor, get_class_weight, weighted_loss)
    assert None not in (ConfigType, OptSampleList, SampleList)


@pytest.mark.parametrize(
    ('name', 'count', 'first', 'colour'),
    [
        ('cityscapes', 19, 'road', [128, 64, 128]),
        ('ade', 150, 'wall', [120, 120, 120]),
        ('voc12aug', 21, 'background', [0, 0, 0]),
        ('pcontext', 59, 'aeroplane', [180, 120, 120]),
    ],
)
def test_classes_and_palettes_have_their_short_names(name, count, first, colour):
    assert len(get_classes(name)) == len(get_palette(name)) == count
    assert get_classes(name)[0] == first
    assert get_palette(name)[0] == colour


def test_a_star_import_brings_every_network():
    names = {}
    exec('from segkit.models import *', names)
    assert {'EncoderDecoder', 'PSPHead', 'ResNetV1c', 'BaseDecodeHead', 'build_loss'} < set(names)


def test_an_unknown_dataset_is_named_with_those_there_are():
    with pytest.raises(KeyError, match='ade21k.*cityscapes'):
        get_classes('ade21k')


def test_a_segmentor_of_the_first_generation_gives_arrays():
    from segkit.apis import inference_segmentor, init_segmentor

    model = init_segmentor('configs/demo/pspnet_r18-d8_shapes.py')

    (classes,) = inference_segmentor(model, np.zeros((32, 40, 3), np.uint8))

    assert classes.shape == (32, 40)


def test_the_package_itself_stays_light():
    code = 'import sys, segkit, segkit.models; sys.exit("torch" in sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True)


def test_register_all_modules_registers_and_sets_the_scope():
    code = (
        'from segkit.utils import register_all_modules; register_all_modules(); '
        'from mmengine.registry import DefaultScope, MODELS; '
        "assert DefaultScope.get_current_instance().scope_name == 'segkit'; "
        "loss = MODELS.build(dict(type='CrossEntropyLoss')); "
        "assert type(loss).__module__ == 'segkit.models.losses.cross_entropy_loss'; "
        'register_all_modules()'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_samples_come_in_the_order_of_their_file_names(tmp_path):
    from segkit.datasets.scan import list_stems

    for name in ('a.jpg', 'a-1.jpg', 'a (2).jpg', 'b/a.jpg', 'B.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    # By hand: ' ' < '-' < '.' and capitals before small letters, in ASCII.
    assert list_stems(str(tmp_path), '.jpg') == ['B', 'a (2)', 'a-1', 'a', 'b/a']


def test_made_up_palette_is_the_one_of_a_seeded_legacy_generator():
    from segkit.datasets.metainfo import make_palette

    state = np.random.get_state()
    np.random.seed(42)
    want = np.random.randint(0, 255, size=(300, 3)).tolist()
    np.random.set_state(state)
    assert make_palette(300) == want
    assert max(map(max, want)) == 254
