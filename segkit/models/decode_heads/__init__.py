"""Decode heads: from the backbone's maps to logits (N, K, h, w), with their losses."""

from .decode_head import BaseDecodeHead
from .fcn_head import FCNHead
from .psp_head import PSPHead

__all__ = ['BaseDecodeHead', 'FCNHead', 'PSPHead']
