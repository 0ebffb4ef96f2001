"""The HTML report of a test: collected image by image, written as one self-contained page."""

from .builder import ReportBuilder, write_report
from .page import Report, render

__all__ = ['Report', 'ReportBuilder', 'render', 'write_report']
