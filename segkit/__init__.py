"""segkit: a config-driven semantic-segmentation toolbox. Importing it loads nothing heavy."""

__version__ = '0.1.0'
