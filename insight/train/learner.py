"""What a run trains, allocated: model, optimizer, and the sets that verify it."""

from __future__ import annotations

import functools
from typing import Callable, Iterator, List, Optional, Tuple

import numpy as np

from .. import checkpoint
from .._mxnet import mx
from ..ranks.own_rows import as_own_rows
from ..ranks.step_figures import joined
from ..runs.jsonl import AVERAGES
from ..verify import verification
from . import guards, memory, precision
from .ema import Averages
from .model import Model, build_network, network_stages
from .optimizer import allocate_momenta, make_trainer, momenta, update
from .start import Setup

PARAMETER, MOMENTUM, OBJECTIVE, AVERAGE = (
    "parameter/",
    "momentum/",
    "objective/",
    "average/",
)  # of the names in a state's file


class Learner:
    """A run's model and optimizer. Allocates both, and writes nothing.

    Parameters
    ----------
    setup : Setup

    Attributes
    ----------
    sets : list of verification.EvalSet
    missing : list of str
        Targets without a set.
    memory : memory.Prediction
    model : Model
    averages : Averages or None
        Of ``--ema``.
    notes : list of str
        What is unusual about the set or the options.

    Raises
    ------
    InsightError
        The run does not fit into the memory, the prefix holds checkpoints of another network, a verification set has
        images of another size, or half precision does not work here.
    """

    def __init__(self, setup: Setup):
        self.setup = setup
        options, faces, devices = setup.options, setup.faces, setup.devices
        sparse = guards.sparse_labels(faces) if setup.objective.labelled else ""
        setup.objective.check(options.per_batch_size, remedy=sparse)
        self.sets, self.missing, unusable = verification.find_sets(options.data_dir, options.targets)
        guards.check_targets(self.sets, faces)
        guards.check_averages(options, self.sets)
        network = build_network(options, devices, faces.image_size)
        if setup.objective.stages:
            setup.objective.stages.choose(network_stages(network).channels)
        if options.ckpt and setup.first_step == 0:
            for suffix in ("", AVERAGES) if options.ema else ("",):
                guards.check_prefix(options.prefix + suffix, network)
        symbol = network(mx.sym.Variable("data"))
        self.memory = memory.predict(
            symbol,
            faces.image_size,
            options.per_batch_size,
            options.emb_size,
            setup.objective.memory(options.per_batch_size),
            devices=len(devices),
            verified=_embedded(self.sets, setup.loader.sampler.looked_at),
            lowered=precision.lowered_symbol(symbol, options.dtype),
            pretrained=_read_at_start(setup),
            averaged=bool(options.ema),
        )
        scarce = memory.refuse_unaffordable(self.memory, devices, remedy=sparse, ranks=setup.ranks.local_size)
        skipped = [f"verification set skipped: {error.note}" for error in unusable]
        self.notes = [*setup.notes, *skipped, *([scarce] if scarce else []), *_try_precision(setup)]
        self.model = Model(options, network, setup.objective, devices, setup.ranks)
        self._trainer = make_trainer(
            self.model.params, options.mom, options.wd, options.fc7_wd_mult, setup.objective.multipliers()
        )
        self.averages: Optional[Averages] = Averages(self.model, options.ema) if options.ema else None

    def batches(self, step: int, check: Callable[[], None] = lambda: None) -> Iterator:
        """Batches from a step on; ``check`` is called while the network embeds for the sampler, and may raise.

        Several ranks do not embed the same number of batches: they call it together, and before.
        """

        def embedder() -> Callable:
            if self.setup.ranks.size == 1:
                return self.model.embedder(self.setup.options.prefix, check)
            check()
            return self.model.embedder(self.setup.options.prefix)

        return self.setup.loader.batches(step, embedder)

    def learn(self, batch, step: int, frozen: bool) -> tuple:
        """Forward, backward and, where all gradients are finite, the update; returns (figures, whether they were)."""
        self._trainer.set_learning_rate(self.setup.schedule(step))
        figures = joined(self.setup.ranks, self.model.backward(batch, step, frozen))
        usable = self.model.usable(frozen)
        if usable:
            options = self.setup.options
            network = self.model.network.kept()
            how = frozen, options.clip_norm, network, self.setup.ranks, self.setup.objective.shards()
            norm = update(self._trainer, self.setup.batch_size, *how)
            if norm is not None:
                figures["gradient_norm"] = np.float64(norm)
            if self.averages:
                self.averages.update()
        return figures, usable

    def arrays(self) -> dict:
        """Name in a state's file to the arrays, one or equal ones, that are saved under it. Ranks call it together."""
        everyones = self.model.statistics.everyones() if self.setup.ranks.size > 1 else {}
        statistics = {PARAMETER + name: arrays for name, arrays in everyones.items()}
        return {**self._named(momenta(self._trainer)), **statistics}

    def read(self, state) -> None:
        """Take back the arrays of a :class:`~insight.train.resume.State`."""
        names = state.names()
        moving = {name[len(MOMENTUM) :] for name in names if name.startswith(MOMENTUM)}
        arrays = self._named(allocate_momenta(self._trainer, moving))
        statistics = self.model.statistics
        if state.devices in (0, statistics.count):
            state.read_into(arrays)
            return
        own = {PARAMETER + name for name in statistics.numbered()}
        state.read_into({name: copies for name, copies in arrays.items() if name not in own})
        saved = {
            PARAMETER + f"{name}@{i}": np.empty(copies[0].shape, copies[0].dtype)
            for name, copies in statistics.own().items()
            for i in range(state.devices)
        }
        state.read_into({name: [array] for name, array in saved.items()})
        statistics.take_mean({name[len(PARAMETER) :]: array for name, array in saved.items()})

    def _named(self, velocity: dict) -> dict:
        groups = {PARAMETER: self.model.arrays(), OBJECTIVE: self.setup.objective.arrays(), MOMENTUM: velocity}
        if self.averages:
            groups[AVERAGE] = self.averages.arrays()
        named = {prefix + name: equal for prefix, group in groups.items() for name, equal in group.items()}
        shards = self.setup.objective.shards().items()
        places = {key: shard for name, shard in shards for key in (f"{PARAMETER}{name}@0", MOMENTUM + name)}
        divided = as_own_rows({key: named[key][0] for key in places if key in named}, places)
        return {**named, **{key: [part] for key, part in divided.items()}}

    def describe(self) -> List[str]:
        """Lines for people: what is trained on what, how long, in how much memory."""
        setup, options = self.setup, self.setup.options
        where = ",".join(map(str, setup.devices))
        if setup.ranks.size > 1:
            where += f" of each of {setup.ranks.size} ranks"
        return [
            f"{len(setup.loader.positions)} images of {setup.faces.num_classes} identities; {options.network}, "
            f"{setup.objective.describe()}, {options.dtype} on {where}",
            setup.schedule.describe(),
            *self._levers(),
            self.memory.describe(),
        ]

    def _levers(self) -> List[str]:
        options = self.setup.options
        clipped = f"a gradient of the network longer than {options.clip_norm:g} is scaled down to it (--clip-norm)"
        averaged = f"averages of the weights, decay {options.ema:g}, as {options.prefix}{AVERAGES}-0001.params (--ema)"
        poor = f"images are cropped, made small, lit otherwise, each with probability {options.degrade:g} (--degrade)"
        return [poor] * bool(options.degrade) + [clipped] * bool(options.clip_norm) + [averaged] * bool(options.ema)


def _read_at_start(setup: Setup) -> int:
    """Bytes of the checkpoint that the run starts from; where classes are divided, each rank reads its own."""
    if not setup.options.pretrained:
        return 0
    size = checkpoint.size(*checkpoint.parse_spec(setup.options.pretrained))
    return size // setup.ranks.size if setup.objective.shards() else size


def _embedded(sets: list, looked_at: int) -> List[Tuple[int, int]]:
    """(images, pairs) of all that the network embeds between steps: verification sets, a bag of images."""
    return [(len(s.source), len(s.pairs)) for s in sets] + ([(looked_at, 0)] if looked_at else [])


def _try_precision(setup: Setup) -> List[str]:
    """Notes, where half precision works on the CPU but does not pay.

    Raises
    ------
    InsightError
        It does not work.
    """
    options, devices = setup.options, setup.devices
    if options.dtype != "bfloat16" or devices[0].device_type != "cpu":
        return []
    build = functools.partial(build_network, options, devices, setup.faces.image_size)
    note = precision.try_out(build, options.dtype, devices).note
    return [note] if note else []
