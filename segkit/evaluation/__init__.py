"""Scores of label maps: a confusion matrix, what follows from it, and how it is shown."""

from segkit.errors import EvaluationError
from segkit.old_names import serve

from .confusion import StrayLabelError, confusion_matrix
from .iou_metric import IoUMetric
from .scores import Scores

__all__ = ['EvaluationError', 'IoUMetric', 'Scores', 'StrayLabelError', 'confusion_matrix']

serve(__name__)
