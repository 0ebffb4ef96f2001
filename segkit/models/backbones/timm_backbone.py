"""Any timm model that can give feature maps, as a backbone: the heads are not tied to ResNet.

Source: https://huggingface.co/docs/timm/feature_extraction (``features_only=True``).

Legend: x (N, in_channels, H, W) -> a map (N, channels[i], H / strides[i], W / strides[i]), rounded
up, for each entry of ``out_indices``; ``channels`` and ``strides`` are attributes to write a head's
config by.

A plain vision transformer (ViT, DeiT, DINOv2, DINOv3, EVA) has one stride, that of its patches. Its
blocks' maps, resized to the strides of ``pyramid``, stand in for the stages of a network that has
several (arXiv:2203.16527, section 3). Images of any size are padded to whole patches.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segkit.compat import CountsAsModule
from segkit.errors import CheckpointError, UserError, suggestion
from segkit.old_names import serve

from ..layers import resize_to
from .import_timm import import_timm

# timm's modules with plain transformers, whose position embeddings follow the size of the image
_PLAIN = ('vision_transformer', 'deit', 'eva')


class TimmBackbone(CountsAsModule, nn.Module):
    """A ``features_only`` timm model.

    Args:
        model_name: as timm lists it, e.g. 'convnext_tiny' or 'vit_small_patch14_dinov2'.
        pretrained: True lets timm download its weights; a path, a URL or any other name that
            ``segkit.weights`` knows is read as data. A classifier in it is left out.
        checkpoint_path: the same as ``pretrained`` with a path.
        out_indices: which of timm's stages, or of a plain transformer's blocks, to give; None for
            all of them, of a plain transformer the last four.
        output_stride: 8 or 16 dilates convolutional models; None keeps the model's own strides.
        pyramid: of a plain transformer: the strides to resize its maps to, one for each.
        frozen: no gradient, and norms and dropout as in testing.
        kwargs: any other argument of ``timm.create_model``.

    Raises:
        ImportError: timm is missing or does not import here.
        ValueError: timm knows no such model, or the model has no feature maps.
        CheckpointError: the weights do not fit.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool | str | None = False,
        checkpoint_path: str = '',
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        output_stride: int | None = None,
        pyramid: Sequence[int] | None = None,
        frozen: bool = False,
        **kwargs: object,
    ) -> None:
        super().__init__()
        timm = import_timm()
        if not timm.is_model(model_name):
            raise UserError(
                f"backbone.model_name: timm {timm.__version__} has no model '{model_name}'."
                f'{suggestion(model_name, timm.list_models())}'
            )
        chosen = {'out_indices': out_indices, 'output_stride': output_stride}
        kwargs |= {key: value for key, value in chosen.items() if value is not None}
        plain = timm.models.model_entrypoint(model_name).__module__.rpartition('.')[2] in _PLAIN
        if plain and 'img_size' not in kwargs:
            kwargs = {'dynamic_img_size': True, 'dynamic_img_pad': True, **kwargs}
        start = self._source(pretrained, checkpoint_path)
        self.timm_model = _create(
            timm, start, model_name=model_name, in_chans=in_channels, **kwargs
        )
        info: Any = self.timm_model.feature_info
        self.channels: list[int] = info.channels()
        self.strides: list[int] = info.reduction()
        self.pyramid = self._checked(pyramid)
        # Some models (Swin) give channels last; the heads want (N, C, H, W).
        self._channels_last = getattr(self.timm_model, 'output_fmt', 'NCHW') == 'NHWC'
        self.frozen = frozen
        if frozen:
            self.timm_model.eval().requires_grad_(False)

    @staticmethod
    def _source(pretrained: bool | str | None, checkpoint_path: str) -> bool | str:
        if pretrained and checkpoint_path:
            raise UserError(
                'backbone: both pretrained and checkpoint_path are set; name the weights once.'
            )
        return checkpoint_path or pretrained or False

    def _checked(self, pyramid: Sequence[int] | None) -> tuple[int, ...] | None:
        if pyramid is None:
            return None
        if len(set(self.strides)) > 1 or len(pyramid) != len(self.strides):
            raise UserError(
                f'backbone.pyramid={tuple(pyramid)} needs a plain vision transformer and a stride '
                f'for each of its {len(self.strides)} maps; this model has strides {self.strides}.'
            )
        self.patch, self.strides = self.strides[0], list(pyramid)
        return tuple(pyramid)

    def init_weights(self) -> None:
        """Nothing to do: timm initialised the model, or its weights were loaded with it."""

    def train(self, mode: bool = True) -> 'TimmBackbone':
        """Training mode, except for a frozen model."""
        super().train(mode)
        if self.frozen:
            self.timm_model.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.timm_model(x)
        if self._channels_last:
            features = [feature.permute(0, 3, 1, 2).contiguous() for feature in features]
        if self.pyramid is not None:
            features = [
                self._at_stride(feature, stride, x)
                for feature, stride in zip(features, self.pyramid)
            ]
        return tuple(features)

    def _at_stride(self, feature: Tensor, stride: int, x: Tensor) -> Tensor:
        """A map of whole patches, resized to ``stride`` and cut to the image."""
        size = [-(-side * self.patch // stride) for side in feature.shape[2:]]
        height, width = (-(-side // stride) for side in x.shape[2:])
        return resize_to(feature, size, False)[:, :, :height, :width]


def _create(timm: Any, start: bool | str, **kwargs: object) -> nn.Module:
    """The model with its weights from where ``start`` says: True from timm, a string from there."""
    name = kwargs['model_name']
    try:
        if isinstance(start, str):
            from .timm_weights import filled_from

            return filled_from(timm.create_model, start, features_only=True, **kwargs)
        return timm.create_model(features_only=True, pretrained=start, **kwargs)
    except (UserError, CheckpointError):
        raise
    except (AttributeError, RuntimeError, AssertionError, IndexError, OSError) as error:
        if start is True and isinstance(error, OSError):
            raise UserError(
                f"backbone.pretrained=True: the weights of timm's '{name}' cannot be fetched "
                f"({error}). Give a file instead: pretrained='/path/to/weights.safetensors', or "
                'pretrained=False for none.'
            ) from error
        given = {k: v for k, v in kwargs.items() if k not in ('model_name', 'in_chans')}
        raise UserError(
            f"backbone.model_name: timm's '{name}' gives no feature maps with "
            f'{given or "these arguments"}: {error}'
        ) from error


serve(__name__)
