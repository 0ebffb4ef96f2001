"""Import paths of the older toolbox lead to the same objects after changing one word."""

import subprocess
import sys

import numpy as np


def test_familiar_paths_are_the_same_objects():
    import segkit.evaluation
    import segkit.evaluation.metrics
    from segkit.models.layers import resize
    from segkit.models.utils import resize as through_utils

    assert segkit.evaluation.metrics.IoUMetric is segkit.evaluation.IoUMetric
    assert through_utils is resize


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
