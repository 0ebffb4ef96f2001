"""Why a run ended early, as a sentence a person can act on."""


class TrainingError(RuntimeError):
    """Training cannot go on; the last good checkpoint is kept and the message says what to do."""
