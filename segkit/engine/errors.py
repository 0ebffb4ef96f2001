"""Why a run ended early, as a sentence a person can act on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TrainingError(RuntimeError):
    """Training cannot go on; the last good checkpoint is kept and the message says what to do."""


_WORKER_DIED = (
    'a data worker died. Usually the machine ran out of memory or of /dev/shm: lower num_workers '
    'or batch_size of the data loader, then start again, training with --resume'
)
_CONTACT_LOST = (
    'contact with another rank was lost: its process ended, or the network between the nodes '
    'is down. The first error in the logs of the other ranks is the cause; go on with '
    '--resume. env_cfg.dist_cfg.timeout is how long a rank waits for the others'
)
# gloo raises plain RuntimeErrors. They begin with the path of its source file, except those of
# the collectives that were under way beside the one that timed out first.
_WORDS_OF_GLOO = ('gloo/transport', 'Application timeout caused pair closure')


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
        for source in _chain(error):
            if meaning := _meaning(source):
                raise TrainingError(f'{place()}: {meaning}. {torch_said(source)}') from error
        raise


def torch_said(error: BaseException) -> str:
    """The first line of its message, for the end of one of ours."""
    return 'torch said: ' + str(error).strip().split('\n')[0][:300]


def _meaning(error: BaseException) -> str | None:
    said = str(error)
    if 'DataLoader worker (pid' in said:  # not 'Caught ... in DataLoader worker process'
        return _WORKER_DIED
    return _CONTACT_LOST + _who_is_silent() if _of_contact(error) else None


def _of_contact(error: BaseException) -> bool:
    # NCCL and the key-value store of a job have error types of their own.
    of_a_group = type(error).__module__ == 'torch.distributed'
    return of_a_group or any(words in str(error) for words in _WORDS_OF_GLOO)


def lost_contact(error: BaseException) -> bool:
    """Whether it arose from another rank's being gone."""
    return any(map(_of_contact, _chain(error)))


def _who_is_silent() -> str:
    from segkit.engine.dist import silent_ranks  # imports torch, which few errors need

    silent = silent_ranks()
    return f'. {silent}' if silent else ''


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it arose from.

    A worker's death is raised wherever the main process happens to be, inside ``torch.save`` too,
    which then fails over the file it leaves half-written.
    """
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
