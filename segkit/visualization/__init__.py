"""Pictures of labels, predictions and attention."""

from .attention import attention_overlay
from .contact_sheet import contact_sheet, legend
from .hook import SegVisualizationHook
from .local_visualizer import SegLocalVisualizer
from .overlays import colourise, error_map, overlay, palette_of, side_by_side

__all__ = [
    'SegLocalVisualizer',
    'SegVisualizationHook',
    'attention_overlay',
    'colourise',
    'contact_sheet',
    'error_map',
    'legend',
    'overlay',
    'palette_of',
    'side_by_side',
]
