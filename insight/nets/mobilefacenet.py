"""MobileFaceNet, as InsightFace trains it.

Sources: Chen et al., "MobileFaceNets", arXiv:1804.07573, Table 1; fmobilefacenet.py of
deepinsight/insightface@4bc81321 for names, defaults and the widths that differ from the paper, and @7fadd420
(recognition/arcface_mxnet) for y2. About 0.98 million convolution and FC weights in y1 at E = 128. InsightFace has none
with channel attention; for that see :mod:`insight.nets.attention`.
"""

from __future__ import annotations

from typing import Callable, ClassVar, Optional, Tuple

from ..errors import InsightError
from . import networks
from .attention import ECA_OPTION, SE_OPTION, ChannelAttention, EfficientAttention, SqueezeExcite
from .layers import ConvUnit, HybridBlock, Style, forward_all
from .network import Network, chain, forward_through, halved, normalise_pixels
from .outputs import REFUSED, WIDTH, Output, output_option
from .prelu import FORMS, TWO_BATCHNORMS


class Bottleneck(HybridBlock):
    """1x1 to ``width`` channels, 3x3 depthwise with the stride, 1x1 to ``out`` without activation, channel attention.

    ``attention`` takes the number of channels; None leaves it out.
    """

    def __init__(self, prefix: str, in_channels: int, width: int, out: int, stride: int, attention=None, **unit):
        super().__init__(prefix=prefix)
        with self.name_scope():
            self.sep = ConvUnit("conv_sep_", in_channels, width, **unit)
            self.dw = ConvUnit("conv_dw_", width, width, 3, stride, 1, groups=width, **unit)
            self.proj = ConvUnit("conv_proj_", width, out, act=False, **unit)
            self.attention = chain(self, attention(out)) if attention else ()

    def hybrid_forward(self, F, x, sign=None):
        x, _ = forward_all((self.sep, self.dw, self.proj), x, sign)  # no sign: a projection has no PReLU
        return forward_through(self.attention, x)


@networks.register("y1", "mobilefacenet")
class MobileFaceNet(Network):
    """The y1 network: stages of 4, 6 and 2 residual bottlenecks, global depthwise convolution.

    Input (N, 3, 112, 112) RGB in 0..255, output (N, E); E is 128 in the paper. Options and errors:
    :class:`insight.nets.network.Network`.

    The default output is GDC, as at 4bc81321, and the weight of its FC is then named ``fc1_weight``.
    (At 9fc3cc9c the default of ``--version-output`` is E; name the output to load a checkpoint of either.)
    """

    OPTIONS: ClassVar = (output_option("GDC"), SE_OPTION, ECA_OPTION)
    REFUSED = REFUSED
    PRELU_FORMS = FORMS
    # The order of the forms by speed is the same with AVX2 and with AVX-512: benchmarks/train_step.py --forms.
    fastest_prelu = "batchnorms"
    fastest_prelu_bfloat16 = "batchnorms_apart"
    # over fan-in, as in the recipe: the fan-out of a depthwise layer would make its weights tiny
    xavier: ClassVar = {"rnd_type": "uniform", "factor_type": "in", "magnitude": 2}
    default_embedding_size = 128
    STAGES = (
        ("stem", "conv_[12]|res_2"),
        ("stage 3", "dconv_23|res_3"),
        ("stage 4", "dconv_34|res_4"),
        ("stage 5", "dconv_45|res_5"),
        ("conv_6sep", "conv_6sep"),
        ("output", "conv_6dw|pre_fc1|fc1|bn|convf|convx|relu|pool1"),
    )
    BLOCKS: ClassVar[Tuple[int, ...]] = (1, 4, 6, 2)  # residual units of stages 2 to 5; 1 is a depthwise layer
    # (previous stage, stage, width and output channels of its strided bottleneck, width of its residual units)
    WIDTHS: ClassVar = (("2", "3", 128, 64, 128), ("3", "4", 256, 128, 256), ("4", "5", 512, 128, 256))
    FC_WEIGHT = "fc1_weight"  # for GDC; pre_fc1_weight for all other outputs

    def __init__(self, embedding_size: int = 0, *common, **options):
        super().__init__(embedding_size, *common, **options)
        output = self.options["version_output"]
        unit = {"prelu": self.prelu, "momentum": self.momentum}
        without_sign = (
            {**unit, "prelu": "relus"} if self.prelu in TWO_BATCHNORMS else unit
        )  # before blocks that take no sign
        style = Style("plain" if self.prelu == "plain" else "relus", self.momentum)
        bottleneck = {**unit, "attention": self._attention(style)}
        single = self.BLOCKS[0] == 1
        with self.name_scope():
            first = ConvUnit("conv_1_", 3, 64, 3, 2, 1, **(unit if single else without_sign))
            self.stem = chain(self, first)
            if single:
                self.stem += chain(self, ConvUnit("conv_2_dw_", 64, 64, 3, 1, 1, groups=64, **unit))
                residuals = ()
            else:
                residuals = self._residuals("2", self.BLOCKS[0], 64, 64, bottleneck)
            self.stages = [(None, residuals)]
            channels = 64
            for (before, stage, down_width, out, width), count in zip(self.WIDTHS, self.BLOCKS[1:]):
                down = Bottleneck(f"dconv_{before}{stage}_", channels, down_width, out, 2, **bottleneck)
                chain(self, down)
                self.stages.append((down, self._residuals(stage, count, out, width, bottleneck)))
                channels = out
            last = ConvUnit("conv_6sep_", channels, WIDTH, **(unit if output == "GDC" else without_sign))
            self.tail = chain(self, last)
            weight_name = self.FC_WEIGHT if output == "GDC" else "pre_fc1_weight"
            size = halved(self.image_size, 4)
            self.output = Output(output, WIDTH, size, self.embedding_size, style, weight_name)

    def _attention(self, style: Style) -> Optional[Callable[[int], ChannelAttention]]:
        """Channels to the attention of a bottleneck; None without."""
        squeeze, efficient = self.options["version_se"], self.options["version_eca"]
        if squeeze and efficient:
            raise InsightError("--version-se 1, --version-eca 1: a network has one kind of attention; leave one out")
        kind = SqueezeExcite if squeeze else EfficientAttention if efficient else None
        return kind and (lambda channels: kind("", channels, style))

    def _residuals(self, stage: str, count: int, out: int, width: int, bottleneck: dict) -> tuple:
        blocks = (Bottleneck(f"res_{stage}_block{i}_", out, width, out, 1, **bottleneck) for i in range(count))
        return chain(self, *blocks)

    def hybrid_forward(self, F, x):
        x, sign = forward_all(self.stem, normalise_pixels(x))
        for down, residuals in self.stages:
            if down is not None:
                x, sign = down(x, sign), None
            for block in residuals:
                x = block(x) + x
        x, sign = forward_all(self.tail, x)
        return self.output(x, sign)


@networks.register("y2")
class MobileFaceNetY2(MobileFaceNet):
    """The y2 network: residual stages of 2, 8, 16 and 4 units; E is 256 by default."""

    default_embedding_size = 256
    BLOCKS = (2, 8, 16, 4)
    FC_WEIGHT = "pre_fc1_weight"
