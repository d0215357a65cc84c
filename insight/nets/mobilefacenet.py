"""MobileFaceNet, as InsightFace trains it.

Sources: Chen et al., "MobileFaceNets", arXiv:1804.07573, Table 1; fmobilefacenet.py of
deepinsight/insightface@4bc81321 for names, defaults and the widths that differ from the paper.
About 0.98 million convolution and FC weights at E = 128.
"""

from __future__ import annotations

from . import networks
from .layers import ConvUnit, EmbeddingHead, HybridBlock, Network, forward_all, normalise_pixels


class Bottleneck(HybridBlock):
    """1x1 to ``width`` channels, 3x3 depthwise with the stride, 1x1 to ``out`` without activation."""

    def __init__(self, prefix: str, in_channels: int, width: int, out: int, stride: int, **unit):
        super().__init__(prefix=prefix)
        with self.name_scope():
            self.sep = ConvUnit("conv_sep_", in_channels, width, **unit)
            self.dw = ConvUnit("conv_dw_", width, width, 3, stride, 1, groups=width, **unit)
            self.proj = ConvUnit("conv_proj_", width, out, act=False, **unit)

    def hybrid_forward(self, F, x, sign=None):
        return forward_all((self.sep, self.dw, self.proj), x, sign)[0]


@networks.register("y1", "mobilefacenet")
class MobileFaceNet(Network):
    """The y1 network: stages of 4, 6 and 2 residual bottlenecks, global depthwise convolution.

    Input (N, 3, 112, 112) RGB in 0..255, output (N, E).

    Parameters
    ----------
    embedding_size : int
        E; 128 in the paper.
    fast_prelu : bool
        See :class:`insight.nets.layers.Network`.
    batchnorm_momentum : float
        Share of the old running statistics that each step keeps (``--bn-mom``).
    """

    default_embedding_size = 128
    # (name, residual units, width, channels out); each follows a strided bottleneck of its own
    STAGES = (("3", 4, 128, 64), ("4", 6, 256, 128), ("5", 2, 256, 128))
    DOWN = (("23", 128, 64), ("34", 256, 128), ("45", 512, 128))

    def __init__(self, embedding_size: int = 128, fast_prelu: bool = False, batchnorm_momentum: float = 0.9):
        super().__init__(embedding_size, fast_prelu, batchnorm_momentum=batchnorm_momentum)
        unit = {"fast_prelu": fast_prelu, "momentum": batchnorm_momentum}
        with self.name_scope():
            self.stem = _chain(
                self,
                ConvUnit("conv_1_", 3, 64, 3, 2, 1, **unit),
                ConvUnit("conv_2_dw_", 64, 64, 3, 1, 1, groups=64, **unit),
            )
            channels = 64
            self.stages = []
            for (down, down_width, out), (name, count, width, _) in zip(self.DOWN, self.STAGES):
                first = Bottleneck(f"dconv_{down}_", channels, down_width, out, 2, **unit)
                rest = [Bottleneck(f"res_{name}_block{i}_", out, width, out, 1, **unit) for i in range(count)]
                self.stages.append((_chain(self, first)[0], _chain(self, *rest)))
                channels = out
            self.tail = _chain(
                self,
                ConvUnit("conv_6sep_", channels, 512, **unit),
                ConvUnit("conv_6dw7_7_", 512, 512, 7, groups=512, act=False, **unit),
            )
            self.head = EmbeddingHead(512, embedding_size, batchnorm_momentum)

    def hybrid_forward(self, F, x):
        x = normalise_pixels(x)
        x, sign = forward_all(self.stem, x)
        for down, residuals in self.stages:
            x = down(x, sign)
            sign = None
            for block in residuals:
                x = block(x) + x
        x, _ = forward_all(self.tail, x)
        return self.head(x)


def _chain(parent: Network, *blocks: HybridBlock) -> tuple:
    """Register blocks as children and return them: Gluon finds attributes, not tuples."""
    for block in blocks:
        parent.register_child(block)
    return blocks
