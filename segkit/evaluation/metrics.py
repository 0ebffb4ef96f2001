"""The import path users know for the metric."""

from .iou_metric import IoUMetric

__all__ = ['IoUMetric']
