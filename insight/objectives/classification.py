"""Classification: fc7 over all identities, a margin, and the softmax's cross entropy.

The (B, C) logits are the largest array of a step. They are made once by one matrix product; margin, softmax and
gradient then overwrite them. Nothing else of that size exists: no one-hot, no copy. A class has one centre, a row of
``fc7_weight``, or K of them, of which each logit takes the nearest (:mod:`insight.objectives.sub_centres`).

B: batch of a device, C: classes, E: embedding size, K: centres of a class, N = C K: rows of ``fc7_weight``.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from .._mxnet import mx
from ..errors import InsightError
from ..margins import margins
from ..margins.margin import Margin
from ..margins.targets import Targets
from ..options import Option
from . import centre_spread, cross_entropy, fc7, objectives, projection, sub_centres, values
from .entry import enter
from .objective import Multipliers, Need, Objective, StepResult, shares

nd = mx.nd
AS_IT_IS, WITHOUT_DECAY = Multipliers(), Multipliers(decay=0.0)


class _Share(NamedTuple):
    """A device's part of a batch after the product with the class weights."""

    device: Any
    entry: Any
    logits: cross_entropy.Logits
    inverse_N: Any  # 1 / |w|; None without cosines

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
    centres : int
        K; the rows c K .. c K + K - 1 of ``fc7_weight`` are class c's.
    interclass_filter : float
        Other classes whose cosine is above this do not count in the softmax and get no gradient: they are likely to be
        the same person under another label. As recognition/arcface_torch of deepinsight/insightface, where they count
        as a logit of 0. 1: none.

    Raises
    ------
    InsightError
        More classes than MXNet can index, or several centres with a margin that takes one.
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
        Option(
            "centres",
            1,
            "centres of each identity, of which an image's cosine takes the nearest: with 3, wrong images gather at "
            "centres of their own, and dataset-clean --by-centres finds them",
            holds=lambda centres: 1 <= centres <= sub_centres.MOST,
            rule=f"must be from 1 to {sub_centres.MOST}",
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
        centres: int = 1,
        interclass_filter: float = 1.0,
    ):
        super().__init__()
        if use_bias and margin.cosine:
            raise ValueError(f"{margin.name}: a cosine has no bias")
        fc7.check_classes(num_classes)
        fc7.check_centres(margin, centres)
        fc7.check_filter(margin, interclass_filter)
        self.interclass_filter = interclass_filter
        self.margin, self.num_classes, self.embedding_size, self.seed = margin, num_classes, embedding_size, seed
        margin.fit(embedding_size)
        self.lr_steps, self.lr_delay = margin.lr_steps, margin.lr_delay
        self.centres = centres
        self.weight = self.params.get("fc7_weight", shape=(num_classes * centres, embedding_size))
        self.bias = self.params.get("fc7_bias", shape=(num_classes,), init="zeros") if use_bias else None
        self._multipliers = {"fc7_weight": weight, "fc7_bias": bias}
        self._kept = projection.Kept()
        self._several = sub_centres.SubCentres(num_classes, centres) if centres > 1 else None
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
            centres=run_options.centres,
            interclass_filter=run_options.interclass_filter,
        )

    def describe(self) -> str:
        above = self.interclass_filter
        several = f" centres={self.centres}" if self.centres > 1 else ""
        left_out = f", other classes above cosine {above:g} left out" if above < 1 else ""
        return self.margin.describe() + several + left_out

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
        sizes = self.num_classes, self.centres, self.embedding_size, batch_per_device
        fc7.check_sizes(*sizes, remedy, batch_option, size_option)

    def memory(self, batch_per_device: int) -> Need:
        parameters = sum(int(np.prod(parameter.shape)) for parameter in self.params.values())
        sizes = self.num_classes, self.centres, self.embedding_size, batch_per_device
        return fc7.memory(self.margin, parameters, *sizes)

    def initialize(self, initializer, devices: list) -> None:
        super().initialize(initializer, devices)
        initial = self.margin.initial_state()
        self._state = {name: nd.array(array, ctx=devices[0], dtype="float32") for name, array in initial.items()}

    def adopt(self, arrays: Dict[str, Any], graph: Optional[Any]) -> Tuple[Dict[str, Any], List[str]]:
        """As the base has it. From one centre an identity to several: it is the first of them."""
        return fc7.adopted(arrays, graph, self.weight, self.centres)

    def arrays(self) -> Dict[str, list]:
        return {f"margin/{name}": [array] for name, array in self._state.items()}

    def symbol(self, embedding):
        return fc7.symbol(embedding, self.margin, self.weight, self.bias, self.centres)

    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """Figures: ``loss``, cross entropy after the margin plus the margin's own loss, nats; ``acc``, 1 where the
        top class is the own one, after the margin (InsightFace's acc); ``acc_free``, the same without the margin; and
        those of the margin.

        Labels are 0 <= label < C, of any number type: MXNet writes outside the logits for one that has no class, and
        :func:`insight.train.guards.check_set` refuses such a set.
        """
        with mx.autograd.pause():
            labels = shares(batch.label, embeddings)
            parts = [self._project(e, label) for e, label in zip(embeddings, labels)]
            self._update(parts, step)
            results, first = [], self.ranks.rank * batch.label.shape[0]
            for part in parts:
                results.append(self._backward(part, parts, step, first))
                first += part.logits.label_B.shape[0]
        figures = {
            "loss": [loss.loss_B for loss, _ in results],
            "acc": [loss.hit_B for loss, _ in results],
            "acc_free": [loss.hit_free_B for loss, _ in results],
        }
        for name in results[0][0].figures:
            figures[name] = [loss.figures[name] for loss, _ in results]
        return StepResult([gradient_BE for _, gradient_BE in results], figures)

    def _project(self, embedding_BE, label_B) -> _Share:
        embedding_BE, device = embedding_BE.astype("float32", copy=False), embedding_BE.context
        weight_NE, count = self.weight.data(device), label_B.shape[0]
        bias_C = None if self.bias is None else self.bias.data(device)
        inverse_N = projection.inverse_norms(weight_NE) if self.margin.cosine else None
        entry = enter(embedding_BE, self.margin)
        logits_BC = self._kept.get(device, "logits", (count, self.num_classes))
        if self._several:
            self._several.forward(entry.x_BE, weight_NE, inverse_N, out=logits_BC)
        else:
            projection.forward(entry.x_BE, weight_NE, bias_C, inverse_N, out=logits_BC)
        return _Share(device, entry, cross_entropy.Logits(logits_BC, label_B), inverse_N)

    def _update(self, parts: list, step: int) -> None:
        """Let the margin's state see the targets of all devices, on the first one."""
        if not self._state:
            return
        device = parts[0].device

        def lengths():
            return self._everyones("lengths", [part.entry.lengths() for part in parts], device)

        cos_B = self._everyones("cosines", [part.cos_B for part in parts], device)
        state = self.margin.update(Targets(nd, cos_B, lengths, step, self.seed, 0, self._state))
        for name, array in self._state.items():
            array[:] = state[name]

    def _everyones(self, name: str, arrays: list, device):
        """The samples of all devices of all ranks, in the order of the batch, on one device."""
        own = nd.concat(*[array.as_in_context(device) for array in arrays], dim=0)
        return self.ranks.gather(f"margin/{name}", own)

    def _backward(self, part: _Share, parts: list, step: int, first: int) -> Tuple[cross_entropy.Loss, Any]:
        """Loss, and the gradient of the embeddings; those of ``params`` are written to this device's copies."""
        device, entry, logits, inverse_N = part
        state = {name: array.as_in_context(device) for name, array in self._state.items()}

        def everyone():
            return self._everyones("cosines", [one.cos_B for one in parts], device)

        targets = Targets(nd, part.cos_B, entry.lengths, step, self.seed, first, state, everyone)
        if self.interclass_filter < 1:
            logits.leave_out(self.interclass_filter * entry.scale)
        loss = cross_entropy.learn(logits, targets, entry, self.margin)
        weight_NE, weight_grad_NE, label_B = self.weight.data(device), _gradient(self.weight, device), logits.label_B
        if self._several:
            gradient_BC, x_BE = logits.buffer_BC, entry.x_BE
            gradient_BE = self._several.backward(gradient_BC, x_BE, weight_NE, weight_grad_NE, inverse_N)
            return loss, entry.backward(gradient_BE, loss.along_B)
        x_BE, rows_2C = entry.x_BE, None
        if self.margin.centre_spread:
            spread_B, rows_2C, x_2E = centre_spread.learn(self.margin.centre_spread, weight_NE, inverse_N, label_B)
            loss, x_BE = loss._replace(loss_B=loss.loss_B + spread_B), nd.concat(x_BE, x_2E, dim=0)
        gradients = weight_grad_NE, _gradient(self.bias, device)
        gradient_BE = projection.backward(logits.buffer_BC, x_BE, weight_NE, *gradients, inverse_N, rows_2C)
        if rows_2C is not None:
            gradient_BE = gradient_BE[: label_B.shape[0]]
        return loss, entry.backward(gradient_BE, loss.along_B)


def _gradient(parameter: Optional[Any], device):
    """Where to write the gradient of a parameter on a device; None where it takes none."""
    if parameter is None or parameter.grad_req == "null":
        return None
    if parameter.grad_req != "write":
        raise ValueError(f"{parameter.name}: grad_req {parameter.grad_req!r}; the classifier writes gradients")
    parameter.data(device)._fresh_grad = True  # or a Gluon trainer takes it for one of an earlier step
    return parameter.grad(device)
