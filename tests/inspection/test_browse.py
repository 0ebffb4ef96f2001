"""What browsing shows of a data set."""

from helpers.tiny_config import tiny_config

from segkit.inspection.browse import browse


def test_one_image_seen_three_times_is_augmented_in_three_ways(tmp_path):
    cfg = tiny_config(tmp_path, train_dataloader__dataset__num_images=1)
    loader = cfg.train_dataloader
    loader.dataset = {'type': 'RepeatDataset', 'times': 3, 'dataset': loader.dataset}
    titles, pictures = zip(*browse(cfg, 'train', 3, opacity=0))
    assert titles == ('00000',) * 3
    assert len({picture.tobytes() for picture in pictures}) == 3
