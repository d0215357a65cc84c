"""What the families share: the network's base, and a convolution with its batch norm and PReLU.

The PReLU trains in one of two exact forms. ``LeakyReLU(act_type="prelu")`` is what
checkpoints and converters know; its backward pass on MXNet's CPU takes several times as long
as the whole rest of the network, and where a hybridised graph lets it work in place, the slope's
gradient comes from the overwritten input and is wrong. There, the unit is rewritten with
PReLU_a(z) = (1 - a) relu(z) + a z, whose two terms are batch norms of one convolution:

    A = relu(BN(y; g s (1-a), b s (1-a)))    B = BN(y; g s a, b s a)    A + B = s PReLU_a(BN(y; g, b))

with s = -1 where a > 1 (there 1 - a is negative and could not pass through the relu) and
+1 elsewhere. The sign s is taken back in the weights of the convolution that follows, so
units hand it on. Gradients follow from the graph; only at a = 1 exactly is the slope's
own gradient the one-sided value.
"""

from __future__ import annotations

from typing import Optional

from .._mxnet import mx

HybridBlock = mx.gluon.HybridBlock

PIXEL_MEAN = 127.5
PIXEL_SCALE = 0.0078125
STEP_ONLY = "unused_"  # arrays with this in their name exist while training and are in no checkpoint


class Network(HybridBlock):
    """Base of the families: remembers how it was built, so that its plain twin can be.

    Parameters
    ----------
    embedding_size : int
        E, the length of an embedding.
    fast_prelu : bool
        Train with the two-batch-norm form of PReLU (the module's text). Such a network only
        trains; :meth:`plain` is the one to evaluate and to save.
    """

    default_embedding_size = 512
    image_size = (112, 112)

    def __init__(self, embedding_size: int, fast_prelu: bool, **options):
        super().__init__(prefix="")
        self.embedding_size = embedding_size
        self.fast_prelu = fast_prelu
        self._options = options

    def plain(self) -> Network:
        """The same network with the stock operators, for its graph; it owns no arrays."""
        return type(self)(embedding_size=self.embedding_size, fast_prelu=False, **self._options)

    def kept(self) -> dict:
        """The parameters that a checkpoint holds, by name."""
        return {name: p for name, p in self.collect_params().items() if STEP_ONLY not in name}


def running_statistics(params, name: str, channels: int) -> tuple:
    """(moving_mean, moving_var), each (C,), in a block's name space; no gradients."""
    shared = {"shape": (channels,), "grad_req": "null", "differentiable": False}
    mean = params.get(name + "moving_mean", init="zeros", **shared)
    return mean, params.get(name + "moving_var", init="ones", **shared)


def batchnorm_parameters(params, name: str, channels: int, fix_gamma: bool = False) -> tuple:
    """(gamma, beta, moving_mean, moving_var) of a batch norm under InsightFace's names.

    A fixed gamma is stored as ones and never learned: Module lets it drift, and readers
    that miss ``fix_gamma`` would multiply by it.
    """
    gamma = params.get(name + "gamma", shape=(channels,), init="ones", grad_req="null" if fix_gamma else "write")
    beta = params.get(name + "beta", shape=(channels,), init="zeros")
    return (gamma, beta, *running_statistics(params, name, channels))


