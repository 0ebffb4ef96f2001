"""What evaluation complains about, in a sentence written for the person who started it."""

from segkit.errors import UserError


class EvaluationError(UserError):
    """Labels, predictions or result files that cannot be scored as they are."""
