"""What goes wrong with a checkpoint, as types a caller can tell apart.

Every message is a sentence that names the file, says what is wrong and what to do about it.
"""

import pickle


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, fetched or put into this model."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no such file."""

    # OSError.__str__ would print the errno tuple instead of the sentence.
    __str__ = RuntimeError.__str__


class UnsafeCheckpointError(CheckpointError, pickle.UnpicklingError):
    """The file asks for something that loading weights never needs: it is refused, not run."""


class DownloadError(CheckpointError):
    """A transfer failed, or what arrived is not what the file name promises."""
