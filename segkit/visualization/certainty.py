"""Files of how sure a network is: grey pictures of its confidence, arrays of its probabilities."""

from pathlib import Path

import numpy as np

from segkit.outputs import output_file

CONFIDENCE = 'confidence/{}.png'
PROBABILITIES = 'probabilities/{}.npy'


def write_certainty(sample: object, folder: Path, name: str, writer: str) -> list[str]:
    """Write what ``sample`` holds of the two; gives the files, relative to ``folder``."""
    import cv2

    written = []
    if hasattr(sample, 'confidence'):
        grey = np.rint(255 * sample.confidence.data[0].cpu().numpy()).astype(np.uint8)
        with output_file(folder / CONFIDENCE.format(name), writer) as file:
            file.write(cv2.imencode('.png', grey)[1].tobytes())
        written.append(CONFIDENCE.format(name))
    if hasattr(sample, 'probabilities'):
        with output_file(folder / PROBABILITIES.format(name), writer) as file:
            np.save(file, sample.probabilities.data.cpu().numpy().astype(np.float16))
        written.append(PROBABILITIES.format(name))
    return written
