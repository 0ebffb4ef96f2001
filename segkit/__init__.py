"""segkit: a config-driven semantic-segmentation toolbox. Importing it loads nothing heavy."""

from segkit.compat import import_rich, import_yapf
from segkit.old_names import serve

__version__ = '0.1.0'

import_yapf()  # before anything imports mmengine
import_rich()

serve(__name__)
