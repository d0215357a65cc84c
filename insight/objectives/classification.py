"""Classification: fc7 over all identities, a margin, and the softmax's cross entropy.

The (B, C) logits are the largest array of a step. They are made once by one matrix product; margin, softmax and
gradient then overwrite them. Nothing else of that size exists: no one-hot, no copy. A class has one centre, a row of
``fc7_weight``; several a class would be the maximum over their products, in :mod:`insight.objectives.projection`.

B: batch of a device, C: classes, E: embedding size.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from .._mxnet import mx
from ..errors import InsightError
from ..margins import margins
from ..margins.margin import Margin
from ..margins.targets import Targets
from ..options import Option
from . import cross_entropy, fc7, objectives, projection, values
from .entry import enter
from .objective import Multipliers, Need, Objective, StepResult, shares

nd = mx.nd
AS_IT_IS, WITHOUT_DECAY = Multipliers(), Multipliers(decay=0.0)


class _Share(NamedTuple):
    """A device's part of a batch after the product with the class weights."""

    device: Any
    entry: Any
    logits: cross_entropy.Logits
    inverse_C: Any  # 1 / |w|; None without cosines

    @property
    def cos_B(self):
        return self.logits.target_B / self.entry.scale


@objectives.register("classification")
class Classification(Objective):
    """Embeddings and labels to loss and gradients, by class weights.

    Parameters
    ----------
    margin : Margin
    num_classes : int
        C.
    embedding_size : int
        E.
    use_bias : bool
        Add ``fc7_bias``; only where the margin is not cosine-based.
    seed : int
        Of the run, for margins that draw random numbers.
    weight, bias : Multipliers
        Of the rate and decay of ``fc7_weight`` and ``fc7_bias``.
    interclass_filter : float
        Other classes whose cosine is above this do not count in the softmax and get no gradient: they are likely to be
        the same person under another label. As recognition/arcface_torch of deepinsight/insightface, where they count
        as a logit of 0. 1: none.

    Raises
    ------
    InsightError
        More classes, or larger class weights, than MXNet can index.
    """

    name = "classification"
    OPTIONS = (
        Option("fc7_no_bias", False, "softmax without a bias in fc7, as MobileFaceNet's recipe has it"),
        Option(
            "fc7_lr_mult",
            1.0,
            "learning rate of fc7, as a multiple of the rate",
            holds=lambda multiple: multiple >= 0,
            rule="must be 0 or more",
        ),
        Option("interclass_filter", 1.0, "other classes with a cosine above this are left out of a loss; 1: none are"),
    )

    def __init__(
        self,
        margin: Margin,
        num_classes: int,
        embedding_size: int,
        use_bias: bool = False,
        seed: int = 0,
        weight: Multipliers = AS_IT_IS,
        bias: Multipliers = WITHOUT_DECAY,
        interclass_filter: float = 1.0,
    ):
        super().__init__()
        if use_bias and margin.cosine:
            raise ValueError(f"{margin.name}: a cosine has no bias")
        fc7.check_classes(num_classes)
        fc7.check_filter(margin, interclass_filter)
        self.interclass_filter = interclass_filter
        self.margin, self.num_classes, self.embedding_size, self.seed = margin, num_classes, embedding_size, seed
        self.lr_steps, self.lr_delay = margin.lr_steps, margin.lr_delay
        self.weight = self.params.get("fc7_weight", shape=(num_classes, embedding_size))
        self.bias = self.params.get("fc7_bias", shape=(num_classes,), init="zeros") if use_bias else None
        self._multipliers = {"fc7_weight": weight, "fc7_bias": bias}
        self._buffers: dict = {}
        self._state: Dict[str, Any] = {}  # of the margin, on the first device

    @classmethod
    def from_options(cls, run_options: Any, num_classes: int) -> Classification:
        """With the margin that ``--loss-type`` names."""
        if run_options.loss_type not in margins:
            raise InsightError(f"--loss-type {run_options.loss_type}: name its margin instead: {', '.join(margins)}")
        return cls.with_margin(run_options.loss_type, values(run_options), run_options, num_classes)

    @classmethod
    def with_margin(cls, margin: str, given: Mapping[str, Any], run_options: Any, num_classes: int) -> Classification:
        """With a margin by its name.

        Parameters
        ----------
        margin : str
        given : mapping
            What was set of the options of the margin and of :attr:`OPTIONS`, by name.
        run_options : insight.train.train_options.TrainOptions
        num_classes : int
        """
        own = {option.name for option in cls.OPTIONS}
        of_margin = {name: value for name, value in given.items() if name not in own}
        head = margins.get(margin)(**of_margin)
        rate, decay = run_options.fc7_lr_mult, run_options.fc7_wd_mult
        return cls(
            head,
            num_classes,
            run_options.emb_size,
            use_bias=not head.cosine and not run_options.fc7_no_bias,
            seed=run_options.seed,
            weight=Multipliers(rate, decay),
            bias=Multipliers(rate, 0.0),
            interclass_filter=run_options.interclass_filter,
        )

    def describe(self) -> str:
        above = self.interclass_filter
        return self.margin.describe() + (f", other classes above cosine {above:g} left out" if above < 1 else "")

    def multipliers(self) -> Dict[str, Multipliers]:
        return {name: self._multipliers[name] for name in self.params}

    def check(
        self,
        batch_per_device: int,
        remedy: str = "",
        batch_option: str = "--per-batch-size",
        size_option: str = "--emb-size",
    ) -> None:
        """Refuse sizes that MXNet cannot index; ``batch_option`` and ``size_option`` say where B and E come from."""
        fc7.check_sizes(self.num_classes, self.embedding_size, batch_per_device, remedy, batch_option, size_option)

    def memory(self, batch_per_device: int) -> Need:
        parameters = sum(int(np.prod(parameter.shape)) for parameter in self.params.values())
        return fc7.memory(self.margin, parameters, self.num_classes, self.embedding_size, batch_per_device)

    def initialize(self, initializer, devices: list) -> None:
        super().initialize(initializer, devices)
        initial = self.margin.initial_state()
        self._state = {name: nd.array(array, ctx=devices[0], dtype="float32") for name, array in initial.items()}

    def arrays(self) -> Dict[str, list]:
        return {f"margin/{name}": [array] for name, array in self._state.items()}

    def symbol(self, embedding):
        return fc7.symbol(embedding, self.margin, self.weight, self.bias)

    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """Figures: ``loss``, cross entropy after the margin plus the margin's own loss, nats; ``acc``, 1 where the
        top class is the own one, after the margin (InsightFace's acc); ``acc_free``, the same without the margin.

        Labels are 0 <= label < C, of any number type: MXNet writes outside the logits for one that has no class, and
        :func:`insight.train.guards.check_set` refuses such a set.
        """
        with mx.autograd.pause():
            labels = shares(batch.label, embeddings)
            parts = [self._project(e, label) for e, label in zip(embeddings, labels)]
            self._update(parts, step)
            results, first = [], 0
            for part in parts:
                results.append(self._backward(part, step, first))
                first += part.logits.label_B.shape[0]
        figures = {
            "loss": [loss.loss_B for loss, _ in results],
            "acc": [loss.hit_B for loss, _ in results],
            "acc_free": [loss.hit_free_B for loss, _ in results],
        }
        return StepResult([gradient_BE for _, gradient_BE in results], figures)

    def _project(self, embedding_BE, label_B) -> _Share:
        embedding_BE, device = embedding_BE.astype("float32", copy=False), embedding_BE.context
        weight_CE = self.weight.data(device)
        bias_C = None if self.bias is None else self.bias.data(device)
        inverse_C = projection.inverse_norms(weight_CE) if self.margin.cosine else None
        entry = enter(embedding_BE, self.margin)
        logits_BC = self._buffer(device, label_B.shape[0])
        projection.forward(entry.x_BE, weight_CE, bias_C, inverse_C, out=logits_BC)
        return _Share(device, entry, cross_entropy.Logits(logits_BC, label_B), inverse_C)

    def _update(self, parts: list, step: int) -> None:
        """Let the margin's state see the targets of all devices, on the first one."""
        if not self._state:
            return
        device = parts[0].device

        def gathered(arrays):
            return nd.concat(*[array.as_in_context(device) for array in arrays], dim=0)

        def lengths():
            return gathered([part.entry.lengths() for part in parts])

        cos_B = gathered([part.cos_B for part in parts])
        state = self.margin.update(Targets(nd, cos_B, lengths, step, self.seed, 0, self._state))
        for name, array in self._state.items():
            array[:] = state[name]

    def _backward(self, part: _Share, step: int, first: int) -> Tuple[cross_entropy.Loss, Any]:
        """Loss, and the gradient of the embeddings; those of ``params`` are written to this device's copies."""
        device, entry, logits, inverse_C = part
        state = {name: array.as_in_context(device) for name, array in self._state.items()}
        targets = Targets(nd, part.cos_B, entry.lengths, step, self.seed, first, state)
        if self.interclass_filter < 1:
            logits.leave_out(self.interclass_filter * entry.scale)
        loss = cross_entropy.learn(logits, targets, entry, self.margin)
        weight_CE, label_B = self.weight.data(device), logits.label_B
        x_BE, rows_2C = entry.x_BE, None
        if self.margin.centre_spread:
            spread_B, rows_2C, x_2E = self._spread(weight_CE, inverse_C, label_B)
            loss, x_BE = loss._replace(loss_B=loss.loss_B + spread_B), nd.concat(x_BE, x_2E, dim=0)
        gradients = _gradient(self.weight, device), _gradient(self.bias, device)
        gradient_BE = projection.backward(logits.buffer_BC, x_BE, weight_CE, *gradients, inverse_C, rows_2C)
        if rows_2C is not None:
            gradient_BE = gradient_BE[: label_B.shape[0]]
        return loss, entry.backward(gradient_BE, loss.along_B)

    def _spread(self, weight_CE, inverse_C, label_B) -> tuple:
        """The mean cosine between own and all centres, and its gradient as two more rows of logits and inputs.

        sum_b w^_y . mean(w^) has the derivative count_k mean(w^) + sum_b w^_y / C by centre k.
        """
        weight, device = self.margin.centre_spread, weight_CE.context
        mean_1E = nd.dot(inverse_C.reshape((1, -1)), weight_CE) / self.num_classes
        own_BE = nd.take(weight_CE, label_B) * nd.take(inverse_C, label_B).reshape((-1, 1))
        loss_B = weight * nd.dot(own_BE, mean_1E, transpose_b=True).reshape((-1,))
        sum_1E = nd.sum(own_BE, axis=0, keepdims=True) / self.num_classes
        labels = label_B.asnumpy().astype(np.int64)
        counts_C = nd.array(np.bincount(labels, minlength=self.num_classes), ctx=device, dtype="float32")
        rows_2C = nd.stack(counts_C, nd.ones_like(counts_C))
        return loss_B, rows_2C, weight * nd.concat(mean_1E, sum_1E, dim=0)

    def _buffer(self, device, rows: int):
        """Room for the logits, kept between steps: freed, its place goes to others and the next lies beside it."""
        buffer = self._buffers.get(device)
        if buffer is None or buffer.size < rows * self.num_classes:
            buffer = self._buffers[device] = nd.empty((rows * self.num_classes,), ctx=device)
        return buffer[: rows * self.num_classes].reshape((rows, self.num_classes))


def _gradient(parameter: Optional[Any], device):
    """Where to write the gradient of a parameter on a device; None where it takes none."""
    if parameter is None or parameter.grad_req == "null":
        return None
    if parameter.grad_req != "write":
        raise ValueError(f"{parameter.name}: grad_req {parameter.grad_req!r}; the classifier writes gradients")
    parameter.data(device)._fresh_grad = True  # or a Gluon trainer takes it for one of an earlier step
    return parameter.grad(device)
