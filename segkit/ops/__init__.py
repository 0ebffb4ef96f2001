"""Operators in plain torch: point-wise spatial attention and convolutions of upsampled maps."""

from segkit.old_names import serve
from segkit.ops.conv_cat_upsampled import conv_cat_upsampled
from segkit.ops.cuda_ext import HAS_CUDA_OPS
from segkit.ops.psa import PointwiseSpatialAttention, psa_attention, psa_logits
from segkit.ops.psa_mask import PSAMask, psa_mask

__all__ = [
    'HAS_CUDA_OPS', 'PSAMask', 'PointwiseSpatialAttention', 'conv_cat_upsampled', 'psa_attention',
    'psa_logits', 'psa_mask',
]  # fmt: skip

serve(__name__)
