"""Classification: fc7 over all identities, a margin, and the softmax's cross entropy.

The (B, C) logits are the largest array of a step. They are made once by one matrix product; margin, softmax and
gradient then overwrite them. Nothing else of that size exists: no one-hot, no copy. A class has one centre, a row of
``fc7_weight``, or K of them, of which each logit takes the nearest (:mod:`insight.objectives.sub_centres`).

B: batch of a device, C: classes, E: embedding size, K: centres of a class, N = C K: rows of ``fc7_weight``.
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
    shard_classes : bool
        Each rank has a contiguous range of the classes, and sees the samples of all ranks.
    sample_rate : float
        The share of the classes that a step computes with: those of the batch, and others at random, a function of
        the seed and the step (:mod:`insight.objectives.drawn_classes`). 1: all.

    Raises
    ------
    InsightError
        Several centres with a margin that takes one, or a filter or a draw that cannot work.
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
        """Refuse sizes that MXNet cannot index; ``batch_option`` and ``size_option`` say where B and E come from."""
        fc7.check_sizes(self._rows, batch_per_device, remedy, batch_option, size_option)

    def memory(self, batch_per_device: int) -> Need:
        return fc7.memory(self.margin, self._rows, batch_per_device)

    def initialize(self, initializer, devices: list) -> None:
        """As the base has it.

        Raises
        ------
        InsightError
            Several devices, where classes are divided or drawn.
        """
        self._rows.initialize(initializer, devices)
        self._step.initialize(devices[0])

    def adopt(self, arrays: Dict[str, Any], graph: Optional[Any]) -> Tuple[Dict[str, Any], List[str]]:
        """As the base has it. From one centre an identity to several: it is the first of them."""
        own, notes = self._rows.own(arrays)
        own, more = fc7.adopted(own, graph, self.weight, self.centres)
        return own, notes + more

    def arrays(self) -> Dict[str, list]:
        return {f"margin/{name}": [array] for name, array in self._step.state.items()}

    def symbol(self, embedding):
        rows = self.num_classes * self.centres
        return fc7.symbol(embedding, self.margin, (rows, self.embedding_size), self.bias is not None, self.centres)

    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """Figures: ``loss``, cross entropy after the margin plus the margin's own loss, nats; ``acc``, 1 where the
        top class is the own one, after the margin (InsightFace's acc); ``acc_free``, the same without the margin; and
        those of the margin.

        Labels are 0 <= label < C, of any number type; :func:`insight.train.guards.check_set` refuses a set with others.
        """
        with mx.autograd.pause():
            return self._step.learn(embeddings, batch.label, step)
