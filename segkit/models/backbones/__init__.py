"""Backbones: an image to four feature maps."""

from .resnet import ResNet, ResNetV1c, ResNetV1d
from .timm_backbone import TimmBackbone

__all__ = ['ResNet', 'ResNetV1c', 'ResNetV1d', 'TimmBackbone']
