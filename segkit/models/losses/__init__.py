"""Losses of the decode heads, the accuracy they log and the check their labels pass first."""

from segkit.old_names import serve

from .accuracy import Accuracy, accuracy
from .boundary_loss import BoundaryLoss
from .class_weight import load_class_weight
from .cross_entropy import binary_cross_entropy, cross_entropy
from .cross_entropy_loss import CrossEntropyLoss
from .dice_tversky_loss import DiceLoss, TverskyLoss
from .focal_loss import FocalLoss
from .head_loss import HeadLoss
from .lovasz_loss import LovaszLoss
from .reduction import weight_reduce_loss
from .stray_labels import LabelCheck, check_labels

__all__ = [
    'Accuracy', 'BoundaryLoss', 'CrossEntropyLoss', 'DiceLoss', 'FocalLoss', 'HeadLoss',
    'LabelCheck', 'LovaszLoss', 'TverskyLoss', 'accuracy', 'binary_cross_entropy', 'check_labels',
    'cross_entropy', 'load_class_weight', 'weight_reduce_loss',
]  # fmt: skip

serve(__name__)
