"""segkit: a config-driven semantic-segmentation toolbox. Importing it loads nothing heavy."""

from segkit.compat import import_rich, import_yapf

__version__ = '0.1.0'

import_yapf()  # before anything imports mmengine
import_rich()
