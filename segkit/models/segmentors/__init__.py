"""Segmentors: an image to classes."""

from segkit.old_names import serve

from .base import BaseSegmentor
from .encoder_decoder import EncoderDecoder

__all__ = ['BaseSegmentor', 'EncoderDecoder']

serve(__name__)
