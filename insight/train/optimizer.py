"""SGD with momentum, and which arrays decay.

The original set ``wd_mult`` on its variables and built its optimizer without the symbol
(train_softmax.py:370 at deepinsight/insightface@4bc81321), so ``--fc7-wd-mult`` and the
rule below never took effect there. Here they do, as paper and recipe intend.
"""

from __future__ import annotations

from .._mxnet import mx

# "the last layers after the global operator": MobileFaceNet, arXiv:1804.07573, section 4.1
LAST_LAYERS = ("fc1_weight", "pre_fc1_weight", "fc7_weight")


def make_trainer(params: dict, momentum: float, wd: float, fc7_wd_mult: float):
    """A Gluon trainer over the parameters; its rate is set before each step.

    m = momentum m - lr (g / B + wd w), w += m. Weights and gammas (PReLU slopes among
    them) decay; biases and betas do not, by MXNet's own rule for Module.

    Parameters
    ----------
    params : dict
        Name to Gluon parameter, fc7's included.
    """
    for name, parameter in params.items():
        decays = name.endswith(("_weight", "_gamma"))
        parameter.wd_mult = (fc7_wd_mult if name in LAST_LAYERS else 1.0) if decays else 0.0
    sgd = mx.optimizer.SGD(momentum=momentum, wd=wd)
    return mx.gluon.Trainer(dict(sorted(params.items())), sgd, kvstore=None)
