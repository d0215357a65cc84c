"""What an objective is: all that the trainer asks of what a step learns from.

The trainer hands over the embeddings of all devices with their batch, and gets the gradient of each embedding and
figures by name, which log, TensorBoard and curves show under these names.
"""

from __future__ import annotations

import abc
from types import SimpleNamespace
from typing import Any, ClassVar, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .._mxnet import mx
from ..options import Option, settle, shown
from ..ranks.group import Ranks
from ..ranks.own_rows import Shard
from ..ranks.single import ALONE
from .stage_features import StageFeatures


class StepResult(NamedTuple):
    """What one batch gave; on its devices, not yet waited for.

    Attributes
    ----------
    gradients : list of NDArray
        For each device float32 (b, E), d (sum of losses) / d embedding.
    figures : dict of str to float, NDArray, or list of NDArray
        In the order in which they are logged: a scalar, or for each device (b,) figures of its samples, whose mean
        is logged, or a :class:`insight.runs.stepfigures.Histogram`. ``loss`` is one of them.
    """

    gradients: List[Any]
    figures: Dict[str, Any]


class Multipliers(NamedTuple):
    """By what a parameter's learning rate and weight decay are multiplied."""

    rate: float = 1.0
    decay: float = 1.0


class Need(NamedTuple):
    """Memory on each device, for the prediction before anything large is allocated.

    Attributes
    ----------
    parameters : int
        Elements of the objective's learned arrays.
    step : int
        Bytes of what a step allocates beside them.
    names : (str, str) or ()
        What the two are called in the log; empty: they are not listed.
    kept : int
        Elements of arrays that it keeps and that are not learned: without gradient and momentum.
    gradients : int, optional
        Elements of the learned arrays' gradients; missing: as many as of the arrays.
    """

    parameters: int = 0
    step: int = 0
    names: Tuple[str, ...] = ()
    kept: int = 0
    gradients: Optional[int] = None


