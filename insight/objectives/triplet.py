"""Triplet loss with triplets mined in the batch: one forward pass, negatives for all positive pairs, one backward pass.

Sources: training/train.lua of cmusatyalab/openface@05147522 (the scheme); FaceNet, arXiv:1503.03832 (the loss, all
pairs, semi-hard negatives); arXiv:1703.07737 (``hardest`` and ``all`` negatives, the soft margin).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Dict, Iterable, List, Optional, Tuple

import numpy as np

from .._mxnet import mx
from ..errors import InsightError
from ..margins import margins
from ..mining import picking
from ..mining.distances import DISTANCES
from ..mining.loss import SPANS, TripletLoss, triplet_loss
from ..options import Option, shown
from ..ranks.group import Ranks
from ..ranks.own_rows import Shard
from ..runs.stepfigures import Histogram
from . import objectives, values
from .classification import Classification
from .objective import Multipliers, Need, Objective, StepResult
from .separation import SeparationGuard

ACTIVE, ALL = "active", "all"
HEAD = "4"  # ArcFace
RUN_DEFAULTS = {"ckpt": 3, "max_fall": 2.0}  # defaults of a triplet run that differ from those of other runs
COMMON = (
    picking.ALPHA,
    picking.MAX_AP,
    Option(
        "triplet_distance",
        "euclid",
        "distance of the loss: euclid, squared, of embeddings of length 1; or angle, in radians",
        choices=tuple(DISTANCES),
    ),
    Option(
        "soft_margin",
        False,
        "the loss of a triplet is ln(1 + exp(d_ap - d_an)), without a margin, in place of max(0, d_ap - d_an + alpha)",
    ),
    Option(
        "classification_weight",
        0.0,
        "weight of a classification loss in the same step, against forgetting; 0: triplets alone",
        holds=lambda weight: weight >= 0,
        rule="must be 0 or more",
    ),
    Option("classification_loss", HEAD, "margin of that loss, by number or name as in train-softmax --loss-type"),
)


def mean_over(default: str) -> Option:
    """Option ``--triplet-mean``; its default depends on the miner."""
    about = "the loss is the mean over the active triplets, those with a loss, or over all"
    return Option("triplet_mean", default, about, choices=(ACTIVE, ALL))


@objectives.register("triplet")
class Triplet(Objective):
    """Mean triplet loss over the batch of all devices and ranks.

    The batch should have several images of each of several identities, as the sampler ``balanced`` draws them.

    Parameters
    ----------
    head : Classification, optional
        Classification to train in the same step, weighted by the option ``classification_weight``.
    seed : int
        Seed of the run, for the random choice of negatives.
    **values
        Values of the options in :attr:`OPTIONS`, by name.

    Raises
    ------
    InsightError
        ``classification_loss`` is set without ``classification_weight``, or an option has an invalid value.
    """

    name = "triplet"
    selected_by = "--mining batch"
    OPTIONS = (
        Option(
            "negatives",
            "semi-hard",
            "negatives of a pair: semi-hard, one at random that is further than the positive by less than alpha; "
            "violating, one at random that is not further by alpha; hardest, the nearest; all",
            choices=tuple(picking.CANDIDATES),
        ),
        *COMMON,
        mean_over(ACTIVE),
    )
    sampler = "balanced"
    refines = True
    line_names: ClassVar[Dict[str, str]] = {"loss": "lossvalue"}
    lr_steps = ()

    def __init__(self, head: Optional[Classification] = None, seed: int = 0, **values):
        super().__init__(**values)
        options = self.options
        if not options.classification_weight and options.classification_loss != HEAD:
            raise InsightError(
                f"--classification-loss {options.classification_loss}: does nothing without --classification-weight"
            )
        self.head, self.seed = head, seed
        if head is not None:
            self.params = head.params
        self._guard = SeparationGuard(math.log(2) if options.soft_margin else options.triplet_alpha, self._remedy())

    @classmethod
    def from_options(cls, run_options: Any, num_classes: int) -> Triplet:
        """Create the objective, with a classification if ``--classification-weight`` is above 0."""
        given, names = values(run_options), {option.name for option in cls.OPTIONS}
        own = {name: value for name, value in given.items() if name in names}
        others = {name: value for name, value in given.items() if name not in names}
        if not own.get("classification_weight"):
            return cls(seed=run_options.seed, **own, **others)
        margin = own.get("classification_loss", HEAD)
        if margin not in margins:
            raise InsightError(
                f"--classification-loss {margin}: no margin has that name; margins: {', '.join(margins)}"
            )
        return cls(Classification.with_margin(margin, others, run_options, num_classes), run_options.seed, **own)

    def _remedy(self) -> str:
        alpha = f"--triplet-alpha is {self.options.triplet_alpha:g}"
        return f"use more people or images of each in a batch, --negatives violating, or a larger margin ({alpha})"

    def describe(self) -> str:
        idle = () if self.head else ("classification_weight", "classification_loss")
        values = {name: value for name, value in vars(self.options).items() if value is not False and name not in idle}
        head = f", with {self.head.describe()}" if self.head else ""
        return " ".join([self.name, *(f"{name}={shown(value)}" for name, value in values.items())]) + head

    def multipliers(self) -> Dict[str, Multipliers]:
        return self.head.multipliers() if self.head else {}

    def check(self, batch_per_device: int, remedy: str = "") -> None:
        if self.head:
            self.head.check(batch_per_device, remedy)

    def join(self, ranks: Ranks) -> None:
        super().join(ranks)
        if self.head:
            self.head.join(ranks)

    def shards(self) -> Dict[str, Shard]:
        return self.head.shards() if self.head else {}

    def gradients(self) -> list:
        return self.head.gradients() if self.head else []

    def memory(self, batch_per_device: int) -> Need:
        return self.head.memory(batch_per_device) if self.head else Need()

    def initialize(self, initializer, devices: list) -> None:
        if self.head:
            self.head.initialize(initializer, devices)

    def adopt(self, arrays: Dict[str, Any], graph: Optional[Any]) -> Tuple[Dict[str, Any], List[str]]:
        return self.head.adopt(arrays, graph) if self.head else super().adopt(arrays, graph)

    def symbol(self, embedding):
        return self.head.symbol(embedding) if self.head else embedding

    def arrays(self) -> Dict[str, list]:
        return self.head.arrays() if self.head else {}

    def state(self) -> dict:
        return {"guard": self._guard.state()}

    def restore(self, state: dict) -> None:
        if state:
            self._guard.restore(state["guard"])

    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """Compute the loss and the gradients of one batch; see :meth:`Objective.learn`.

        The figures are ``loss``, the triplet loss; ``pairs`` and ``triplets``, the numbers of positive pairs and of
        triplets; ``active``, the fraction of triplets with d_an - d_ap < alpha; ``d2_ap`` and ``d2_an``, the mean
        squared distances of positives and negatives; ``xnorm``, the mean length of the embeddings; histograms
        ``positives``, ``negatives`` and ``gaps`` of the squared distances and their differences; and with a
        classification its figures, with the loss as ``class_loss``.
        """
        own = np.concatenate([embedding.asnumpy().astype(np.float64) for embedding in embeddings])
        rows = self.ranks.gather("triplet/embeddings", own)
        labels = self.ranks.gather("triplet/labels", batch.label.asnumpy().astype(np.int64))
        if not np.isfinite(rows).all():  # the trainer skips the step (float16) or stops the run
            nothing = [mx.nd.full(e.shape, np.nan, ctx=e.context) for e in embeddings]
            return StepResult(nothing, {"loss": math.nan})
        pairs, result = self._loss(rows, labels, self.ranks.size * len(embeddings), step)
        self._guard.saw(step, result.triplets, result.loss)
        begin = self.ranks.rank * len(own)
        gradient = len(rows) * result.gradient[begin : begin + len(own)]  # the trainer divides by the batch size
        gradients = self._on_devices(gradient, embeddings)
        figures = _figures(rows, pairs, result)
        if self.head:
            weight, learnt = self.options.classification_weight, self.head.learn(embeddings, batch, step)
            gradients = [mine + weight * theirs for mine, theirs in zip(gradients, learnt.gradients)]
            for parameter in self.params.values():
                for gradient in parameter.list_grad() if parameter.grad_req != "null" else ():
                    gradient *= weight
            figures.update({"class_loss" if name == "loss" else name: f for name, f in learnt.figures.items()})
        return StepResult(gradients, figures)

    def _loss(self, rows: np.ndarray, labels: np.ndarray, devices: int, step: int) -> tuple:
        """(number of positive pairs, TripletLoss) of the batch of all devices and ranks."""
        pairs = picking.positive_pairs(labels)
        uniforms = picking.generator(self.seed, step).random(len(pairs))
        options = self.options

        def blocks(unit: np.ndarray) -> Iterable[picking.Triplets]:
            alpha, max_ap, distance = options.triplet_alpha, options.triplet_max_ap, DISTANCES[options.triplet_distance]
            return picking.pick(unit, labels, pairs, uniforms, alpha, max_ap, options.negatives, distance)

        return len(pairs), self._of(rows, blocks)

    def _of(self, rows: np.ndarray, blocks) -> TripletLoss:
        options = self.options
        distance, over_active = DISTANCES[options.triplet_distance], options.triplet_mean == ACTIVE
        return triplet_loss(rows, blocks, options.triplet_alpha, options.soft_margin, over_active, distance)

    @staticmethod
    def _on_devices(gradient: np.ndarray, embeddings: list) -> list:
        ends = np.cumsum([embedding.shape[0] for embedding in embeddings])[:-1]
        parts = zip(np.split(gradient, ends), embeddings)
        return [mx.nd.array(part, ctx=embedding.context, dtype="float32") for part, embedding in parts]


def _figures(rows: np.ndarray, pairs: int, result: TripletLoss) -> Dict[str, Any]:
    figures: Dict[str, Any] = {"loss": result.loss, "pairs": float(pairs), "triplets": float(result.triplets)}
    if result.triplets:
        figures.update(active=result.active / result.triplets, d2_ap=result.d2_ap, d2_an=result.d2_an)
    figures["xnorm"] = float(np.sqrt(np.einsum("ij,ij->i", rows, rows)).mean())
    figures.update({name: Histogram(*SPANS[name], counts.tolist()) for name, counts in result.counts.items()})
    return figures
