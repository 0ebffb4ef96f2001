"""A film of the frames of a video, a camera or a stream with their predictions over them."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from segkit.engine.folders import make_folder
from segkit.errors import UserError
from segkit.outputs import own_outputs

from .inference import certainty_settings, predict_stream
from .show import show_result
from .sources import Source, frame_rate, pictures

if TYPE_CHECKING:
    import cv2

WRITER = 'predict'
RATE = 25.0  # frames a second of a source that does not say
_CODECS = {'.mp4': 'mp4v', '.m4v': 'mp4v', '.mov': 'mp4v', '.avi': 'MJPG', '.mkv': 'mp4v'}


def predict_film(
    model: nn.Module,
    source: Source,
    out_file: str | Path,
    *,
    aug_test: bool = False,
    batch_size: int = 1,
    opacity: float = 0.5,
    fps: float | None = None,
    frames: int | None = None,
    unknown_below: float | None = None,
    palette: object = None,
) -> int:
    """Write the frames of ``source`` with their predictions as a film; gives their number.

    Args:
        source: a video, a stream's address, a camera's number; any source of ``inference_model``.
        out_file: ending in .mp4, .m4v, .mov, .mkv or .avi.
        fps: frames a second; those of the source, or 25 where it does not say.
        frames: stop after so many; Ctrl-C stops too, and keeps what there is.
        opacity, palette: as of ``show_result``. unknown_below: as of ``inference_model``.

    Raises:
        UserError: an ending, a rate or a number that cannot be; no encoder. OutputError:
            ``out_file`` is there and no film that this wrote.
    """
    out_file = Path(out_file)
    if out_file.suffix.lower() not in _CODECS:
        raise UserError(f'{out_file}: a film ends in {", ".join(_CODECS)}.')
    rate = fps or frame_rate(source) or RATE
    if rate <= 0 or (frames is not None and frames < 1):
        raise UserError(f'fps={fps}, frames={frames}: both must be above 0.')
    from tqdm import tqdm

    wanted = certainty_settings(unknown_below=unknown_below)
    stream = predict_stream(model, pictures(source), aug_test, batch_size, wanted=wanted)
    make_folder('--film', out_file.parent)
    inputs = [source] if isinstance(source, (str, Path)) else []
    with own_outputs('--film', WRITER, [out_file], inputs), _film(out_file, rate) as add:
        try:
            for picture, sample in tqdm(islice(stream, frames), total=frames, unit='frame'):
                image = picture.path if picture.array is None else picture.array
                add(show_result(image, sample, model, palette=palette, opacity=opacity))
        except KeyboardInterrupt:
            print('stopped; the film has what was seen until now')
        return add.count


class _Writer:
    """Frames into ``file``; the first decides the size, others are resized to it."""

    def __init__(self, file: Path, codec: str, rate: float) -> None:
        self.file, self.codec, self.rate = file, codec, rate
        self.count, self.size = 0, (0, 0)
        self.video: cv2.VideoWriter | None = None  # once there is a frame

    def __call__(self, frame: np.ndarray) -> None:
        import cv2

        if self.video is None:
            self.size = (frame.shape[1], frame.shape[0])
            code = cv2.VideoWriter.fourcc(*self.codec)
            self.video = cv2.VideoWriter(str(self.file), code, self.rate, self.size)
            if not self.video.isOpened():
                raise UserError(
                    f'{self.file}: this OpenCV has no encoder {self.codec}. Try .avi, or write '
                    'pictures with --out-dir.'
                )
        if (frame.shape[1], frame.shape[0]) != self.size:
            frame = cv2.resize(frame, self.size, interpolation=cv2.INTER_AREA)
        self.video.write(frame)
        self.count += 1


@contextmanager
def _film(file: Path, rate: float) -> Iterator[_Writer]:
    """A writer of a film that gets its name once it is whole."""
    draft = file.with_name(f'.draft-{file.name}')
    writer = _Writer(draft, _CODECS[file.suffix.lower()], rate)
    try:
        yield writer
        if writer.video is not None:
            writer.video.release()
            draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
