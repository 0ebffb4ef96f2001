"""The import path users know for the metric."""

from segkit.old_names import serve

from .iou_metric import IoUMetric

__all__ = ['IoUMetric']

serve(__name__)
