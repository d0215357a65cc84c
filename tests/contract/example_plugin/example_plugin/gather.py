"""An objective that is no classifier: embeddings to the mean of their identity in the batch, at a steady length."""

from insight._mxnet import mx
from insight.objectives import objectives
from insight.objectives.objective import Objective, StepResult, shares
from insight.options import Option

nd = mx.nd


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
        label_B = nd.concat(*[label.as_in_context(device) for label in shares(batch.label, embeddings)], dim=0)
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
