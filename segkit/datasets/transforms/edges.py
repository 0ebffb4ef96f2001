"""Edges between classes, for heads that learn them beside the classes (CE2P, arXiv:1809.05996)."""

import cv2
import numpy as np

from segkit.errors import UserError
from segkit.registry import TRANSFORMS

from .loading import Transform, ignored_label

# (y, x) from the pixel that is marked to the one it differs from: which of the two is marked is a
# choice of CE2P.
_NEIGHBOURS = ((-1, 0), (0, 1), (1, 1), (1, -1))


@TRANSFORMS.register_module()
class GenerateEdge(Transform):
    """``gt_edge_map`` (H, W) uint8: 1 within ``edge_width`` pixels where two classes meet, else 0.

    Args:
        edge_width: side of the square that thickens the line.
        ignore_index: beside this label is no edge; None for the one that the data set ignores.
    """

    def __init__(self, edge_width: int = 3, ignore_index: int | None = None) -> None:
        if edge_width < 1:
            raise UserError(f'edge_width of GenerateEdge must be positive, not {edge_width}.')
        self.edge_width, self.ignore_index = edge_width, ignore_index

    def transform(self, results: dict) -> dict:
        label = results['gt_seg_map']
        counts = label != ignored_label(results, self.ignore_index)
        edge = np.zeros(label.shape, np.uint8)
        for offset in _NEIGHBOURS:
            here = tuple(slice(max(-d, 0), n - max(d, 0)) for d, n in zip(offset, label.shape))
            there = tuple(slice(max(d, 0), n - max(-d, 0)) for d, n in zip(offset, label.shape))
            edge[here] |= (label[here] != label[there]) & counts[here] & counts[there]
        square = cv2.getStructuringElement(cv2.MORPH_RECT, (self.edge_width, self.edge_width))
        results['gt_edge_map'] = cv2.dilate(edge, square)
        results['edge_width'] = self.edge_width
        fields = [key for key in results.get('seg_fields', ()) if key != 'gt_edge_map']
        results['seg_fields'] = [*fields, 'gt_edge_map']
        return results
