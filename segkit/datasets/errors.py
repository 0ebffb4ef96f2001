"""The error for a data file whose content cannot be used; its message always names the file."""


class DataError(ValueError):
    """A sample's file is unreadable or contradicts what the config says about it."""

    def __init__(self, path: str, problem: str, cure: str) -> None:
        super().__init__(f'{path}: {problem}. {cure}')
        self.path, self.problem, self.cure = path, problem, cure

    def __reduce__(self) -> tuple:
        # A worker process sends its exception by pickle; the default would pass one argument.
        return type(self), (self.path, self.problem, self.cure)
