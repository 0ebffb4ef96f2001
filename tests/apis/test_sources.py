import cv2
import numpy as np
import pytest

from segkit.apis.sources import is_single, pictures

IMAGE = np.full((4, 6, 3), 7, np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name in ('b.png', 'a.jpg', 'deep/c.bmp'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), IMAGE)
    (tmp_path / 'notes.txt').write_text('no image')
    return tmp_path


def names(source):
    return [picture.name for picture in pictures(source)]


def test_a_folder_gives_its_images_sorted_and_nothing_else(folder):
    assert names(folder) == ['a', 'b', 'c']


def test_a_glob_and_a_list_give_what_they_name(folder):
    assert names(f'{folder}/*.png') == ['b']
    assert names([folder / 'b.png', str(folder / 'a.jpg'), IMAGE]) == ['b', 'a', '000002']


def test_arrays_are_single_or_a_batch():
    assert is_single(IMAGE)
    assert not is_single(IMAGE[None])
    assert names(np.stack([IMAGE, IMAGE])) == ['000000', '000001']


def test_a_generator_is_read_one_picture_at_a_time():
    drawn = []

    def endless():
        while True:
            drawn.append(0)
            yield IMAGE

    stream = pictures(endless())
    next(stream), next(stream)
    assert len(drawn) == 2


def test_a_video_gives_its_frames(tmp_path):
    path = tmp_path / 'film.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 5, (64, 48))
    for level in (0, 120, 240):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    frames = list(pictures(path))
    assert [frame.name for frame in frames] == ['film_000000', 'film_000001', 'film_000002']
    means = [frame.array.mean() for frame in frames]
    assert np.allclose(means, [0, 120, 240], atol=3)
    assert not is_single(path)


@pytest.mark.parametrize(
    ('source', 'error', 'message'),
    [
        ('nowhere.png', FileNotFoundError, 'nowhere.png'),
        ('nowhere/*.png', FileNotFoundError, 'No image in the glob'),
        (3, ValueError, 'A int is no source of images'),
    ],
)
def test_what_is_no_source_is_named(source, error, message):
    with pytest.raises(error, match=message):
        list(pictures(source))


def test_an_empty_folder_and_a_wrong_suffix_are_named(folder, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='No image in the folder'):
        list(pictures(tmp_path / 'empty'))
    (folder / 'notes.txt').rename(folder / 'notes.odt')
    with pytest.raises(ValueError, match=r'notes\.odt.* is neither an image nor a video'):
        list(pictures(folder / 'notes.odt'))


def test_a_broken_video_is_named(tmp_path):
    (tmp_path / 'film.mp4').write_bytes(b'not a film')
    with pytest.raises(ValueError, match=r'film\.mp4'):
        list(pictures(tmp_path / 'film.mp4'))


def test_links_to_folders_are_followed_once(tmp_path):
    """As data sets follow them: what lies behind a link is not left out without a word."""
    picture = np.zeros((4, 4, 3), np.uint8)
    for path in ('in/a/1.png', 'in/2.png', 'elsewhere/deep/3.png'):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / path), picture)
    (tmp_path / 'in/linked').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'elsewhere/back').symlink_to(tmp_path / 'in')
    (tmp_path / 'in/twin.png').symlink_to(tmp_path / 'in/2.png')
    (tmp_path / 'in/gone.dir').symlink_to(tmp_path / 'nowhere')
    found = [(p.folder, p.name) for p in pictures(tmp_path / 'in')]
    assert found == [('', '2'), ('a', '1'), ('linked/deep', '3'), ('', 'twin')]


@pytest.mark.parametrize('code', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-be'])
def test_lists_are_read_as_editors_write_them(tmp_path, code):
    mark = b'\xfe\xff' if code == 'utf-16-be' else b''
    text = 'a/h\u00f6he 1.png\r\n\r\n  b/2.JPG \r\n'
    (tmp_path / 'l.txt').write_bytes(mark + text.encode(code))
    found = [(p.folder, p.name) for p in pictures(str(tmp_path / 'l.txt'))]
    assert found == [('a', 'h\u00f6he 1'), ('b', '2')]
