"""The layers of InsightFace's networks, with the names of its graphs.

A layer gets its full name as label, because the original graphs name all nodes explicitly: the node is ``<name>``, its
arrays ``<name>_weight``, ``<name>_gamma`` and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .._mxnet import mx
from .prelu import SLOPE, SYMBOL_EPS, TWO_BATCHNORMS, batchnorms, relus

HybridBlock = mx.gluon.HybridBlock

STEP_ONLY = "unused_"  # arrays with this in their name exist only in training and are not saved
EPS = 2e-5  # of batch norms that set eps; the others use the symbol API's default, 1e-3


def running_statistics(params, name: str, channels: int) -> tuple:
    """(moving_mean, moving_var), each (C,), in a block's name space, without gradients."""
    shared = {"shape": (channels,), "grad_req": "null", "differentiable": False}
    mean = params.get(name + "moving_mean", init="zeros", **shared)
    return mean, params.get(name + "moving_var", init="ones", **shared)


def batchnorm_parameters(params, name: str, channels: int, fix_gamma: bool = False) -> tuple:
    """(gamma, beta, moving_mean, moving_var), each (C,), of a batch norm under InsightFace's names.

    A fixed gamma is stored as ones and not learned: MXNet's Module lets it drift, and readers that ignore ``fix_gamma``
    would multiply by it.
    """
    gamma = params.get(name + "gamma", shape=(channels,), init="ones", grad_req="null" if fix_gamma else "write")
    beta = params.get(name + "beta", shape=(channels,), init="zeros")
    return (gamma, beta, *running_statistics(params, name, channels))


class Layer(HybridBlock):
    """Base class of layers with one node in the graph, named ``label``."""

    def __init__(self, label: str):
        super().__init__(prefix="")
        self.label = label


