"""Decode heads: from the backbone's maps to logits (N, K, h, w), with their losses."""

from segkit.old_names import serve

from .aspp_head import ASPPHead
from .da_head import DAHead
from .decode_head import BaseDecodeHead
from .fcn_head import FCNHead
from .isa_head import ISAHead
from .psa_head import PSAHead
from .psp_head import PSPHead
from .segformer_head import SegformerHead
from .sep_aspp_head import DepthwiseSeparableASPPHead
from .uper_head import UPerHead

__all__ = [
    'ASPPHead', 'BaseDecodeHead', 'DAHead', 'DepthwiseSeparableASPPHead', 'FCNHead', 'ISAHead',
    'PSAHead', 'PSPHead', 'SegformerHead', 'UPerHead',
]  # fmt: skip

serve(__name__)
