"""tools/browse_dataset.py: a sheet or a folder of what training sees."""

import numpy as np
from helpers.run_tool import run_tool
from helpers.tiny_config import write_tiny_config
from mmengine.config import Config
from PIL import Image

from segkit.datasets.transforms.aug_test import enable_aug_test
from segkit.inspection.browse import Tally, browse
from segkit.registry import DATASETS


def test_a_sheet_and_a_folder(tmp_path):
    config = write_tiny_config(tmp_path)

    status, text = run_tool(
        'browse_dataset',
        config,
        '--out',
        tmp_path / 'sheet.png',
        '--num',
        6,
        '--columns',
        3,
        own_process=True,
    )
    assert status == 0, text
    assert '6 samples' in text
    sheet = Image.open(tmp_path / 'sheet.png')
    assert sheet.width == 8 + 3 * (320 + 8)

    status, text = run_tool(
        'browse_dataset', config, '--out', tmp_path / 'files', '--num', 4, '--split', 'val'
    )
    assert status == 0, text
    files = sorted(path.name for path in (tmp_path / 'files').iterdir())
    # val has three
    assert files == ['0000_00000.png', '0001_00001.png', '0002_00002.png', 'legend.png']


def test_of_several_views_the_largest_is_shown(tmp_path):
    cfg = enable_aug_test(Config.fromfile(write_tiny_config(tmp_path)))
    [(_, picture), *_] = browse(cfg, 'test', 1)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3


def test_augmentation_depends_on_the_seed_alone(tmp_path):
    cfg = Config.fromfile(write_tiny_config(tmp_path))

    once, again, other = (list(browse(cfg, 'train', 3, seed)) for seed in (1, 1, 2))

    assert [title for title, _ in once] == ['00000', '00003', '00007']
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(once, again))
    assert any(not np.array_equal(a[1], b[1]) for a, b in zip(once, other))
    assert all(picture.shape == (32, 32, 3) for _, picture in once)


def test_raw_pictures_show_the_image_in_rgb_and_labels_in_their_colours(tmp_path):
    cfg = Config.fromfile(write_tiny_config(tmp_path))
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    entry = dataset.get_data_info(0)['cache_entry']
    palette = np.array(dataset.metainfo['palette'])

    (_, bare), = browse(cfg, 'val', 1, opacity=0, raw=True)  # fmt: skip
    (_, full), = browse(cfg, 'val', 1, opacity=1, raw=True)  # fmt: skip

    assert np.array_equal(bare, entry.image()[..., ::-1])
    known = entry.label() != 255
    assert np.array_equal(full[known], palette[entry.label()[known]])


def test_the_legend_counts_what_is_shown(tmp_path):
    cfg = Config.fromfile(write_tiny_config(tmp_path))
    tally = Tally()
    list(browse(cfg, 'val', 3, raw=True, tally=tally))
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    labels = [dataset.get_data_info(i)['cache_entry'].label() for i in range(3)]
    pixels = np.concatenate([label.ravel() for label in labels])
    assert {k: n for k, n in tally.counts.items() if n} == {
        int(v): int((pixels == v).sum()) for v in np.unique(pixels)
    }
    picture = tally.legend(640)
    colours = {tuple(c) for c in picture.reshape(-1, 3).tolist()}
    assert colours >= {tuple(c) for c in tally.palette}
    assert picture.shape[1] == 640


def test_data_sets_in_one_another_are_shown_as_they_are(tmp_path):
    cfg = Config.fromfile(write_tiny_config(tmp_path))
    part = cfg.val_dataloader.dataset
    for wrapped, count in (
        (dict(type='RepeatDataset', times=2, dataset=part), 6),
        (dict(type='ConcatDataset', datasets=[part, part]), 6),
    ):
        cfg.val_dataloader.dataset = wrapped
        assert len(list(browse(cfg, 'val', 9, raw=True))) == count
