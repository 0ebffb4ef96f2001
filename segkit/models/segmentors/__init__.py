"""Segmentors: an image to classes."""

from .encoder_decoder import EncoderDecoder

__all__ = ['EncoderDecoder']
