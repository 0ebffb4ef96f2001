import json

from helpers.run_folders import write_run
from helpers.run_tool import run_tool


def test_settings_metrics_and_classes(tmp_path):
    a, b = write_run(tmp_path / 'a'), write_run(tmp_path / 'b', lr=0.02, gain=5)
    status, text = run_tool('compare_runs', a, b)
    assert status == 0, text
    assert '| optim_wrapper.optimizer.lr | 0.01 | 0.02 |' in text
    assert 'model.type' not in text
    assert '| mIoU   | 60.00 | 65.00 |  5.00 |' in text
    assert text.index('| car') < text.index('| sky'), 'most changed first'


def test_equal_configs_say_so(tmp_path):
    run = write_run(tmp_path / 'a')
    assert 'The configs are the same.' in run_tool('compare_runs', run, run)[1]


def test_a_setting_is_shown_once_though_the_file_computes_it_from_a_variable(tmp_path):
    runs = []
    for steps in (20, 40):
        path = tmp_path / f'c{steps}.py'
        path.write_text(f'max_iters = {steps}\ntrain_cfg = dict(max_iters=max_iters)\n')
        runs.append(path)
    status, text = run_tool('compare_runs', *runs)
    assert status == 0, text
    assert text.count('max_iters') == 1
    assert '| train_cfg.max_iters | 20 | 40 |' in text


def test_a_shipped_config_by_name(tmp_path):
    names = 'psanet_r50-d8_512x1024_40k_cityscapes', 'pspnet_r50-d8_512x1024_40k_cityscapes'
    status, text = run_tool('compare_runs', *names)
    assert status == 0, text
    assert '| model.decode_head.type' in text


def test_the_validation_that_is_compared_is_named(tmp_path):
    for name, steps in (('a', (4, 8)), ('b', (4,))):
        folder = tmp_path / name / '20260101_000000' / 'vis_data'
        folder.mkdir(parents=True)
        lines = [json.dumps(dict(mIoU=10.0 + step, step=step)) for step in steps]
        (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')
    status, text = run_tool('compare_runs', tmp_path / 'a', tmp_path / 'b')
    assert status == 0, text
    assert f'A: {tmp_path / "a"}: its last validation, step 8' in text
    assert f'B: {tmp_path / "b"}: its last validation, step 4' in text
    tested = dict(
        checkpoint='/x/iter_4.pth', protocol='whole, single scale', images=3,
        metrics=dict(mIoU=50.0), classes=[{'class': 'a', 'IoU': 50.0}],
    )  # fmt: skip
    (tmp_path / 'a/results.json').write_text(json.dumps(tested))
    text = run_tool('compare_runs', tmp_path / 'a', tmp_path / 'b')[1]
    assert 'a: a test of iter_4.pth (whole, single scale), 3 images' in text
