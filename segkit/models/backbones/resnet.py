"""ResNet with dilation: four maps of an image, the last two or three at one eighth of its size.

Sources: He et al., arXiv:1512.03385, section 3.3 and figure 5 (ResNet); Chen et al.,
arXiv:1706.05587, section 3.1 (dilation and multi-grid); He et al., arXiv:1812.01187, section 4
(V1c: a stem of three 3x3 convolutions; V1d: shortcuts that average before they project).

Legend, for strides (1, 2, 1, 1) and dilations (1, 1, 2, 4), the published setting "D8":

    x        (N, in_channels, H, W)
    stem     (N, 64, H/4, W/4)      a 7x7 convolution or three 3x3, then a max-pool
    layer1   (N, 256, H/4, W/4)     64, 128, 256, 512 channels for depth 18 and 34
    layer2   (N, 512, H/8, W/8)
    layer3   (N, 1024, H/8, W/8)
    layer4   (N, 2048, H/8, W/8)    a (1, 3, 64, 64) image gives sides 16, 8, 8, 8

Attribute names (conv1, bn1, ..., downsample) and their order are those of published checkpoints:
an optimiser's saved state goes by the order of the parameters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.utils.checkpoint
from torch import Tensor, nn

from segkit.compat import CountsAsModule
from segkit.errors import UserError

from ..layers import Config, build_conv, build_norm, constant_init, kaiming_init
from .initial_weights import named_once, start

Kernels = list[tuple[int, int, int, dict[str, int]]]


class ResidualBlock(CountsAsModule, nn.Module):
    """Convolutions with their norms, and the sum with what came in."""

    expansion: int

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        with_cp: bool = False,
        conv_cfg: Config | None = None,
        norm_cfg: Config = {'type': 'BN'},  # noqa: B006, read only
    ) -> None:
        super().__init__()
        if style not in ('pytorch', 'caffe'):
            raise UserError(f"ResNet: style is {style!r}; choose 'pytorch' or 'caffe'.")
        self.with_cp = with_cp
        self.norm_cfg, self.conv_cfg = norm_cfg, conv_cfg
        self.norm_names: list[str] = []
        kernels = self._convs(inplanes, planes, stride, dilation, style)
        for i, (before, after, size, args) in enumerate(kernels, 1):
            conv = build_conv(conv_cfg, before, after, size, bias=False, **args)
            self.add_module(f'conv{i}', conv)
            name, norm = build_norm(norm_cfg, after, postfix=i)
            self.add_module(name, norm)
            self.norm_names.append(name)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def _convs(self, inplanes: int, planes: int, stride: int, dilation: int, style: str) -> Kernels:
        """Of each convolution: channels before and after, size, and what else it takes."""
        raise NotImplementedError

    @property
    def norm1(self) -> nn.Module:
        """The norm after the first convolution, by whatever name it has."""
        return getattr(self, self.norm_names[0])

    @property
    def norm2(self) -> nn.Module:
        """After the second."""
        return getattr(self, self.norm_names[1])

    @property
    def norm3(self) -> nn.Module:
        """After the third, of a bottleneck."""
        if len(self.norm_names) < 3:  # whoever looks through all attributes expects no other error
            raise AttributeError(f'{type(self).__name__} has two norms')
        return getattr(self, self.norm_names[2])

    def _residual(self, x: Tensor) -> Tensor:
        out = x
        for index, name in enumerate(self.norm_names, 1):
            out = getattr(self, name)(getattr(self, f'conv{index}')(out))
            if index < len(self.norm_names):
                out = self.relu(out)
        return out + (x if self.downsample is None else self.downsample(x))

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            out = torch.utils.checkpoint.checkpoint(self._residual, x, use_reentrant=False)
        else:
            out = self._residual(x)
        return self.relu(out)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions, for ResNet-18 and -34. Only the first is dilated, as published."""

    expansion = 1

    def _convs(self, inplanes: int, planes: int, stride: int, dilation: int, style: str) -> Kernels:
        first = {'stride': stride, 'padding': dilation, 'dilation': dilation}
        return [(inplanes, planes, 3, first), (planes, planes, 3, {'padding': 1})]


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1 convolutions, for ResNet-50 and deeper.

    The stride sits on the 3x3 (``style='pytorch'``) or on the first 1x1 (``'caffe'``), according to
    where the weights were trained.
    """

    expansion = 4

    def _convs(self, inplanes: int, planes: int, stride: int, dilation: int, style: str) -> Kernels:
        first, second = (1, stride) if style == 'pytorch' else (stride, 1)
        middle = {'stride': second, 'padding': dilation, 'dilation': dilation}
        return [
            (inplanes, planes, 1, {'stride': first}),
            (planes, planes, 3, middle),
            (planes, planes * self.expansion, 1, {}),
        ]


ARCHITECTURES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResLayer(CountsAsModule, nn.Sequential):
    """One residual stage; only its first block strides and projects its shortcut.

    Args:
        num_blocks: how many blocks of the class ``block``.
        contract_dilation: the first block uses half of ``dilation``.
        multi_grid: the dilation of each block, in place of ``dilation``.
        avg_down: average before the projection, so that no pixel is lost.
        kwargs: further arguments of the block.
    """

    def __init__(
        self,
        block: Any,
        inplanes: int,
        planes: int,
        num_blocks: int,
        stride: int = 1,
        dilation: int = 1,
        avg_down: bool = False,
        conv_cfg: Config | None = None,
        norm_cfg: Config = {'type': 'BN'},  # noqa: B006, read only
        multi_grid: Sequence[int] | None = None,
        contract_dilation: bool = False,
        **kwargs: object,
    ) -> None:
        kwargs.update(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        outplanes = planes * block.expansion
        first = dilation // 2 if contract_dilation and dilation > 1 else dilation
        rates = [first] + [dilation] * (num_blocks - 1) if multi_grid is None else multi_grid
        if len(rates) != num_blocks:
            raise UserError(
                f'ResNet: multi_grid {tuple(rates)} has {len(rates)} values, but the last stage '
                f'has {num_blocks} blocks; give one value a block.'
            )
        shortcut = None
        if stride != 1 or inplanes != outplanes:
            pool = [nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)]
            step = 1 if avg_down else stride
            conv = build_conv(conv_cfg, inplanes, outplanes, 1, stride=step, bias=False)
            norm = build_norm(norm_cfg, outplanes)[1]
            shortcut = nn.Sequential(*(pool if avg_down else []), conv, norm)
        blocks = [block(inplanes, planes, stride, rates[0], shortcut, **kwargs)]
        blocks += [block(outplanes, planes, 1, rate, **kwargs) for rate in rates[1:]]
        super().__init__(*blocks)


class ResNet(CountsAsModule, nn.Module):
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

    arch_settings: Mapping[int, Any] = ARCHITECTURES  # depth -> block, blocks of each stage

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
        self.depth, self.deep_stem, self.avg_down = depth, deep_stem, avg_down
        self.num_stages, self.strides, self.dilations = num_stages, strides, dilations
        self.out_indices, self.frozen_stages = tuple(out_indices), frozen_stages
        self.style, self.with_cp = style, with_cp
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.norm_eval, self.zero_init_residual = norm_eval, zero_init_residual
        self.pretrained = pretrained
        self.init_cfg = named_once('ResNet', pretrained, init_cfg)
        self._check()
        self.block, blocks = self.arch_settings[depth]
        self.stage_blocks = blocks[:num_stages]
        self._make_stem_layer(in_channels, stem_channels)
        self.res_layers = []
        inplanes = stem_channels
        for i in range(num_stages):
            planes = base_channels * 2**i
            stage = self.make_res_layer(
                block=self.block, inplanes=inplanes, planes=planes, num_blocks=self.stage_blocks[i],
                stride=strides[i], dilation=dilations[i], style=style, avg_down=avg_down,
                with_cp=with_cp, conv_cfg=conv_cfg, norm_cfg=norm_cfg,
                multi_grid=multi_grid if i == num_stages - 1 else None,
                contract_dilation=contract_dilation,
            )  # fmt: skip
            inplanes = planes * self.block.expansion
            self.add_module(f'layer{i + 1}', stage)
            self.res_layers.append(f'layer{i + 1}')
        self._freeze_stages()

    def _check(self) -> None:
        """What the arguments must be, in sentences."""
        count, numbers = self.num_stages, (self.strides, self.dilations)
        if self.depth not in self.arch_settings:
            known = list(self.arch_settings)
            raise UserError(f'ResNet: depth {self.depth} is unknown; choose one of {known}.')
        if not 1 <= count <= 4 or any(len(values) != count for values in numbers):
            raise UserError(
                f'ResNet: strides {tuple(self.strides)} and dilations {tuple(self.dilations)} need '
                f'one value for each of the num_stages={count} stages (1 to 4).'
            )
        if not self.out_indices or max(self.out_indices) >= count:
            raise UserError(
                f'ResNet: out_indices {self.out_indices} must name stages 0 to {count - 1}.'
            )

    def _make_stem_layer(self, in_channels: int, channels: int) -> None:
        """(N, in_channels, H, W) -> (N, channels, H/4, W/4), max-pool included."""
        if self.deep_stem:
            half, layers = channels // 2, []
            for i, (a, b) in enumerate(((in_channels, half), (half, half), (half, channels))):
                stride = 2 if i == 0 else 1
                conv = build_conv(self.conv_cfg, a, b, 3, stride=stride, padding=1, bias=False)
                layers += [conv, build_norm(self.norm_cfg, b)[1], nn.ReLU(inplace=True)]
            self.stem = nn.Sequential(*layers)
        else:
            self.conv1 = build_conv(
                self.conv_cfg, in_channels, channels, 7, stride=2, padding=3, bias=False
            )
            self.norm1_name, norm = build_norm(self.norm_cfg, channels, postfix=1)
            self.add_module(self.norm1_name, norm)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def make_res_layer(self, **kwargs: Any) -> nn.Sequential:
        """One stage, of the arguments of `ResLayer`; for a subclass with blocks of its own."""
        return ResLayer(**kwargs)

    @property
    def norm1(self) -> nn.Module:
        """The norm of the single-convolution stem."""
        return getattr(self, self.norm1_name)

    def init_weights(self) -> None:
        """Pretrained weights if any were named, else as `init_cfg` says, else He."""
        start(self, self._draw_weights)

    def _draw_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                kaiming_init(module)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm):
                constant_init(module, 1)
        for module in self.modules():
            if self.zero_init_residual and isinstance(module, ResidualBlock):
                constant_init(getattr(module, module.norm_names[-1]), 0)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> the maps of `out_indices`; see the legend."""
        x = self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x)))
        x = self.maxpool(x)
        outs = []
        for i, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def _freeze_stages(self) -> None:
        """No gradient, and statistics that stay, for what `frozen_stages` names."""
        if self.frozen_stages < 0:
            return
        stem = [self.stem] if self.deep_stem else [self.conv1, self.norm1]
        stages = [getattr(self, name) for name in self.res_layers[: self.frozen_stages]]
        for module in [*stem, *stages]:
            module.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> 'ResNet':
        """Training mode, except for what `frozen_stages` and `norm_eval` keep fixed."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


class ResNetV1c(ResNet):
    """ResNet with three 3x3 convolutions for a stem; the backbone of every published model."""

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(depth, **{'deep_stem': True, 'avg_down': False, **kwargs})


class ResNetV1d(ResNet):
    """ResNetV1c whose strided shortcuts average before they project."""

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(depth, **{'deep_stem': True, 'avg_down': True, **kwargs})
