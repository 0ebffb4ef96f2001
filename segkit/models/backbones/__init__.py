"""Backbones: an image to four feature maps."""

from segkit.old_names import serve

from .mix_transformer import MixVisionTransformer
from .resnet import ResNet, ResNetV1c, ResNetV1d
from .timm_backbone import TimmBackbone

__all__ = ['MixVisionTransformer', 'ResNet', 'ResNetV1c', 'ResNetV1d', 'TimmBackbone']

serve(__name__)
