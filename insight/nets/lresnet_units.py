"""The residual units of LResNet, by ``--version-unit``.

Source: fresnet.py of deepinsight/insightface@9fc3cc9c. All names in a unit start with ``stage<s>_unit<u>``. conv is 3x3
(in the bottleneck: 1x1 to a quarter of the channels, 3x3, 1x1 back). The body is:

    1   conv BN act, conv BN; act after the sum           (He et al., arXiv:1512.03385)
    2   BN act conv, BN act conv; a shortcut convolution comes after the first act     (arXiv:1603.05027)
    3   BN conv BN act conv BN                            (Han et al., arXiv:1610.02915, with PReLU)

The shortcut is the unit's input, or a 1x1 convolution if channels or stride change (followed by BN, except in unit 2).
"""

from __future__ import annotations

from typing import List, NamedTuple

from .attention import SqueezeExcite
from .layers import Convolution, HybridBlock, Layer, Style
from .network import chain, forward_through

BOTTLENECK_RATIO = 4


class UnitSpec(NamedTuple):
    """Specification of a unit.

    Attributes
    ----------
    name : str
    in_channels, channels, stride : int
    matches : bool
        Whether the shortcut is the identity.
    bottleneck, excite : bool
        Three convolutions instead of two; squeeze and excitation after them (``--version-se``).
    early_stride : bool
        In unit 1, the first convolution has the stride instead of the last.
    """

    name: str
    in_channels: int
    channels: int
    stride: int
    matches: bool
    bottleneck: bool
    excite: bool
    early_stride: bool


class Unit(HybridBlock):
    """One residual unit: ``after(excite(body(before(x))) + shortcut)``; the shortcut is x or a layer on before(x).

    Parameters
    ----------
    version : int
        1, 2 or 3.
    spec : UnitSpec
    style : Style
    """

    def __init__(self, version: int, spec: UnitSpec, style: Style):
        super().__init__(prefix="")
        name, channels = spec.name, spec.channels
        before: List[Layer] = []
        if version == 2:
            before = [
                style.norm(f"{name}_bn1", spec.in_channels),
                style.activation(f"{name}_relu1", spec.in_channels),
            ]
        shortcut: List[Layer] = []
        if not spec.matches:
            label = f"{name}_sc" if version == 2 else f"{name}_conv1sc"
            shortcut = [Convolution(label, spec.in_channels, channels, 1, spec.stride)]
            if version != 2:
                shortcut.append(style.norm(f"{name}_sc", channels))
        self.before = chain(self, *before)
        self.body = chain(self, *BODIES[version](spec, style))
        self.excite = chain(self, SqueezeExcite(f"{name}_", channels, style)) if spec.excite else ()
        self.shortcut = chain(self, *shortcut)
        self.after = chain(self, style.activation(f"{name}_relu3", channels)) if version == 1 else ()

    def hybrid_forward(self, F, x):
        h = forward_through(self.before, x)
        y = forward_through((*self.body, *self.excite), h)
        shortcut = forward_through(self.shortcut, h) if self.shortcut else x
        return forward_through(self.after, y + shortcut)


def _convolutions(spec: UnitSpec, strides) -> list:
    """conv1, conv2 (and conv3) with these strides."""
    inside = spec.channels // BOTTLENECK_RATIO if spec.bottleneck else spec.channels
    widths = [spec.in_channels, *[inside] * (len(strides) - 1), spec.channels]
    kernels = (1, 3, 1) if spec.bottleneck else (3, 3)
    return [
        Convolution(f"{spec.name}_conv{i + 1}", widths[i], widths[i + 1], kernel, stride, kernel // 2)
        for i, (kernel, stride) in enumerate(zip(kernels, strides))
    ]


def _strides(spec: UnitSpec, where: int) -> list:
    """One stride per convolution: the unit's stride at position ``where``, else 1."""
    strides = [1] * (3 if spec.bottleneck else 2)
    strides[where] = spec.stride
    return strides


def _post_activation(spec: UnitSpec, style: Style) -> list:
    layers: list = []
    convolutions = _convolutions(spec, _strides(spec, 0 if spec.early_stride else -1))
    for i, convolution in enumerate(convolutions, 1):
        channels = convolution.channels
        layers += [convolution, style.norm(f"{spec.name}_bn{i}", channels)]
        if i < len(convolutions):
            layers.append(style.activation(f"{spec.name}_relu{i}", channels))
    return layers


def _pre_activation(spec: UnitSpec, style: Style) -> list:
    # the first convolution has the stride, or the 3x3 one in a bottleneck
    first, *rest = _convolutions(spec, _strides(spec, 1 if spec.bottleneck else 0))
    layers: list = [first]
    channels = first.channels
    for i, convolution in enumerate(rest, 2):
        layers += [style.norm(f"{spec.name}_bn{i}", channels), style.activation(f"{spec.name}_relu{i}", channels)]
        layers.append(convolution)
        channels = convolution.channels
    return layers


def _improved(spec: UnitSpec, style: Style) -> list:
    layers: list = [style.norm(f"{spec.name}_bn1", spec.in_channels)]
    convolutions = _convolutions(spec, _strides(spec, -1))
    for i, convolution in enumerate(convolutions, 1):
        channels = convolution.channels
        layers += [convolution, style.norm(f"{spec.name}_bn{i + 1}", channels)]
        if i < len(convolutions):
            layers.append(style.activation(f"{spec.name}_relu{i}", channels))
    return layers


BODIES = {1: _post_activation, 2: _pre_activation, 3: _improved}
