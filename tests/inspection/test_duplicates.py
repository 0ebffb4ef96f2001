"""Pictures that are in two splits, or nearly so, are named; others are not."""

import cv2
import numpy as np
from helpers.checks import config
from helpers.make_data import smooth_image, write_dataset

from segkit.engine.before_training import WARNING
from segkit.inspection.check import check
from segkit.inspection.duplicates import duplicate_findings, near_duplicates
from segkit.inspection.examine import look_of


def looks(images) -> list:
    return [(str(i), look_of(image)) for i, image in enumerate(images)]


def test_copies_are_known_by_what_they_show():
    rng = np.random.default_rng(0)
    images = [smooth_image(rng, (96, 128)) for _ in range(40)]
    image = images[7]
    jpeg = cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1)
    copies = [
        image,
        jpeg,
        cv2.resize(image, (256, 192)),
        cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA),
        (image * 0.7 + 20).astype(np.uint8),
        image.astype(np.uint16) * 200,
        cv2.cvtColor(image, cv2.COLOR_BGR2GRAY),
        np.roll(image, 1, axis=1),
    ]
    assert near_duplicates(looks(copies), looks(images)) == [(str(i), '7') for i in range(8)]
    others = [smooth_image(rng, (96, 128)) for _ in range(40)]
    others += [image[:, ::-1], 255 - image, np.zeros((9, 9, 3), np.uint8)]
    assert near_duplicates(looks(others), looks(images)) == []
    assert near_duplicates([], looks(images)) == near_duplicates(looks(images), []) == []


def test_a_check_names_both_pictures(tmp_path):
    root = write_dataset(tmp_path, [(96, 128)] * 6)
    for split, names in (('train', '0123'), ('val', '45')):
        (tmp_path / f'{split}.txt').write_text(''.join(f'00{n}\n' for n in names))
    image = cv2.imread(f'{root}/img/002.png')
    cv2.imwrite(f'{root}/img/005.png', (image * 0.8).astype(np.uint8))
    cfg = config(root, ann_file='train.txt')
    cfg.val_dataloader = config(root, ann_file='val.txt').train_dataloader

    found = check(cfg, 'x', workers=0)

    (finding,) = [f for f in found.general if f.level == WARNING]
    assert '1 of 2 pictures of val look like pictures that are trained on' in finding.text
    assert finding.files == [f'{root}/img/005.png: like {root}/img/002.png']
    assert finding.pictures == [f'{root}/img/005.png', f'{root}/img/002.png']

    (tmp_path / 'val.txt').write_text('004\n001\n')
    (finding,) = [f for f in check(cfg, 'x', workers=0).general if f.level == WARNING]
    assert finding.text.startswith('1 of 2 pictures of val are trained on too')
    assert finding.files == [f'{root}/img/001.png: in both']
    assert not list(duplicate_findings({'val': looks([image]), 'test': looks([image])}))
