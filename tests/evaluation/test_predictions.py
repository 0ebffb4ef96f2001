"""Reading back what a test wrote."""

import pickle

import numpy as np
import pytest
from helpers.eval_samples import CLASSES
from PIL import Image

from segkit.evaluation import EvaluationError
from segkit.evaluation.id_images import IdImageWriter
from segkit.evaluation.predictions import Predictions, read_pickle

MAP = np.array([[0, 1, 4]], np.uint8)


def test_pickle_of_maps(tmp_path):
    for protocol in (3, 4, 5):
        (tmp_path / 'p.pkl').write_bytes(pickle.dumps([MAP, MAP.T], protocol))
        assert read_pickle(tmp_path / 'p.pkl')[1].tolist() == MAP.T.tolist()


class Harmful:
    def __reduce__(self):
        return print, ('executed',)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, capsys):
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps([Harmful()]))
    with pytest.raises(EvaluationError, match=r'p.pkl: not a pickle of label maps.*print'):
        read_pickle(tmp_path / 'p.pkl')
    assert 'executed' not in capsys.readouterr().out


@pytest.mark.parametrize('content', [b'', b'abc', pickle.dumps({'a': 1})])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / 'p.pkl').write_bytes(content)
    with pytest.raises(EvaluationError, match='p.pkl'):
        read_pickle(tmp_path / 'p.pkl')


@pytest.mark.parametrize('shifted', [False, True])
def test_folder_gives_back_what_was_written(tmp_path, shifted):
    IdImageWriter(str(tmp_path), CLASSES).write(MAP, 'images/a.jpg', shifted)
    read = Predictions(tmp_path, CLASSES, 1).of(0, 'images/a.jpg', shifted)
    assert read.tolist() == MAP.tolist()


@pytest.mark.parametrize(('maps', 'images'), [(1, 2), (2, 1)])
def test_too_few_and_too_many_maps_are_refused(tmp_path, maps, images):
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps([MAP] * maps))
    words = f'holds {maps} predictions.* {images} images.*test_dataloader.dataset.indices={maps}'
    with pytest.raises(EvaluationError, match=words):
        Predictions(tmp_path / 'p.pkl', CLASSES, images)


def test_missing_file_and_foreign_id(tmp_path):
    with pytest.raises(EvaluationError, match='q.pkl: there is no such file'):
        Predictions(tmp_path / 'q.pkl', CLASSES, 1)
    with pytest.raises(EvaluationError, match='b.png: there is no prediction for x/b.jpg'):
        Predictions(tmp_path, CLASSES, 1).of(0, 'x/b.jpg')
    Image.fromarray(MAP + 3).save(tmp_path / 'c.png')
    with pytest.raises(EvaluationError, match=r'c.png: id\(s\) 7 stand for none of the 5'):
        Predictions(tmp_path, CLASSES, 1).of(0, 'c.jpg')