class Objective(abc.ABC):
    """Base of the objectives. Subclasses define :meth:`learn`, and the rest where they differ.

    An objective with parameters keeps them in :attr:`params`, writes their gradients itself (of the sum over its
    device's samples), and gives what it keeps between steps by :meth:`arrays` and :meth:`state`.

    Parameters
    ----------
    **values
        Of the options in :attr:`OPTIONS`, by name; the rest takes the defaults.

    Attributes
    ----------
    name : str
        The registered name.
    selected_by : str
        How messages name it; empty: ``--loss-type NAME``.
    OPTIONS : tuple of Option
        All that act.
    options : SimpleNamespace
        Each option's value.
    params : mxnet.gluon.ParameterDict
        Its learned arrays, with the names that a checkpoint gives them. Those that are not in :meth:`symbol` are for
        training only, and are not saved with it.
    sampler : str
        The name of the sampler that it takes by default.
    refines : bool
        Whether runs from a trained network are to end with one that is no worse: the network that a run starts from
        counts as a checkpoint of step 0, and is saved as one.
    labelled : bool
        Whether it needs labels: two identities or more, numbered from 0.
    line_names : mapping of str to str
        Of figures in the log's lines for people, where they differ: ``{"loss": "lossvalue"}``.
    lr_steps : tuple of int
        Steps at which the rate falls by default, at a batch of 512; empty: it does not, and a run has ``steps`` steps.
    steps : int
    lr_delay : int
        Steps by which all falls of the rate are moved back.
    ranks : Ranks
        The processes of the run, of which each learns from its share of every batch.
    stages : StageFeatures or None
        A loss on the features that the network's stages end with, beside that of the embeddings.
    """

    name: str = ""
    selected_by: ClassVar[str] = ""
    OPTIONS: ClassVar[Tuple[Option, ...]] = ()
    sampler: str = "shuffled"
    refines: bool = False
    labelled: bool = True
    line_names: Mapping[str, str] = {}
    lr_steps: Tuple[int, ...] = (100_000, 140_000, 160_000)
    steps: int = 30_000
    lr_delay: int = 0
    ranks: Ranks = ALONE
    stages: Optional[StageFeatures] = None

    def __init__(self, **values):
        self.options = SimpleNamespace(**settle(self.OPTIONS, values, self.selected_by or f"--loss-type {self.name}"))
        self.params = mx.gluon.ParameterDict()

    @classmethod
    def from_options(cls, run_options: Any, num_classes: int) -> Objective:
        """Create it, without allocating anything large.

        Parameters
        ----------
        run_options : insight.train.train_options.TrainOptions
        num_classes : int
            Identities of the training set.

        Raises
        ------
        InsightError
            A value that it does not take, or an option that does nothing with it.
        """
        from . import values

        return cls(**values(run_options))

    def describe(self) -> str:
        """For the log, such as ``arcface s=64 m=0.5``: name and options."""
        values = vars(self.options).items()
        return " ".join([self.name, *(f"{name}={shown(value)}" for name, value in values)])

    def check(self, batch_per_device: int, remedy: str = "") -> None:  # noqa: B027 (most take any size)
        """Refuse sizes that it cannot work with, before anything large is allocated.

        Parameters
        ----------
        batch_per_device : int
        remedy : str
            How the set could have fewer classes, for messages.

        Raises
        ------
        InsightError
            Naming the option and the rule.
        """

    def join(self, ranks: Ranks) -> None:
        """Learn as one of several processes, before anything is allocated.

        Each gives the embeddings of its contiguous share of every batch to :meth:`learn`, those of rank 0 first, and
        gets the gradients of these; what depends on the batch as a whole asks the others by :attr:`ranks`. The
        trainer sums the gradients of :attr:`params` over the ranks, but for those in :meth:`shards`.
        """
        self.ranks = ranks

    def shards(self) -> Dict[str, Shard]:
        """Parameters of which each rank has rows of its own, by name: their gradients are whole as they are, and files
        have the rows of all ranks.
        """
        return {}

    def gradients(self) -> list:
        """Dense arrays with all numbers of the gradients of :attr:`params`, which the trainer checks."""
        learned = [parameter for parameter in self.params.values() if parameter.grad_req != "null"]
        return [gradient for parameter in learned for gradient in parameter.list_grad()]

    def memory(self, batch_per_device: int) -> Need:
        """What it allocates on each device."""
        return Need()

    def initialize(self, initializer, devices: list) -> None:
        """Allocate parameters and state.

        Parameters
        ----------
        initializer : mxnet.init.Initializer
        devices : list of mxnet.Context
        """
        self.params.initialize(initializer, ctx=devices)

    def adopt(self, arrays: Dict[str, Any], graph: Optional[Any]) -> Tuple[Dict[str, Any], List[str]]:
        """Fit a checkpoint's arrays to the parameters, which are initialised.

        Parameters
        ----------
        arrays : dict of str to NDArray
            Of the checkpoint that a run starts from.
        graph : mxnet.sym.Symbol or None
            The checkpoint's; None: it has none that can be read.

        Returns
        -------
        (dict, list of str)
            What may be copied into parameters of the same name and shape; notes on the rest.
        """
        return arrays, []

    def multipliers(self) -> Dict[str, Multipliers]:
        """Of its parameters' rate and decay, by name; what is missing decays if it is a weight or a gamma."""
        return {}

    @abc.abstractmethod
    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """Loss and gradients of one batch.

        Parameters
        ----------
        embeddings : list of NDArray
            For each device of this process (b, E) in any float type, its contiguous share of the batch, in order.
            Not differentiated through here.
        batch : insight.feed.loader.Batch
            Images, labels, positions and keys of all devices of this process.
        step : int
            0-based, counted over the whole run. Whatever is random is a function of the run's seed, this, and a
            sample's number in the batch.
        """

    def symbol(self, embedding):
        """The graph that a checkpoint saves, from that of the embedding.

        Its arguments are the network's, ``params`` that are saved, and inputs that the trainer does not save.
        """
        return embedding

    def arrays(self) -> Dict[str, list]:
        """State beside ``params``: name to the arrays, one or equal ones of all devices, to be restored in place."""
        return {}

    def state(self) -> dict:
        """State beside ``params`` and :meth:`arrays`, for JSON."""
        return {}

    def restore(self, state: dict) -> None:  # noqa: B027 (most objectives keep nothing)
        """Take back what :meth:`state` gave; empty if the run was saved before the objective had a state."""
