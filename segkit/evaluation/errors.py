"""What evaluation complains about, in a sentence written for the person who started it."""


class EvaluationError(ValueError):
    """Labels, predictions or result files that cannot be scored as they are."""
