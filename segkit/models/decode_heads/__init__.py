"""Decode heads: from the backbone's maps to logits (N, K, h, w), with their losses."""

from .da_head import DAHead
from .decode_head import BaseDecodeHead
from .fcn_head import FCNHead
from .isa_head import ISAHead
from .psa_head import PSAHead
from .psp_head import PSPHead

__all__ = ['BaseDecodeHead', 'DAHead', 'FCNHead', 'ISAHead', 'PSAHead', 'PSPHead']
