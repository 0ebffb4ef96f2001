"""ResNet with dilation: four maps of an image, the last two or three at one eighth of its size.

Sources: He et al., arXiv:1512.03385 (ResNet); Chen et al., arXiv:1706.05587, section 3.1 (dilation
and multi-grid); He et al., arXiv:1812.01187, section 4 (V1c: a stem of three 3x3 convolutions;
V1d: shortcuts that average before they project).

Legend, for strides (1, 2, 1, 1) and dilations (1, 1, 2, 4), the published setting "D8":

    x        (N, in_channels, H, W)
    stem     (N, 64, H/4, W/4)      a 7x7 convolution or three 3x3, then a max-pool
    layer1   (N, 256, H/4, W/4)     64, 128, 256, 512 channels for depth 18 and 34
    layer2   (N, 512, H/8, W/8)
    layer3   (N, 1024, H/8, W/8)
    layer4   (N, 2048, H/8, W/8)    a (1, 3, 64, 64) image gives sides 16, 8, 8, 8
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from segkit.registry import MODELS

from ..layers import Config, build_conv, build_norm
from .blocks import BasicBlock, Bottleneck
from .weights import init_backbone

ARCHITECTURES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@MODELS.register_module()
class ResNet(nn.Module):
    """ResNet as published, with the dilation that dense prediction needs.

    Args:
        depth: 18, 34, 50, 101 or 152.
        contract_dilation: the first block of a dilated stage uses half the stage's dilation, since
            it still reads the previous stage's grid. The published weights were trained so.
        multi_grid: dilations of the last stage's blocks, in place of its single dilation.
        style: 'pytorch' puts a bottleneck's stride on its 3x3, 'caffe' on its first 1x1.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, and
            norms that keep their statistics.
        norm_eval: every norm keeps its statistics while training.
        with_cp: recompute block activations in the backward pass (less memory, more time).
        zero_init_residual: start every block as the identity, unless weights are loaded.
        pretrained: where `init_weights` loads weights from ('open-mmlab://resnet50_v1c', a path, a
            URL); the same as ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        stem_channels: int = 64,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = 'pytorch',
        deep_stem: bool = False,
        avg_down: bool = False,
        frozen_stages: int = -1,
        conv_cfg: Config | None = None,
        norm_cfg: Config = {'type': 'BN', 'requires_grad': True},  # noqa: B006, read only
        norm_eval: bool = False,
        multi_grid: Sequence[int] | None = None,
        contract_dilation: bool = False,
        with_cp: bool = False,
        zero_init_residual: bool = True,
        pretrained: str | None = None,
        init_cfg: Config | Sequence[Config] | None = None,
    ) -> None:
        super().__init__()
        _check(depth, num_stages, strides, dilations, out_indices, style, pretrained, init_cfg)
        self.block, blocks = ARCHITECTURES[depth]
        self.depth, self.deep_stem, self.avg_down = depth, deep_stem, avg_down
        self.out_indices, self.frozen_stages = tuple(out_indices), frozen_stages
        self.norm_eval, self.zero_init_residual = norm_eval, zero_init_residual
        self.pretrained, self.init_cfg = pretrained, init_cfg
        self._block_args: dict[str, Any] = {
            'style': style, 'with_cp': with_cp, 'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg,
        }  # fmt: skip
        self._make_stem(in_channels, stem_channels)
        self.layer_names = [f'layer{i + 1}' for i in range(num_stages)]
        planes_in = stem_channels
        for i, name in enumerate(self.layer_names):
            grid = multi_grid if i == num_stages - 1 else None
            rates = _block_dilations(blocks[i], dilations[i], contract_dilation, grid)
            stage = self._make_stage(planes_in, base_channels * 2**i, strides[i], rates)
            self.add_module(name, stage)
            planes_in = base_channels * 2**i * self.block.expansion
        self._freeze()

    def _make_stem(self, in_channels: int, channels: int) -> None:
        """(N, in_channels, H, W) -> (N, channels, H/4, W/4), max-pool included."""
        conv_cfg, norm_cfg = self._block_args['conv_cfg'], self._block_args['norm_cfg']
        if self.deep_stem:
            half, layers = channels // 2, []
            for i, (a, b) in enumerate(((in_channels, half), (half, half), (half, channels))):
                stride = 2 if i == 0 else 1
                conv = build_conv(conv_cfg, a, b, 3, stride=stride, padding=1, bias=False)
                layers += [conv, build_norm(norm_cfg, b)[1], nn.ReLU(inplace=True)]
            self.stem = nn.Sequential(*layers)
        else:
            self.conv1 = build_conv(
                conv_cfg, in_channels, channels, 7, stride=2, padding=3, bias=False
            )
            self._norm1_name, norm = build_norm(norm_cfg, channels, postfix=1)
            self.add_module(self._norm1_name, norm)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def _make_stage(
        self, inplanes: int, planes: int, stride: int, dilations: Sequence[int]
    ) -> nn.Sequential:
        """One residual stage; only its first block strides and projects its shortcut."""
        outplanes, blocks = planes * self.block.expansion, []
        for i, dilation in enumerate(dilations):
            first = i == 0
            shortcut = self._make_shortcut(inplanes, outplanes, stride) if first else None
            blocks.append(
                self.block(
                    inplanes if first else outplanes, planes, stride if first else 1, dilation,
                    shortcut, **self._block_args,
                )
            )  # fmt: skip
        return nn.Sequential(*blocks)

    def _make_shortcut(self, inplanes: int, outplanes: int, stride: int) -> nn.Module | None:
        """A 1x1 projection where the shape changes; V1d averages first so that no pixel is lost."""
        if stride == 1 and inplanes == outplanes:
            return None
        pool = []
        if self.avg_down:
            pool = [nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)]
            stride = 1
        args = self._block_args
        conv = build_conv(args['conv_cfg'], inplanes, outplanes, 1, stride=stride, bias=False)
        return nn.Sequential(*pool, conv, build_norm(args['norm_cfg'], outplanes)[1])

    @property
    def norm1(self) -> nn.Module:
        """The norm of the single-convolution stem."""
        return getattr(self, self._norm1_name)

    def init_weights(self) -> None:
        """Load the pretrained weights if any were named, else He initialisation."""
        init_backbone(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> the maps of `out_indices`; see the legend."""
        x = self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x)))
        x = self.maxpool(x)
        outs = []
        for i, name in enumerate(self.layer_names):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        stem = [self.stem] if self.deep_stem else [self.conv1, self.norm1]
        return stem + [getattr(self, name) for name in self.layer_names[: self.frozen_stages]]

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> 'ResNet':
        """Training mode, except for what `frozen_stages` and `norm_eval` keep fixed."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


@MODELS.register_module()
class ResNetV1c(ResNet):
    """ResNet with three 3x3 convolutions for a stem; the backbone of every published model."""

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(depth, **{'deep_stem': True, 'avg_down': False, **kwargs})


@MODELS.register_module()
class ResNetV1d(ResNet):
    """ResNetV1c whose strided shortcuts average before they project."""

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(depth, **{'deep_stem': True, 'avg_down': True, **kwargs})


def _block_dilations(
    count: int, dilation: int, contract: bool, grid: Sequence[int] | None
) -> list[int]:
    """The dilation of each block of a stage."""
    if grid is not None:
        if len(grid) != count:
            raise ValueError(
                f'ResNet: multi_grid {tuple(grid)} has {len(grid)} values, but the last stage has '
                f'{count} blocks; give one value a block.'
            )
        return list(grid)
    first = dilation // 2 if contract and dilation > 1 else dilation
    return [first] + [dilation] * (count - 1)


def _check(
    depth: int,
    num_stages: int,
    strides: Sequence[int],
    dilations: Sequence[int],
    out_indices: Sequence[int],
    style: str,
    pretrained: str | None,
    init_cfg: Any,
) -> None:
    if depth not in ARCHITECTURES:
        raise KeyError(f'ResNet: depth {depth} is unknown; choose one of {list(ARCHITECTURES)}.')
    if not 1 <= num_stages <= 4 or len(strides) != num_stages or len(dilations) != num_stages:
        raise ValueError(
            f'ResNet: strides {tuple(strides)} and dilations {tuple(dilations)} need one value for '
            f'each of the num_stages={num_stages} stages (1 to 4).'
        )
    if not out_indices or max(out_indices) >= num_stages:
        raise ValueError(
            f'ResNet: out_indices {tuple(out_indices)} must name stages 0 to {num_stages - 1}.'
        )
    if style not in ('pytorch', 'caffe'):
        raise ValueError(f"ResNet: style is {style!r}; choose 'pytorch' or 'caffe'.")
    if pretrained is not None and init_cfg is not None:
        raise ValueError('ResNet: give either pretrained or init_cfg, not both.')
