"""Why a run ended early, as a sentence a person can act on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TrainingError(RuntimeError):
    """Training cannot go on; the last good checkpoint is kept and the message says what to do."""


# What torch says -> what it means and what to do.
_MEANINGS = (
    (
        ('DataLoader worker',),
        'a data worker died. Usually the machine ran out of memory or of /dev/shm: lower '
        'train_dataloader.num_workers or batch_size, then go on with --resume',
    ),
    (
        ('Timed out', 'Connection closed by peer', 'Connection reset', 'Broken pipe', 'NCCL'),
        'contact with another rank was lost: its process ended, or the network between the nodes '
        'is down. The first error in the logs of the other ranks is the cause; go on with '
        '--resume. env_cfg.dist_cfg.timeout is how long a rank waits for the others',
    ),
)


@contextmanager
def explained(place: Callable[[], str]) -> Iterator[None]:
    """Turn the errors of torch that have a known cause into a ``TrainingError`` that names it.

    Args:
        place: called for a few words on where the run was ('iteration 7').
    """
    try:
        yield
    except TrainingError:
        raise
    except RuntimeError as error:
        for said in _chain(error):
            for words, meaning in _MEANINGS:
                if any(word in said for word in words):
                    said = said.strip().split('\n')[0][:300]
                    raise TrainingError(f'{place()}: {meaning}. torch said: {said}') from error
        raise


def _chain(error: BaseException | None) -> Iterator[str]:
    """An error's words and those of the errors it arose from.

    A worker's death is raised wherever the main process happens to be, inside ``torch.save`` too,
    which then fails over the file it leaves half-written.
    """
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__
