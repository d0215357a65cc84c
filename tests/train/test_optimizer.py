"""Weight decay acts where it should: the original's multipliers did nothing."""

import numpy as np
import pytest

from insight._mxnet import mx
from insight.objectives.objective import Multipliers
from insight.train.optimizer import make_trainer


def test_decay_multipliers_and_momentum():
    names = ["conv_weight", "fc1_weight", "fc7_weight", "fc7_bias", "bn_gamma", "bn_beta", "prelu_relu_gamma"]
    params = {name: mx.gluon.Parameter(name, shape=(1,)) for name in names}
    for parameter in params.values():
        parameter.initialize(mx.init.One())
    multipliers = {"fc7_weight": Multipliers(0.5, 10), "fc7_bias": Multipliers(0.5, 0)}
    trainer = make_trainer(params, momentum=0.9, wd=0.01, fc7_wd_mult=10, multipliers=multipliers)
    weights = dict.fromkeys(names, 1.0)
    momenta = dict.fromkeys(names, 0.0)
    for rate in (0.5, 0.25):
        trainer.set_learning_rate(rate)
        for parameter in params.values():
            with mx.autograd.record():
                (parameter.data() * 3).backward()
        trainer.step(4)
        for name in names:
            wd = {"fc1_weight": 0.1, "fc7_weight": 0.1, "fc7_bias": 0, "bn_beta": 0}.get(name, 0.01)
            own_rate = rate * (0.5 if name.startswith("fc7") else 1)
            momenta[name] = 0.9 * momenta[name] - own_rate * (3 / 4 + wd * weights[name])
            weights[name] += momenta[name]
    for name, parameter in params.items():
        assert parameter.data().asscalar() == pytest.approx(weights[name], rel=1e-4), name
    assert np.ptp(list(weights.values())) > 0
