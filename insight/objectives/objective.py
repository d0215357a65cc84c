"""Base class of training objectives: the interface between the trainer and a loss.

In each step the trainer passes the embeddings of all devices and the batch to the objective. The objective returns the
gradient of the loss with respect to each embedding, and named figures for the log, TensorBoard and the curves.
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
    """Result of one batch. The arrays are on their devices, and may still be computed asynchronously.

    Attributes
    ----------
    gradients : list of NDArray
        One float32 array (b, E) per device: d (sum of the samples' losses) / d embedding.
    figures : dict of str to float, NDArray, list of NDArray, or Histogram
        Figures by name, in logging order. Each is a scalar, a list with one (b,) array of per-sample values per device
        (their mean is logged), or a :class:`insight.runs.stepfigures.Histogram`. ``loss`` is required, except of an
        objective that :class:`insight.objectives.distilled.Distilled` wraps.
    """

    gradients: List[Any]
    figures: Dict[str, Any]


class Multipliers(NamedTuple):
    """Multipliers of a parameter's learning rate and weight decay."""

    rate: float = 1.0
    decay: float = 1.0


class Need(NamedTuple):
    """Memory that an objective needs on each device, used to predict the memory of a run before allocating it.

    Attributes
    ----------
    parameters : int
        Number of elements of the learned arrays.
    step : int
        Bytes that a step allocates in addition.
    names : (str, str) or ()
        Names of these two amounts in the log; empty: they are not listed.
    kept : int
        Number of elements of arrays that are kept but not learned, and so have no gradient and no momentum.
    gradients : int, optional
        Number of elements of the gradients; None: equal to ``parameters``.
    """

    parameters: int = 0
    step: int = 0
    names: Tuple[str, ...] = ()
    kept: int = 0
    gradients: Optional[int] = None


class Objective(abc.ABC):
    """Base class of all objectives. Subclasses must define :meth:`learn` and may override the other methods.

    An objective with parameters keeps them in :attr:`params` and writes their gradients itself, on each device the
    gradient of the sum over the device's samples. It exposes its other state by :meth:`arrays` and :meth:`state`.

    Parameters
    ----------
    **values
        Values of the options in :attr:`OPTIONS`, by name. Options that are not given take their defaults.

    Attributes
    ----------
    name : str
        The registered name.
    selected_by : str
        How error messages name the objective; empty: ``--loss-type NAME``.
    OPTIONS : tuple of Option
        The options that have an effect.
    options : SimpleNamespace
        The value of each option.
    params : mxnet.gluon.ParameterDict
        The learned arrays, under their names in a checkpoint. Arrays that are not arguments of :meth:`symbol` are used
        in training only, and are not saved with it.
    sampler : str
        Name of the default sampler.
    refines : bool
        Whether a run with ``--pretrained`` must not end with a worse network than it starts from: the initial network
        then counts as the checkpoint of step 0, and is saved as one.
    labelled : bool
        Whether labels are required: at least two identities, numbered from 0.
    line_names : mapping of str to str
        Names of figures in the printed log lines where they differ: ``{"loss": "lossvalue"}``.
    lr_steps : tuple of int
        Default steps at which the learning rate falls, for a batch size of 512; empty: the rate is constant and the
        default length of a run is ``steps``.
    steps : int
        Default length of a run without ``lr_steps``.
    lr_delay : int
        Number of steps by which every fall of the learning rate is delayed.
    ranks : Ranks
        The processes of the run. Each learns from its share of every batch.
    stages : StageFeatures or None
        Additional loss on the features at the ends of the network's stages.
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
        """Create the objective from a run's options, without allocating large arrays.

        Parameters
        ----------
        run_options : insight.train.train_options.TrainOptions
        num_classes : int
            Number of identities in the training set.

        Raises
        ------
        InsightError
            An option has an invalid value, or has no effect with this objective.
        """
        from . import values

        return cls(**values(run_options))

    def describe(self) -> str:
        """Name and options for the log, such as ``arcface s=64 m=0.5``."""
        values = vars(self.options).items()
        return " ".join([self.name, *(f"{name}={shown(value)}" for name, value in values)])

    def check(self, batch_per_device: int, remedy: str = "") -> None:  # noqa: B027 (most take any size)
        """Check that the objective supports the sizes of a run, before allocating large arrays.

        Parameters
        ----------
        batch_per_device : int
            Number of images per device and step.
        remedy : str
            For error messages: how to reduce the number of classes of the set.

        Raises
        ------
        InsightError
            A size is not supported. The message names the option and the limit.
        """

    def join(self, ranks: Ranks) -> None:
        """Prepare for training in several processes. Called before any allocation.

        Each rank passes the embeddings of its contiguous share of every batch to :meth:`learn` and gets their
        gradients. The shares are in rank order. Whatever depends on the whole batch is exchanged through :attr:`ranks`.
        The trainer sums the gradients of :attr:`params` over the ranks, except for the parameters in :meth:`shards`.
        """
        self.ranks = ranks

    def shards(self) -> Dict[str, Shard]:
        """Parameters whose rows are divided among the ranks, by name.

        Each rank computes the complete gradient of its own rows. Files contain the rows of all ranks.
        """
        return {}

    def gradients(self) -> list:
        """Dense arrays that together hold the gradients of :attr:`params`; the trainer checks that they are finite."""
        learned = [parameter for parameter in self.params.values() if parameter.grad_req != "null"]
        return [gradient for parameter in learned for gradient in parameter.list_grad()]

    def memory(self, batch_per_device: int) -> Need:
        """Memory that the objective needs on each device."""
        return Need()

    def initialize(self, initializer, devices: list) -> None:
        """Allocate parameters and state.

        Parameters
        ----------
        initializer : mxnet.init.Initializer
            Initializer of the parameters that do not define their own.
        devices : list of mxnet.Context
        """
        self.params.initialize(initializer, ctx=devices)

    def adopt(self, arrays: Dict[str, Any], graph: Optional[Any]) -> Tuple[Dict[str, Any], List[str]]:
        """Adapt the arrays of a checkpoint to the parameters, which must be initialised.

        Parameters
        ----------
        arrays : dict of str to NDArray
            Arrays of the checkpoint that the run starts from.
        graph : mxnet.sym.Symbol or None
            Symbol of the checkpoint; None: it is missing or cannot be read.

        Returns
        -------
        (dict, list of str)
            Arrays to copy into parameters of the same name and shape, and notes on the other arrays for the log.
        """
        return arrays, []

    def multipliers(self) -> Dict[str, Multipliers]:
        """Learning rate and weight decay multipliers, by parameter name.

        Parameters that are not listed have the multiplier 1, and decay only if they are a weight or a gamma.
        """
        return {}

    @abc.abstractmethod
    def learn(self, embeddings: list, batch, step: int) -> StepResult:
        """Compute the loss and the gradients of one batch.

        Parameters
        ----------
        embeddings : list of NDArray
            One array (b, E) of any float dtype per device of this process: the embeddings of the device's contiguous
            share of the batch, in order. The method does not backpropagate through the network.
        batch : insight.feed.loader.Batch
            Images, labels, positions and keys of all devices of this process.
        step : int
            0-based, counted over the whole run. Random numbers are functions of the run's seed, the step and the
            sample's number in the batch.

        Returns
        -------
        StepResult
        """

    def symbol(self, embedding):
        """Symbol that a checkpoint saves, built on the symbol of the embedding.

        Its arguments are those of the network, the saved ones of :attr:`params`, and inputs, which are not saved.
        """
        return embedding

    def arrays(self) -> Dict[str, list]:
        """State arrays besides :attr:`params`, by name. They are restored in place.

        Each value is a list with one array, or with one array per device, all equal.
        """
        return {}

    def state(self) -> dict:
        """JSON-serialisable state besides :attr:`params` and :meth:`arrays`."""
        return {}

    def restore(self, state: dict) -> None:  # noqa: B027 (most objectives keep nothing)
        """Restore the result of :meth:`state`; empty if the run was saved before the objective had a state."""