class Convolution(Layer):
    """Square convolution of (N, C, H, W), by default without bias."""

    def __init__(self, label, in_channels, channels, kernel=1, stride=1, pad=0, groups=1, bias=False):
        super().__init__(label)
        self._options = {"num_filter": channels, "kernel": (kernel, kernel), "stride": (stride, stride)}
        self._options.update(pad=(pad, pad), no_bias=not bias)
        self.channels = channels
        if groups > 1:
            self._options["num_group"] = groups
        shape = (channels, in_channels // groups, kernel, kernel)
        self.weight = self.params.get(f"{label}_weight", shape=shape)
        if bias:
            self.bias = self.params.get(f"{label}_bias", shape=(channels,), init="zeros")

    def hybrid_forward(self, F, x, weight, bias=None):
        arrays = (weight,) if bias is None else (weight, bias)
        return F.Convolution(x, *arrays, name=self.label, **self._options)


class BatchNorm(Layer):
    """Batch norm over channels, eps 2e-5."""

    def __init__(self, label, channels, momentum=0.9, fix_gamma=False):
        super().__init__(label)
        self._options = {"eps": EPS, "fix_gamma": fix_gamma, "momentum": momentum}
        arrays = batchnorm_parameters(self.params, f"{label}_", channels, fix_gamma)
        self.gamma, self.beta, self.mean, self.var = arrays

    def hybrid_forward(self, F, x, gamma, beta, mean, var):
        return F.BatchNorm(x, gamma, beta, mean, var, name=self.label, **self._options)


class PReLU(Layer):
    """PReLU with a slope per channel, initially 0.25; ``form`` as in :mod:`insight.nets.prelu`."""

    def __init__(self, label, channels, form="plain"):
        super().__init__(label)
        self._form = form
        self.slope = self.params.get(f"{label}_gamma", shape=(channels,), init=mx.init.Constant(SLOPE))

    def hybrid_forward(self, F, x, slope):
        if self._form == "relus":
            return relus(F, x, slope, self.slope.shape[0])
        return F.LeakyReLU(x, slope, act_type="prelu", name=self.label)


class Activation(Layer):
    """An activation without arrays: ``relu``, ``sigmoid``."""

    def __init__(self, label, kind):
        super().__init__(label)
        self._kind = kind

    def hybrid_forward(self, F, x):
        return F.Activation(x, act_type=self._kind, name=self.label)


class Dense(Layer):
    """Fully connected layer with bias; its input is flattened to (N, in_units)."""

    def __init__(self, label, in_units, units, weight_name=""):
        super().__init__(label)
        self._units = units
        self.weight = self.params.get(weight_name or f"{label}_weight", shape=(units, in_units))
        self.bias = self.params.get(f"{label}_bias", shape=(units,), init="zeros")

    def hybrid_forward(self, F, x, weight, bias):
        return F.FullyConnected(x, weight, bias, num_hidden=self._units, name=self.label)


class GlobalPool(Layer):
    """Mean over height and width: (N, C, 1, 1); without a label it is named by the graph's counter."""

    def hybrid_forward(self, F, x):
        # the kernel is unused, but the original graphs have it
        name = {"name": self.label} if self.label else {}
        return F.Pooling(x, global_pool=True, kernel=(7, 7), pool_type="avg", **name)


class Dropout(HybridBlock):
    """Dropout with probability ``p``, named by the graph's counter as in the original."""

    def __init__(self, p):
        super().__init__(prefix="")
        self._p = p

    def hybrid_forward(self, F, x):
        return F.Dropout(x, p=self._p)


class Flatten(HybridBlock):
    """(N, C, H, W) to (N, C H W)."""

    def __init__(self):
        super().__init__(prefix="")

    def hybrid_forward(self, F, x):
        return F.Flatten(x)


class Identity(Layer):
    """A named copy of its input."""

    def hybrid_forward(self, F, x):
        return F.identity(x, name=self.label)


@dataclass(frozen=True)
class Style:
    """Options shared by all layers of one network; creates the layers that depend on them.

    Attributes
    ----------
    prelu : str
        Form of the PReLUs.
    momentum : float
        Momentum of the batch norms.
    act : str
        Activation, ``prelu`` or ``relu``.
    """

    prelu: str = "plain"
    momentum: float = 0.9
    act: str = "prelu"

    def norm(self, label: str, channels: int, fix_gamma: bool = False) -> BatchNorm:
        """A batch norm with the network's momentum."""
        return BatchNorm(label, channels, self.momentum, fix_gamma)

    def activation(self, label: str, channels: int) -> Layer:
        """The network's activation."""
        return PReLU(label, channels, self.prelu) if self.act == "prelu" else Activation(label, self.act)


class ConvUnit(HybridBlock):
    """Convolution without bias, batch norm and, unless ``act`` is False, a PReLU with a slope per channel.

    Source: ``Conv`` and ``Linear`` of fmobilefacenet.py, deepinsight/insightface@4bc81321.

    Called with (x, sign), both (N, C, H, W) and (C,) or None; returns (y, sign of y or None).
    The actual activation is ``sign * y``; only the forms with two batch norms return a sign.
    """

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
        prelu: str = "plain",
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
        self._norm = {"fix_gamma": False, "momentum": momentum}  # eps: the symbol API's default
        self._form = prelu if act else None
        self._depthwise = groups > 1
        with self.name_scope():
            self.weight = self.params.get("conv2d_weight", shape=(channels, in_channels // groups, kernel, kernel))
            self.gamma, self.beta, self.mean, self.var = batchnorm_parameters(self.params, "batchnorm_", channels)
            if act:
                self.slope = self.params.get("relu_gamma", shape=(channels,), init=mx.init.Constant(SLOPE))
            if self._form in TWO_BATCHNORMS:
                # The second batch norm also writes running statistics: the same values, which are not needed.
                self.unused_mean, self.unused_var = running_statistics(self.params, STEP_ONLY, channels)

    def hybrid_forward(self, F, x, sign, weight, gamma, beta, mean, var, **more):
        if sign is not None:
            weight = F.broadcast_mul(weight, F.reshape(sign, (-1, 1, 1, 1) if self._depthwise else (1, -1, 1, 1)))
        y = F.Convolution(x, weight, name="conv2d", **self._conv)
        if self._form in TWO_BATCHNORMS:
            arrays = (gamma, beta, mean, var, more["unused_mean"], more["unused_var"])
            fused = self._form == "batchnorms"
            return batchnorms(F, y, more["slope"], *arrays, fused=fused, eps=SYMBOL_EPS, **self._norm)
        y = F.BatchNorm(y, gamma, beta, mean, var, name="batchnorm", **self._norm)
        if self._form == "relus":
            y = relus(F, y, more["slope"], self._conv["num_filter"])
        elif self._form == "plain":
            y = F.LeakyReLU(y, more["slope"], act_type="prelu", name="relu")
        return y, None


def forward_all(units, x, sign: Optional[object] = None):
    """Apply :class:`ConvUnit` blocks in sequence, passing the sign of each to the next."""
    for unit in units:
        x, sign = unit(x, sign)
    return x, sign
