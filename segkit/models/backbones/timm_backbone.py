"""Any timm model that can give feature maps, as a backbone: the heads are not tied to ResNet.

Source: https://huggingface.co/docs/timm/feature_extraction (``features_only=True``).

Legend: x (N, in_channels, H, W) -> a map (N, channels[i], H / strides[i], W / strides[i]) for each
entry of ``out_indices``; ``channels`` and ``strides`` are attributes to write a head's config by.
"""

import difflib
from collections.abc import Sequence
from types import ModuleType

from torch import Tensor, nn

from segkit.compat import CountsAsModule
from segkit.errors import UserError


def import_timm() -> ModuleType:
    """timm, or a sentence that says which of its own needs is missing."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # a torchvision of another build: RuntimeError
        raise ImportError(
            f'TimmBackbone: timm cannot be imported ({error}). Install it with '
            '`pip install timm`; timm itself needs a torchvision that matches your torch.'
        ) from error
    return timm


class TimmBackbone(CountsAsModule, nn.Module):
    """A ``features_only`` timm model.

    Args:
        model_name: as timm lists it, e.g. 'convnext_tiny' or 'swin_tiny_patch4_window7_224'.
        pretrained: let timm download its weights.
        out_indices: which of timm's stages to give; None for all of them.
        output_stride: 8 or 16 dilates convolutional models; None keeps the model's own strides.
        kwargs: any other argument of ``timm.create_model``.

    Raises:
        ImportError: timm is missing or does not import here.
        ValueError: timm knows no such model, or the model has no feature maps.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        checkpoint_path: str = '',
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        output_stride: int | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__()
        timm = import_timm()
        if not timm.is_model(model_name):
            near = difflib.get_close_matches(model_name, timm.list_models(), n=3)
            raise UserError(
                f"backbone.model_name: timm {timm.__version__} has no model '{model_name}'. "
                f'Nearest: {", ".join(near) or "none"}.'
            )
        chosen = {'out_indices': out_indices, 'output_stride': output_stride}
        kwargs |= {key: value for key, value in chosen.items() if value is not None}
        try:
            self.timm_model = timm.create_model(
                model_name,
                features_only=True,
                pretrained=pretrained,
                checkpoint_path=checkpoint_path,
                in_chans=in_channels,
                **kwargs,
            )
        except (AttributeError, RuntimeError, NotImplementedError) as error:
            raise UserError(
                f"backbone.model_name: timm's '{model_name}' gives no feature maps with "
                f'{kwargs or "these arguments"}: {error}'
            ) from error
        self.channels: list[int] = self.timm_model.feature_info.channels()
        self.strides: list[int] = self.timm_model.feature_info.reduction()
        # Some models (Swin) give channels last; the heads want (N, C, H, W).
        self._channels_last = getattr(self.timm_model, 'output_fmt', 'NCHW') == 'NHWC'

    def init_weights(self) -> None:
        """Nothing to do: timm initialised the model, or loaded its weights, when it made it."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = self.timm_model(x)
        if self._channels_last:
            features = [feature.permute(0, 3, 1, 2).contiguous() for feature in features]
        return tuple(features)
