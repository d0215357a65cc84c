"""Network and objective together: the gradients of a step, on one or several devices."""

from __future__ import annotations

from typing import Callable, Dict, Optional, Union

import numpy as np

from .. import checkpoint, nets
from .._mxnet import mx, release_freed_memory
from ..engines.mxnet import MXNetEngine
from ..errors import InsightError
from ..graph import nodes, shapes, sums
from ..objectives.objective import Objective
from ..ranks.group import Ranks
from ..ranks.own_rows import as_own_rows
from ..ranks.single import ALONE
from ..runs.stepfigures import Histogram
from . import devices as device_lists
from .precision import LossScale, lowered
from .statistics import Statistics
from .train_options import TrainOptions

LISTED = 4  # arrays of another shape that a note lists


class Model:
    """The network in its training form and the objective, with their parameters in one namespace.

    Parameters
    ----------
    options : TrainOptions
    network : insight.nets.network.Network
        From :func:`build_network`.
    objective : insight.objectives.objective.Objective
        From :func:`insight.objectives.create`.
    devices : list of mxnet.Context
        Each holds a copy of all parameters.
    ranks : Ranks
        The processes of the run. All have equal parameters; each has running statistics of its own.

    Attributes
    ----------
    statistics : Statistics
    fresh : list of str
        Parameters that were not loaded from ``--pretrained``, and keep their initial values.
    notes : list of str
        Differences between that checkpoint and this run: shapes of arrays, image size.
    """

    def __init__(self, options: TrainOptions, network, objective: Objective, devices: list, ranks: Ranks = ALONE):
        self.devices = devices
        self.ranks = ranks
        self.seed = options.seed
        self.network = network
        self.objective = objective
        self.fresh: list = []
        self.notes: list = []
        self._initialise(options)
        self.statistics = Statistics(network, devices, ranks)
        self._loss_scale = LossScale() if options.dtype == "float16" else None
        self._forward = lowered(self.network, options.dtype, devices, self._stage_outputs())
        self._forward.hybridize(static_alloc=True, static_shape=True)

    def _stage_outputs(self) -> Optional[Callable]:
        """Function from the network's symbol to the features that the objective needs; None if it needs none."""
        if self.objective.stages is None:
            return None
        stages, sizes = network_stages(self.network), self.objective.stages.sizes
        return lambda symbol: stages.outputs(symbol, sizes)

    @property
    def image_size(self) -> tuple:
        """(height, width) in pixels."""
        return self.network.image_size

    @property
    def params(self) -> dict:
        """Name to Gluon parameter: those that a checkpoint holds, and the objective's that are for training only."""
        return {**self.network.kept(), **dict(self.objective.params.items())}

    def _initialise(self, options: TrainOptions) -> None:
        mx.random.seed(options.seed)
        xavier = mx.init.Xavier(**self.network.xavier)
        self.network.initialize(xavier, ctx=self.devices)
        self.objective.initialize(xavier, self.devices)
        if options.pretrained:
            self._take(options.pretrained)
        _settle()
        release_freed_memory()  # temporary arrays of the initialisers, as large as fc7, and of the checkpoint

    def _take(self, spec: str) -> None:
        """Load parameters from a checkpoint, by name and shape."""
        prefix, epoch = checkpoint.parse_spec(spec, "--pretrained")
        arg_params, aux_params = checkpoint.load_params(prefix, epoch, by_rows=self.objective.shards())
        try:
            graph = checkpoint.load_symbol(prefix)
        except InsightError:  # missing or damaged: only the arrays are needed
            graph = None
        arrays, notes = self.objective.adopt({**arg_params, **aux_params}, graph)
        self.fresh = checkpoint.assign(self.params, arrays)
        self.notes = [*(f"{spec}: {note}" for note in notes), *self._differences(spec, graph, arrays)]

    def _differences(self, spec: str, graph, arrays: dict) -> list:
        """Notes on differences between the ``--pretrained`` checkpoint and this run."""
        other = checkpoint.of_another_shape(self.params, arrays)
        shapes_there = [f"{name} {shape} there, {self.params[name].shape} here" for name, shape in other.items()]
        more = f"; and {len(shapes_there) - LISTED} more" if len(shapes_there) > LISTED else ""
        listed = "; ".join(shapes_there[:LISTED])
        notes = [f"{spec} has arrays of another shape: {listed}{more}"] if shapes_there else []
        theirs, ours = _stated_size(graph), self.network.image_size
        if theirs not in (None, ours):
            sizes = "{}x{} images, this set has {}x{}".format(*theirs, *ours)
            notes.append(f"{spec} was trained on {sizes} (height x width)")
        return notes

    def backward(self, batch, step: int, frozen: bool = False) -> Dict[str, Union[np.ndarray, Histogram]]:
        """Forward and backward pass over a batch; computes gradients of the *sum* of its losses. Waits for the figures.

        Parameters
        ----------
        batch : insight.feed.loader.Batch
        step : int
            0-based; dropout and annealing depend on it.
        frozen : bool
            Whether to leave the network out of the backward pass.

        Returns
        -------
        dict of str to numpy.ndarray or Histogram
            The objective's figures, ``loss`` among them: float32 of shape (B,) in batch order, or of shape ().
        """
        data = device_lists.shares(batch.data, self.devices)
        with mx.autograd.record() if not frozen else mx.autograd.train_mode():
            outputs = [self._embed(part, step, i) for i, part in enumerate(data)]
        result = self.objective.learn([embedding for embedding, *_ in outputs], batch, step)
        gradients, figures = [[gradient] for gradient in result.gradients], result.figures
        if self.objective.stages:
            of_stages = self.objective.stages.learn([features for _, *features in outputs], batch)
            gradients = [first + others for first, others in zip(gradients, of_stages.gradients)]
            figures = {**figures, "feature_error": of_stages.error}
        if not frozen:
            self._through_network(outputs, gradients)
        return {name: device_lists.on_host(figure) for name, figure in figures.items()}

    def _through_network(self, outputs: list, gradients: list) -> None:
        """Backward pass through the network, from the gradients of each device's outputs."""
        scale = self._loss_scale.value if self._loss_scale else 1.0
        for own, theirs in zip(outputs, gradients):
            scaled = [gradient * scale if self._loss_scale else gradient for gradient in theirs]
            typed = [gradient.astype(output.dtype, copy=False) for output, gradient in zip(own, scaled)]
            mx.autograd.backward(own, typed)
        if self._loss_scale:
            for gradient in _gradients(self.network.kept()):
                gradient /= scale

    def _embed(self, part, step: int, index: int) -> list:
        """Forward pass of one device, to embedding and features; dropout depends on seed, step and device only."""
        number = self.ranks.rank * len(self.devices) + index
        mx.random.seed(_dropout_seed(self.seed, step, number), ctx=part.context)
        outputs = self._forward(part.astype(np.float32, copy=False))
        outputs = outputs if isinstance(outputs, list) else [outputs]
        if len(self.devices) > 1 and part.context.device_type == "cpu":
            outputs[0].wait_to_read()  # devices on the CPU share one generator: they must draw in turn
        return outputs

    def usable(self, frozen: bool = False) -> bool:
        """Whether all gradients of all ranks are finite. In float16, this also updates the loss scale."""
        learning = [] if frozen else _gradients(self.network.kept())
        finite = self._on_every_rank("step/finite", device_lists.all_finite(learning + self.objective.gradients()))
        if self._loss_scale:
            self._loss_scale.saw(finite)
        return finite

    @property
    def may_skip(self) -> bool:
        """Whether an overflow may be due to the loss scale: float16, with a scale that can still be lowered."""
        return self._loss_scale is not None and self._loss_scale.can_fall

    def is_finite(self) -> bool:
        """Whether all parameters and running statistics of all ranks are finite."""
        _settle()
        finite = device_lists.all_finite([array for p in self.params.values() for array in p.list_data()])
        return self._on_every_rank("parameters/finite", finite)

    def _on_every_rank(self, name: str, holds: bool) -> bool:
        return not self.ranks.max(name, np.array([not holds], np.int32))[0]

    def checkpoint(self) -> checkpoint.Checkpoint:
        """The current state as a checkpoint: the plain graph with the objective's layers, arrays on the CPU.

        Running statistics are the mean over all devices, as in InsightFace, and over all ranks, which must call it
        together. On the CPU, the learned arrays are the parameters themselves, not copies: use it before the next step.
        """
        return self._gathered(self.objective.symbol(nets.symbol(self.network)), self.params)

    def network_checkpoint(self) -> checkpoint.Checkpoint:
        """As :meth:`checkpoint`, without the objective."""
        return self._gathered(nets.symbol(self.network), self.network.kept())

    def embedder(self, name: str, check: Callable[[], None] = lambda: None) -> Callable[[np.ndarray], np.ndarray]:
        """The current network, for inference on the first device.

        Parameters
        ----------
        name : str
            Name of the network in messages.
        check : callable
            Called before each call of the network; may raise.

        Returns
        -------
        callable
            Maps (N, 3, H, W) RGB pixels in 0..255 to (N, E) float32 embeddings, not normalised.
        """
        return inference(self.network_checkpoint(), name, self.devices[0], check)

    def _gathered(self, symbol, params: dict) -> checkpoint.Checkpoint:
        _settle()
        auxiliary, arguments = set(symbol.list_auxiliary_states()), set(symbol.list_arguments())
        means = self.statistics.mean()
        aux = {name: array.copyto(mx.cpu()) for name, array in means.items() if name in auxiliary}
        args = {  # without the objective's parameters that are for training only
            name: parameter.list_data()[0].as_in_context(mx.cpu())
            for name, parameter in params.items()
            if name in arguments
        }
        return checkpoint.Checkpoint(symbol, as_own_rows(args, self.objective.shards()), aux)

    def state(self) -> dict:
        """JSON-serialisable state that the next step depends on, apart from :meth:`arrays`."""
        scale = self._loss_scale.state() if self._loss_scale else None
        return {"loss_scale": scale, "objective": self.objective.state()}

    def arrays(self) -> dict:
        """This rank's arrays by name, not copies, which may be read and written between two steps.

        ``NAME@0`` maps to the equal arrays of a parameter on all devices, ``NAME@i`` to running statistics of device i,
        counted over all ranks. Other state of the objective is not included.
        """
        statistics = self.statistics.numbered()
        single = {name.rpartition("@")[0] for name in statistics}
        learned = {f"{name}@0": p.list_data() for name, p in self.params.items() if name not in single}
        return {**learned, **statistics}

    def restore(self, state: dict) -> None:
        """Restore what :meth:`state` returned."""
        if self._loss_scale:
            self._loss_scale.restore(state["loss_scale"])
        self.objective.restore(state.get("objective", {}))


