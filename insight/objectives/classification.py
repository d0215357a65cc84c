"""Classification: fully connected layer fc7 over all identities, margin, and softmax cross entropy.

The (B, C) logits are the largest array of a step. One matrix product computes them; the margin, the softmax and the
gradient are then computed in the same buffer. No other array of that size is allocated, neither a one-hot nor a copy.
A class has one centre, which is a row of ``fc7_weight``, or K centres, of which each logit uses the nearest one
(:mod:`insight.objectives.sub_centres`).

B: batch size per device, C: classes, E: embedding size, K: centres per class, N = C K: rows of ``fc7_weight``.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

from .._mxnet import mx
from ..errors import InsightError
from ..margins import margins
from ..margins.margin import Margin
from ..options import Option, settle
from ..ranks.group import Ranks
from ..ranks.own_rows import Shard
from . import fc7, objectives, sub_centres, values
from .class_rows import ClassRows
from .class_step import ClassStep
from .objective import Multipliers, Need, Objective, StepResult

AS_IT_IS, WITHOUT_DECAY = Multipliers(), Multipliers(decay=0.0)
SHARD_CLASSES = Option(
    "shard_classes", False, "divide the identities' centres among the ranks of a run, instead of a copy each"
)


@objectives.register("classification")
class Classification(Objective):
    """Softmax cross entropy over the identities, with a margin on the target logit.

    Parameters
    ----------
    margin : Margin
    num_classes : int
        C.
    embedding_size : int
        E.
    use_bias : bool
        Add ``fc7_bias``. Only for margins that are not cosine-based.
    seed : int
        Seed of the run, for margins and class samples that draw random numbers.
    weight, bias : Multipliers
        Learning rate and weight decay multipliers of ``fc7_weight`` and ``fc7_bias``.
    centres : int
        K. Rows c K to c K + K - 1 of ``fc7_weight`` are the centres of class c.
    interclass_filter : float
        Leave out other classes whose cosine is above this value: they are likely to be the same person under another
        label. They do not count in the softmax and get no gradient. recognition/arcface_torch of
        deepinsight/insightface has the same filter, but sets their logits to 0. 1: leave out none.
    shard_classes : bool
        Give each rank a contiguous range of the classes, which processes the samples of all ranks.
    sample_rate : float
        Fraction of the classes that a step uses: the classes of the batch, and others drawn at random as a function of
        the seed and the step (:mod:`insight.objectives.drawn_classes`). 1: all classes.

    Raises
    ------
    InsightError
        The margin does not support several centres or the filter, or the filter or sample rate is invalid.
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
        SHARD_CLASSES,
        Option(
            "sample_rate",
            1.0,
            "share of the identities whose centres a step computes with: those of its images, and others at random "
            "(partial FC); 1: all",
            holds=lambda rate: 0 < rate <= 1,
            rule="a share, above 0 and at most 1",
        ),
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
        shard_classes: bool = False,
        sample_rate: float = 1.0,
    ):
        super().__init__()
        if use_bias and margin.cosine:
            raise ValueError(f"{margin.name}: a cosine has no bias")
        fc7.check_centres(margin, centres)
        fc7.check_filter(margin, interclass_filter)
        self.margin, self.num_classes, self.embedding_size = margin, num_classes, embedding_size
        margin.fit(embedding_size)
        self.lr_steps, self.lr_delay = margin.lr_steps, margin.lr_delay
        shape = num_classes, centres, embedding_size
        self._rows = ClassRows(self.params, *shape, use_bias, shard_classes, sample_rate, seed)
        self.centres, self.weight, self.bias = centres, self._rows.weight, self._rows.bias
        self._multipliers = {"fc7_weight": weight, "fc7_bias": bias}
        self._step = ClassStep(margin, self._rows, seed, interclass_filter)

    @classmethod
    def from_options(cls, run_options: Any, num_classes: int) -> Classification:
        """Create the classification with the margin that ``--loss-type`` names."""
        if run_options.loss_type not in margins:
            raise InsightError(f"--loss-type {run_options.loss_type}: name its margin instead: {', '.join(margins)}")
        return cls.with_margin(run_options.loss_type, values(run_options), run_options, num_classes)

    @classmethod
    def with_margin(cls, margin: str, given: Mapping[str, Any], run_options: Any, num_classes: int) -> Classification:
        """Create the classification with a margin selected by name.

        Parameters
        ----------
        margin : str
            Registered name of the margin.
        given : mapping
            Options of the margin and of :attr:`OPTIONS` that were set, by name.
        run_options : insight.train.train_options.TrainOptions
        num_classes : int
        """
        own = {option.name for option in Classification.OPTIONS}
        of_weights = {name: value for name, value in given.items() if name in own}
        settle(cls.OPTIONS, of_weights, cls.selected_by or f"--loss-type {margin}")
        head = margins.get(margin)(**{name: value for name, value in given.items() if name not in own})
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
            shard_classes=run_options.shard_classes,
            sample_rate=run_options.sample_rate,
        )

    def describe(self) -> str:
        above, rows = self._step.interclass_filter, self._rows
        parts = [f" centres={self.centres}"] * (self.centres > 1)
        parts += [f", other classes above cosine {above:g} left out"] * (above < 1)
        parts += [f", identities {rows.begin} to {rows.end - 1} on rank {self.ranks.rank}"] * (rows.across.size > 1)
        parts += [f", {rows.rate:g} of the identities in each step"] * (rows.rate < 1)
        return self.margin.describe() + "".join(parts)

    def join(self, ranks: Ranks) -> None:
        super().join(ranks)
        self._rows.join(ranks)
        self._step.join(ranks)

    def shards(self) -> Dict[str, Shard]:
        return self._rows.shards()

    def gradients(self) -> list:
        return self._rows.gradients()

    def multipliers(self) -> Dict[str, Multipliers]:
        return {name: self._multipliers[name] for name in self.params}

    def check(
        self,
        batch_per_device: int,
        remedy: str = "",
        batch_option: str = "--per-batch-size",
        size_option: str = "--emb-size",
    ) -> None:
        """Check that MXNet can index the arrays; ``batch_option`` and ``size_option`` name the options of B and E."""
        fc7.check_sizes(self._rows, batch_per_device, remedy, batch_option, size_option)

    def memory(self, batch_per_device: int) -> Need:
        return fc7.memory(self.margin, self._rows, batch_per_device)

    def initialize(self, initializer, devices: list) -> None:
        """Allocate parameters and state.

        Raises
        ------
        InsightError
            There are several devices, and the classes are sharded or sampled.
        """
        self._rows.initialize(initializer, devices)
        self._step.initialize(devices[0])

    def adopt(self, arrays: Dict[str, Any], graph: Optional[Any]) -> Tuple[Dict[str, Any], List[str]]:
        """Adapt the arrays of a checkpoint; see :meth:`Objective.adopt`.

        If the checkpoint has one centre per identity and this objective several, it becomes the first of them.
        """
        own, notes = self._rows.own(arrays)
        own, more = fc7.adopted(own, graph, self.weight, self.centres)
        return own, notes + more

    def arrays(self) -> Dict[str, list]:
        return {f"margin/{name}": [array] for name, array in self._step.state.items()}

    def symbol(self, embedding):
        rows = self.num_classes * self.centres
        return fc7.symbol(embedding, self.margin, (rows, self.embedding_size), self.bias is not None, self.centres)

    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """Compute the loss and the gradients of one batch; see :meth:`Objective.learn`.

        Labels are numbers 0 <= label < C of any dtype. :func:`insight.train.guards.check_set` rejects other labels.

        The figures are ``loss``, the cross entropy with the margin plus the margin's own loss, in nats; ``acc``, 1 if
        the top class is the own one, with the margin (InsightFace's acc); ``acc_free``, the same without the margin;
        and the figures of the margin.
        """
        with mx.autograd.pause():
            return self._step.learn(embeddings, batch.label, step)
