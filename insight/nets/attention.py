"""Channel attention: a feature map times a factor in 0..1 per image and channel, computed from the channels' means.

``SqueezeExcite`` (``--version-se``): two 1x1 convolutions, by way of a sixteenth of the channels. Hu et al.,
"Squeeze-and-Excitation Networks", arXiv:1709.01507; as fresnet.py of deepinsight/insightface@9fc3cc9c has it.

``EfficientAttention`` (``--version-eca``): one convolution of the row of means over neighbouring channels. Wang et al.,
"ECA-Net", arXiv:1910.03151, equation 12 for its kernel size.

Both come behind a unit's last batch norm and before the sum with its shortcut, as in the MobileFaceNets of
cavalleria/cavaface@098e12f5 and leondgarse/Keras_insightface@07251ab1, in strided units too.
"""

from __future__ import annotations

import math

from ..options import Option
from .layers import Activation, Convolution, GlobalPool, HybridBlock, Layer, Style
from .network import chain, forward_through

SE_OPTION = Option("version_se", 0, "1 puts squeeze and excitation into each residual unit", int, (0, 1))
ECA_OPTION = Option("version_eca", 0, "MobileFaceNet: 1 puts efficient channel attention into each unit", int, (0, 1))
SE_RATIO = 16  # channels over those between the two convolutions of squeeze and excitation


class ChannelAttention(HybridBlock):
    """x (N, C, H, W) times the factors (N, C, 1, 1) that the layers compute from the channels' means.

    Parameters
    ----------
    channels : int
        C.
    style : Style
        Of a network whose PReLUs are ``plain``, means and product are ``Pooling`` and ``broadcast_mul``, the operators
        of checkpoints and converters. Their backward passes on MXNet's CPU take longer than the convolutions around
        them. In the other forms both are matrix products with a row of ones, as long as a map has pixels.
    pool : GlobalPool
    *layers : HybridBlock
    """

    def __init__(self, channels: int, style: Style, pool: GlobalPool, *layers: HybridBlock):
        super().__init__(prefix="")
        self._channels = channels
        self._plain = style.prelu == "plain"
        self.pool = pool
        self.layers = chain(self, *layers)

    def hybrid_forward(self, F, x):
        if self._plain:
            return F.broadcast_mul(x, forward_through((self.pool, *self.layers), x))
        # by slice_axis: MXNet 1.9.1's slice crashes on a map in oneDNN's layout
        one_map = F.slice_axis(F.slice_axis(x, axis=0, begin=0, end=1), axis=1, begin=0, end=1)
        ones = F.reshape(F.ones_like(one_map), (1, -1))
        sums = F.dot(F.reshape(x, (-3, -3)), ones, transpose_b=True)  # (N C, H W) by (H W, 1)
        means = F.reshape(F.broadcast_div(sums, F.sum(ones)), (-1, self._channels, 1, 1))
        factors = F.reshape(forward_through(self.layers, means), (-1, 1))
        return x * F.reshape_like(F.dot(factors, ones), x)


class SqueezeExcite(ChannelAttention):
    """x times sigmoid(conv(act(conv(mean of x)))).

    Parameters
    ----------
    name : str
        What the names of all nodes start with.
    channels : int
    style : Style
        Gives the activation too, with a slope per channel.
    """

    def __init__(self, name: str, channels: int, style: Style):
        inside = channels // SE_RATIO
        super().__init__(
            channels,
            style,
            GlobalPool(f"{name}se_pool1"),
            Convolution(f"{name}se_conv1", channels, inside, bias=True),
            style.activation(f"{name}se_relu1", inside),
            Convolution(f"{name}se_conv2", inside, channels, bias=True),
            Activation(f"{name}se_sigmoid", "sigmoid"),
        )


class EfficientAttention(ChannelAttention):
    """x times sigmoid(convolution over channels of (mean of x)), without a bias; parameters as above."""

    def __init__(self, name: str, channels: int, style: Style):
        super().__init__(
            channels,
            style,
            GlobalPool(f"{name}eca_pool1"),
            AcrossChannels(f"{name}eca_conv1", kernel_size(channels)),
            Activation(f"{name}eca_sigmoid", "sigmoid"),
        )


class AcrossChannels(Layer):
    """Convolution of (N, C, 1, 1) along its channels; zeros beyond the first and the last.

    The channels become the rows of an image with one channel and one column, because every converter and runtime has
    the convolution of images.
    """

    def __init__(self, label: str, kernel: int):
        super().__init__(label)
        self._options = {"num_filter": 1, "kernel": (kernel, 1), "pad": (kernel // 2, 0), "no_bias": True}
        self.weight = self.params.get(f"{label}_weight", shape=(1, 1, kernel, 1))

    def hybrid_forward(self, F, x, weight):
        rows = F.reshape(x, (0, 1, -1, 1), name=f"{self.label}_rows")
        rows = F.Convolution(rows, weight, name=self.label, **self._options)
        return F.reshape(rows, (0, -1, 1, 1), name=f"{self.label}_channels")


def kernel_size(channels: int) -> int:
    """Neighbouring channels that a factor depends on: log2(C) / 2 + 1/2 rounded down, or the odd number above."""
    size = int(abs(math.log2(channels) / 2 + 0.5))
    return size if size % 2 else size + 1