def build_network(options: TrainOptions, devices: list, image_size: tuple = (112, 112)):
    """The network in its training form, not yet allocated.

    On the CPU, a PReLU rewritten into other operators is faster in MXNet; a GPU has a fast kernel for the plain one.
    """
    family = nets.family(options.network)
    on_cpu = family.fastest_prelu_bfloat16 if options.dtype == "bfloat16" else family.fastest_prelu
    prelu = on_cpu if devices[0].device_type == "cpu" else "plain"
    common = {"prelu": prelu, "image_size": image_size, "batchnorm_momentum": options.bn_mom}
    return nets.create(options.network, options.emb_size, **common, **options.network_options)


def network_stages(network) -> sums.Stages:
    """Stages of a network, whatever form it is built in."""
    return sums.Stages(nets.symbol(network), network.image_size)


def _stated_size(graph) -> Optional[tuple]:
    """(height, width) of the images that a checkpoint's graph states; None if it is unknown."""
    try:
        return None if graph is None else shapes.stated_size(nodes.Graph.from_symbol(graph))
    except InsightError:  # a graph with control flow: only the arrays are needed
        return None


def inference(network: checkpoint.Checkpoint, name: str, device, check: Callable[[], None]) -> Callable:
    """A network without its objective, for inference on a device; see :meth:`Model.embedder`."""
    engine = MXNetEngine(network, name, device=device)
    release_freed_memory()  # temporary arrays of the network's rewriting

    def embed(images: np.ndarray) -> np.ndarray:
        check()
        return engine(images)

    return embed


def _settle() -> None:
    """Wait for all operations: a static CachedOp writes running statistics without the engine knowing of it."""
    mx.nd.waitall()


def _gradients(params: dict) -> list:
    return [gradient for p in params.values() if p.grad_req != "null" for gradient in p.list_grad()]


def _dropout_seed(seed: int, step: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, step, index]).generate_state(1)[0] >> 1)
