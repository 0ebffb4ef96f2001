"""Operators in plain torch: point-wise spatial attention and convolutions of upsampled maps."""

from segkit.ops.conv_cat_upsampled import conv_cat_upsampled

__all__ = ['conv_cat_upsampled']
