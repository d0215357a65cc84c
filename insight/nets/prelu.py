"""PReLU(z) = max(z, 0) + a min(z, 0), with a slope per channel, in four forms that compute the same.

``plain``
    ``LeakyReLU(act_type="prelu")``: the operator of checkpoints and converters, with a GPU kernel. Its backward pass on
    MXNet's CPU takes several times as long as the rest of MobileFaceNet, and if a hybridised graph computes it in
    place, the slope's gradient is computed from the overwritten input and is wrong.

``batchnorms``
    Between a convolution with batch norm and a following convolution. With PReLU_a(z) = (1 - a) relu(z) + a z,
    both terms are batch norms of one convolution, which MXNet keeps in oneDNN's blocked layout:

        A = relu(BN(y; g s (1-a), b s (1-a)))    B = BN(y; g s a, b s a)    A + B = s PReLU_a(BN(y; g, b))

    with s = -1 where a > 1 (there 1 - a is negative and could not pass through the relu) and +1 elsewhere. The sign
    s is undone in the weights of the following convolution, so units pass it on. Gradients follow from the graph; only
    at a = 1 exactly, the slope's gradient is the one-sided value. Not for bfloat16: MXNet's AMP lists do not contain
    the fused batch norm, and the gradients of the first layers are wrong.

``batchnorms_apart``
    The same with the relu as a separate operator, for bfloat16. It is an Activation: MXNet's ``relu`` has no oneDNN
    kernel in bfloat16 and takes longer than the rest of the network.

``relus``
    In any position, also for bfloat16. relu(z) (1 - a) + z a, each product a depthwise 1x1 convolution, because a
    broadcast product leaves the blocked layout and costs more than the convolutions around it.
"""

from __future__ import annotations

FORMS = ("plain", "batchnorms", "batchnorms_apart", "relus")
TWO_BATCHNORMS = ("batchnorms", "batchnorms_apart")
SLOPE = 0.25  # initial slope of each channel
SYMBOL_EPS = 1e-3  # the symbol API's default, which MobileFaceNet uses


def relus(F, x, slope, channels: int):
    """The form ``relus`` for x (N, C, H, W) or (N, C, 1, 1) with slopes (C,)."""
    depthwise = {"kernel": (1, 1), "num_filter": channels, "num_group": channels, "no_bias": True}
    per_channel = F.reshape(slope, (-1, 1, 1, 1))
    return F.Convolution(x, per_channel, **depthwise) + F.Convolution(
        F.Activation(x, act_type="relu"), 1 - per_channel, **depthwise
    )


def batchnorms(F, y, slope, gamma, beta, mean, var, unused_mean, unused_var, fused=True, **norm):
    """Two batch norms of a convolution's output y: (sign * PReLU(BN(y)), sign); ``norm`` is passed to both."""
    sign = 1 - 2 * F.BlockGrad(F.broadcast_greater(slope, F.ones_like(slope)))
    positive = sign * (1 - slope)
    linear = sign * slope
    if fused:
        a = F.contrib.BatchNormWithReLU(y, gamma * positive, beta * positive, mean, var, **norm)
    else:
        a = F.Activation(F.BatchNorm(y, gamma * positive, beta * positive, mean, var, **norm), act_type="relu")
    b = F.BatchNorm(y, gamma * linear, beta * linear, unused_mean, unused_var, **norm)
    return a + b, sign
