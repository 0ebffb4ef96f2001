"""The error for what somebody asked for and cannot have."""


class UserError(ValueError):
    """A setting, argument or file is wrong; the message names it and what to do instead.

    The tools print an error of the package's own classes as one sentence. Any other error is one
    that nobody foresaw, a plain ``ValueError`` among them, and keeps its traceback.
    """
