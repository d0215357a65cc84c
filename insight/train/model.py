"""Network and objective, joined: one step's gradients, on one device or on several."""

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

LISTED = 4  # arrays of another shape in a note


class Model:
    """The network in its training form, and the objective, with one name space of parameters.

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
        The processes of the run. All have the same parameters, and running statistics of their own.

    Attributes
    ----------
    statistics : Statistics
    fresh : list of str
        Parameters that ``--pretrained`` does not have.
    notes : list of str
        Differences of that checkpoint: shapes of arrays, the size of its images.
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
        """From the network's symbol to the features that the objective learns from beside the embedding."""
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
        """Name to Gluon parameter: all that a checkpoint holds, and what the objective has for training only."""
        return {**self.network.kept(), **dict(self.objective.params.items())}

    def _initialise(self, options: TrainOptions) -> None:
        mx.random.seed(options.seed)
        xavier = mx.init.Xavier(**self.network.xavier)
        self.network.initialize(xavier, ctx=self.devices)
        self.objective.initialize(xavier, self.devices)
        if options.pretrained:
            self._take(options.pretrained)
        _settle()
        release_freed_memory()  # of the initialisers' arrays, one as large as fc7, and of a checkpoint's

    def _take(self, spec: str) -> None:
        """Parameters of a checkpoint, where it has them."""
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
        """Notes on what differs between the checkpoint that training starts from and this run."""
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
        """Forward and backward pass over a batch; gradients of the *sum* of its losses. Waits for the figures.

        Parameters
        ----------
        batch : insight.feed.loader.Batch
        step : int
            0-based; dropout and annealing are functions of it.
        frozen : bool
            The network learns nothing: no gradients for it.

        Returns
        -------
        dict of str to numpy.ndarray or Histogram
            The objective's figures, ``loss`` among them: (B,) float32 each in the batch's order, or of no dimension.
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
        """Backward pass from the gradients of each device's outputs."""
        scale = self._loss_scale.value if self._loss_scale else 1.0
        for own, theirs in zip(outputs, gradients):
            scaled = [gradient * scale if self._loss_scale else gradient for gradient in theirs]
            typed = [gradient.astype(output.dtype, copy=False) for output, gradient in zip(own, scaled)]
            mx.autograd.backward(own, typed)
        if self._loss_scale:
            for gradient in _gradients(self.network.kept()):
                gradient /= scale

    def _embed(self, part, step: int, index: int) -> list:
        """One device's forward pass, to embedding and features; its dropout is a function of seed, step and number."""
        number = self.ranks.rank * len(self.devices) + index
        mx.random.seed(_dropout_seed(self.seed, step, number), ctx=part.context)
        outputs = self._forward(part.astype(np.float32, copy=False))
        outputs = outputs if isinstance(outputs, list) else [outputs]
        if len(self.devices) > 1 and part.context.device_type == "cpu":
            outputs[0].wait_to_read()  # devices on the CPU share one generator: none may draw before its turn
        return outputs

    def usable(self, frozen: bool = False) -> bool:
        """Whether every gradient of every rank is finite; in float16, one that is not also lowers the loss scale."""
        learning = [] if frozen else _gradients(self.network.kept())
        finite = self._on_every_rank("step/finite", device_lists.all_finite(learning + self.objective.gradients()))
        if self._loss_scale:
            self._loss_scale.saw(finite)
        return finite

    @property
    def may_skip(self) -> bool:
        """Whether a gradient that overflowed is only a loss scale too large: float16, and room to lower it."""
        return self._loss_scale is not None and self._loss_scale.can_fall

    def is_finite(self) -> bool:
        """Whether every parameter and running statistic is."""
        _settle()
        finite = device_lists.all_finite([array for p in self.params.values() for array in p.list_data()])
        return self._on_every_rank("parameters/finite", finite)

    def _on_every_rank(self, name: str, holds: bool) -> bool:
        return not self.ranks.max(name, np.array([not holds], np.int32))[0]

    def checkpoint(self) -> checkpoint.Checkpoint:
        """The current state as a checkpoint: plain graph with what the objective adds, arrays on the CPU.

        Running statistics are the mean over all devices, as the original saves them, of all ranks, which must call it
        together. On the CPU the learned arrays are the parameters' own, not copies: use it before the next step.
        """
        return self._gathered(self.objective.symbol(nets.symbol(self.network)), self.params)

    def network_checkpoint(self) -> checkpoint.Checkpoint:
        """As :meth:`checkpoint`, without the objective."""
        return self._gathered(nets.symbol(self.network), self.network.kept())

    def embedder(self, name: str, check: Callable[[], None] = lambda: None) -> Callable[[np.ndarray], np.ndarray]:
        """The network as it is now, for inference on the first device.

        Parameters
        ----------
        name : str
            Of the network, in messages.
        check : callable
            Called before each call of the network; may raise.

        Returns
        -------
        callable
            (N, 3, H, W) RGB pixels, 0..255, to (N, E) float32 embeddings, not normalised.
        """
        return inference(self.network_checkpoint(), name, self.devices[0], check)

    def _gathered(self, symbol, params: dict) -> checkpoint.Checkpoint:
        _settle()
        auxiliary, arguments = set(symbol.list_auxiliary_states()), set(symbol.list_arguments())
        means = self.statistics.mean()
        aux = {name: array.copyto(mx.cpu()) for name, array in means.items() if name in auxiliary}
        args = {  # the objective also has some for training only
            name: parameter.list_data()[0].as_in_context(mx.cpu())
            for name, parameter in params.items()
            if name in arguments
        }
        return checkpoint.Checkpoint(symbol, as_own_rows(args, self.objective.shards()), aux)

    def state(self) -> dict:
        """What the next step depends on beside :meth:`arrays`, for JSON."""
        scale = self._loss_scale.state() if self._loss_scale else None
        return {"loss_scale": scale, "objective": self.objective.state()}

    def arrays(self) -> dict:
        """``NAME@0`` to all devices' arrays of a parameter, which are equal; ``NAME@i`` to the running statistics of
        device i, counted over the ranks. This rank's arrays themselves, to be read, or written to, between two steps.
        The objective's other state is not among them.
        """
        statistics = self.statistics.numbered()
        single = {name.rpartition("@")[0] for name in statistics}
        learned = {f"{name}@0": p.list_data() for name, p in self.params.items() if name not in single}
        return {**learned, **statistics}

    def restore(self, state: dict) -> None:
        """Take back what :meth:`state` gave."""
        if self._loss_scale:
            self._loss_scale.restore(state["loss_scale"])
        self.objective.restore(state.get("objective", {}))


