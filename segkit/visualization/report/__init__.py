"""The HTML report of a test: collected image by image, written as one self-contained page."""

from .builder import ReportBuilder
from .sections import Report, report_page

__all__ = ['Report', 'ReportBuilder', 'report_page']
