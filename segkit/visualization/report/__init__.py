"""The HTML report of a test: collected image by image, written as one self-contained page."""

from .builder import ReportBuilder
from .contents import Report, render

__all__ = ['Report', 'ReportBuilder', 'render']