def build_network(options: TrainOptions, devices: list, image_size: tuple = (112, 112)):
    """The network in the form in which it trains, not yet allocated.

    A rewritten PReLU is the fast one on MXNet's CPU; a GPU has a kernel for the plain one.
    """
    family = nets.family(options.network)
    on_cpu = family.fastest_prelu_bfloat16 if options.dtype == "bfloat16" else family.fastest_prelu
    prelu = on_cpu if devices[0].device_type == "cpu" else "plain"
    common = {"prelu": prelu, "image_size": image_size, "batchnorm_momentum": options.bn_mom}
    return nets.create(options.network, options.emb_size, **common, **options.network_options)


def network_stages(network) -> sums.Stages:
    """The stages of a network in any of its forms."""
    return sums.Stages(nets.symbol(network), network.image_size)


def _stated_size(graph) -> Optional[tuple]:
    """(height, width) of the images that a checkpoint's graph states; None where nothing can be read."""
    try:
        return None if graph is None else shapes.stated_size(nodes.Graph.from_symbol(graph))
    except InsightError:  # control flow: only the arrays are needed
        return None


def inference(network: checkpoint.Checkpoint, name: str, device, check: Callable[[], None]) -> Callable:
    """A network without objective for inference on a device; see :meth:`Model.embedder`."""
    engine = MXNetEngine(network, name, device=device)
    release_freed_memory()  # of rewriting the network

    def embed(images: np.ndarray) -> np.ndarray:
        check()
        return engine(images)

    return embed


def _settle() -> None:
    """Wait for everything: a static CachedOp writes running statistics without telling the engine, so reads do not."""
    mx.nd.waitall()


def _gradients(params: dict) -> list:
    return [gradient for p in params.values() if p.grad_req != "null" for gradient in p.list_grad()]


def _dropout_seed(seed: int, step: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, step, index]).generate_state(1)[0] >> 1)
