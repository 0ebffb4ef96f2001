"""Losses of the decode heads, the accuracy they log and the check their labels pass first."""

from segkit.old_names import serve

from .accuracy import Accuracy, accuracy
from .cross_entropy import binary_cross_entropy, cross_entropy
from .cross_entropy_loss import CrossEntropyLoss
from .stray_labels import LabelCheck, check_labels
from .utils import (
    get_class_weight,
    load_class_weight,
    reduce_loss,
    weight_reduce_loss,
    weighted_loss,
)

__all__ = [
    'Accuracy', 'CrossEntropyLoss', 'LabelCheck', 'accuracy', 'binary_cross_entropy',
    'check_labels', 'cross_entropy', 'get_class_weight', 'load_class_weight', 'reduce_loss',
    'weight_reduce_loss', 'weighted_loss',
]  # fmt: skip

serve(__name__)
