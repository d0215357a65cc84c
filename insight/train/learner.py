"""Model and optimizer of a run, allocated, with its verification sets."""

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
)  # prefixes of the array names in a state file


class Learner:
    """Model and optimizer of a run. The constructor allocates both and writes no file.

    Parameters
    ----------
    setup : Setup

    Attributes
    ----------
    sets : list of verification.EvalSet
    missing : list of str
        Targets for which no verification set exists.
    memory : memory.Prediction
    model : Model
    averages : Averages or None
        Averages of the weights with ``--ema``.
    notes : list of str
        Unusual properties of the set or the options, for the log.

    Raises
    ------
    InsightError
        The run does not fit into memory, the prefix holds checkpoints of another network, a verification set has
        images of another size, averages would be neither verified nor saved, or half precision does not work here.
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
        """Iterate over the batches from ``step`` on.

        ``check`` is called before each batch that the network embeds for the sampler, and may raise. Ranks may embed
        different numbers of batches, so several ranks call it only once, together, before they embed.
        """

        def embedder() -> Callable:
            if self.setup.ranks.size == 1:
                return self.model.embedder(self.setup.options.prefix, check)
            check()
            return self.model.embedder(self.setup.options.prefix)

        return self.setup.loader.batches(step, embedder)

    def learn(self, batch, step: int, frozen: bool) -> tuple:
        """Forward and backward pass, and the update if all gradients are finite; returns (figures, finite)."""
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
        """Name in a state file to a list of one array, or of equal ones of all devices. All ranks call it together."""
        everyones = self.model.statistics.everyones() if self.setup.ranks.size > 1 else {}
        statistics = {PARAMETER + name: arrays for name, arrays in everyones.items()}
        return {**self._named(momenta(self._trainer)), **statistics}

    def read(self, state) -> None:
        """Restore the arrays of a :class:`~insight.train.resume.State`."""
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
        """Lines for the log: set, network, objective, devices, schedule and predicted memory."""
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
    """Bytes of the ``--pretrained`` checkpoint that this rank reads; about 1 / W of it if classes are divided."""
    if not setup.options.pretrained:
        return 0
    size = checkpoint.size(*checkpoint.parse_spec(setup.options.pretrained))
    return size // setup.ranks.size if setup.objective.shards() else size


def _embedded(sets: list, looked_at: int) -> List[Tuple[int, int]]:
    """(images, pairs) of everything that the network embeds between steps: verification sets and bags of images."""
    return [(len(s.source), len(s.pairs)) for s in sets] + ([(looked_at, 0)] if looked_at else [])


def _try_precision(setup: Setup) -> List[str]:
    """Try out bfloat16 on the CPU; return a note if it works but is slower than float32.

    Raises
    ------
    InsightError
        The processor cannot train in bfloat16.
    """
    options, devices = setup.options, setup.devices
    if options.dtype != "bfloat16" or devices[0].device_type != "cpu":
        return []
    build = functools.partial(build_network, options, devices, setup.faces.image_size)
    note = precision.try_out(build, options.dtype, devices).note
    return [note] if note else []
