"""A margin with a state and an objective that is no classifier, for whole runs; nothing of insight's names them."""

import numpy as np

from insight._mxnet import mx
from insight.margins import margins
from insight.margins.margin import SCALE, Margin, TargetLogit
from insight.objectives import objectives
from insight.objectives.objective import Objective, StepResult
from insight.options import Option

nd = mx.nd


@margins.register("leaning")
class Leaning(Margin):
    """cos(theta) - lean (1 + t), where t is a running mean of the target cosines: the margin grows with success."""

    name = "leaning"
    OPTIONS = (
        SCALE,
        Option("lean", 0.2, "leaning: margin at mean cosine 0", holds=lambda lean: lean > 0, rule="must be above 0"),
    )

    def target_logit(self, targets):
        F = targets.F
        new_B = F.broadcast_sub(targets.cos_B, self.options.lean * (1 + targets.state["t"]))
        return TargetLogit(new_B, F.ones_like(new_B))

    def initial_state(self):
        return {"t": np.zeros(1)}

    def update(self, targets):
        return {"t": 0.9 * targets.state["t"] + 0.1 * targets.F.mean(targets.cos_B)}


@objectives.register("gather")
class Gather(Objective):
    """pull |e - m|^2 / 2 + (|e| - r)^2 / 2.

    m is the mean over the identity in the batch of all devices, r a running mean of the lengths, taken as given.

    Figures: ``loss``; ``apart``, the mean of |e - m|; ``peers``, other images of the identity; ``length``, r.
    """

    name = "gather"
    OPTIONS = (Option("pull", 1.0, "gather: weight of the distance to the mean of the identity"),)
    lr_steps = (100, 200)

    def initialize(self, initializer, devices):
        super().initialize(initializer, devices)
        self._length = nd.ones((1,), ctx=devices[0])

    def arrays(self):
        return {"length": [self._length]}

    def learn(self, embeddings, batch, step):
        with mx.autograd.pause():
            return self._learn(embeddings, batch)

    def _learn(self, embeddings, batch):
        device = embeddings[0].context
        e_BE = nd.concat(*[e.astype("float32").as_in_context(device) for e in embeddings], dim=0)
        label_B = batch.label.as_in_context(device).astype("float32")
        same_BB = nd.broadcast_equal(label_B.reshape((-1, 1)), label_B.reshape((1, -1)))
        count_B1 = nd.sum(same_BB, axis=1, keepdims=True)
        apart_BE = e_BE - nd.broadcast_div(nd.dot(same_BB, e_BE), count_B1)
        length_B1 = nd.sqrt(nd.sum(nd.square(e_BE), axis=1, keepdims=True) + 1e-10)
        self._length[:] = 0.9 * self._length + 0.1 * nd.mean(length_B1)
        longer_B1 = nd.broadcast_sub(length_B1, self._length.reshape((1, 1)))
        pull = self.options.pull
        apart_B = nd.sum(nd.square(apart_BE), axis=1)
        loss_B = pull / 2 * apart_B + nd.square(longer_B1).reshape((-1,)) / 2
        gradient_BE = pull * apart_BE + nd.broadcast_mul(e_BE, longer_B1 / length_B1)
        gradients, begin = [], 0
        for e in embeddings:
            gradients.append(gradient_BE[begin : begin + e.shape[0]].as_in_context(e.context))
            begin += e.shape[0]
        figures = {
            "loss": [loss_B],
            "apart": nd.mean(nd.sqrt(apart_B)),
            "peers": float((same_BB.sum() - e_BE.shape[0]).asscalar()) / e_BE.shape[0],
            "length": self._length.copy(),
        }
        return StepResult(gradients, figures)