class ConvUnit(HybridBlock):
    """Convolution without bias, batch norm and, unless ``act`` is off, a PReLU with a slope a channel.

    Source: ``Conv`` and ``Linear`` of fmobilefacenet.py, deepinsight/insightface@4bc81321.

    Called with (x, sign), both (N, C, H, W) and (C,) or None; returns (y, sign of y or None).
    The true activation is ``sign * y``.
    """

    EPS = 1e-3  # the symbol API's default, which the original relies on by not naming it

    def __init__(
        self,
        prefix: str,
        in_channels: int,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        pad: int = 0,
        groups: int = 1,
        act: bool = True,
        fast_prelu: bool = False,
        momentum: float = 0.9,
    ):
        super().__init__(prefix=prefix)
        self._conv = {
            "num_filter": channels,
            "kernel": (kernel, kernel),
            "num_group": groups,
            "stride": (stride, stride),
            "pad": (pad, pad),
            "no_bias": True,
        }
        self._momentum = momentum
        self._act = act
        self._fast = act and fast_prelu
        self._depthwise = groups > 1
        with self.name_scope():
            self.weight = self.params.get("conv2d_weight", shape=(channels, in_channels // groups, kernel, kernel))
            self.gamma, self.beta, self.mean, self.var = batchnorm_parameters(self.params, "batchnorm_", channels)
            if act:
                self.slope = self.params.get("relu_gamma", shape=(channels,), init=mx.init.Constant(0.25))
            if self._fast:
                # The second batch norm writes running statistics too: the same ones, unneeded.
                self.unused_mean, self.unused_var = running_statistics(self.params, STEP_ONLY, channels)

    def hybrid_forward(self, F, x, sign, weight, gamma, beta, mean, var, **more):
        if sign is not None:
            weight = F.broadcast_mul(weight, F.reshape(sign, (-1, 1, 1, 1) if self._depthwise else (1, -1, 1, 1)))
        y = F.Convolution(x, weight, name="conv2d", **self._conv)
        if self._fast:
            return self._two_batchnorms(F, y, gamma, beta, mean, var, **more)
        y = F.BatchNorm(y, gamma, beta, mean, var, fix_gamma=False, momentum=self._momentum, name="batchnorm")
        if self._act:
            y = F.LeakyReLU(y, more["slope"], act_type="prelu", name="relu")
        return y, None

    def _two_batchnorms(self, F, y, gamma, beta, mean, var, slope, unused_mean, unused_var):
        options = {"eps": self.EPS, "fix_gamma": False, "momentum": self._momentum}
        sign = 1 - 2 * F.BlockGrad(F.broadcast_greater(slope, F.ones_like(slope)))
        positive = sign * (1 - slope)
        linear = sign * slope
        a = F.contrib.BatchNormWithReLU(y, gamma * positive, beta * positive, mean, var, **options)
        b = F.BatchNorm(y, gamma * linear, beta * linear, unused_mean, unused_var, **options)
        return a + b, sign


class EmbeddingHead(HybridBlock):
    """FC with bias, then batch norm with fixed gamma: (N, C, 1, 1) -> (N, E), the node ``fc1``.

    The FC's weight is ``fc1_weight`` as MobileFaceNet had it at 4bc81321; its bias is ``pre_fc1_bias``.
    """

    def __init__(self, in_units: int, embedding_size: int, momentum: float = 0.9, weight_name: str = "fc1_weight"):
        super().__init__(prefix="")
        self._size = embedding_size
        self._momentum = momentum
        with self.name_scope():
            self.weight = self.params.get(weight_name, shape=(embedding_size, in_units))
            self.bias = self.params.get("pre_fc1_bias", shape=(embedding_size,), init="zeros")
            norm = batchnorm_parameters(self.params, "fc1_", embedding_size, fix_gamma=True)
            self.gamma, self.beta, self.mean, self.var = norm

    def hybrid_forward(self, F, x, weight, bias, gamma, beta, mean, var):
        x = F.FullyConnected(x, weight, bias, num_hidden=self._size, name="pre_fc1")
        return F.BatchNorm(x, gamma, beta, mean, var, eps=2e-5, fix_gamma=True, momentum=self._momentum, name="fc1")


def normalise_pixels(x):
    """0..255 to about -1..1, inside the graph, as every InsightFace network does."""
    return (x - PIXEL_MEAN) * PIXEL_SCALE


def forward_all(units, x, sign: Optional[object] = None):
    """Apply units in turn, handing each one's sign to the next."""
    for unit in units:
        x, sign = unit(x, sign)
    return x, sign
