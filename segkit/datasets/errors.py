"""The error for a data file whose content cannot be used; its message always names the file."""

from segkit.errors import UserError


class DataError(UserError):
    """A sample's file is unreadable or contradicts what the config says about it.

    Args:
        path: the file; alone, a whole message: torch so makes the error of a worker process anew.
        problem: what is wrong with it, without a full stop.
        cure: what to do, a sentence.
    """

    def __init__(self, path: str, problem: str = '', cure: str = '') -> None:
        super().__init__(f'{path}: {problem}. {cure}' if problem else path)
        self.finding = f'{path}: {problem}' if problem else path
