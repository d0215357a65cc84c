"""The training loop: set up, step, verify, save. Read :func:`train`, then :meth:`Run.train`, top to bottom."""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
from contextlib import closing
from typing import NamedTuple, Optional

import numpy as np

from .. import __version__, checkpoint
from .._mxnet import keep_freed_memory, mx
from ..errors import InsightError
from ..feed.augment import Augmentation
from ..feed.loader import Loader
from ..formats.faceset import FaceSet
from ..margins import heads
from ..runs import core_share
from ..runs.journal import Journal
from ..runs.jsonl import StartRow
from ..runs.stepfigures import CLASSIFICATION
from ..verify import verification
from . import devices as device_lists
from . import guards, memory, precision, resume
from . import schedule as schedules
from .evaluation import Evaluation
from .model import Model, build_network
from .optimizer import allocate_momenta, make_trainer, momenta
from .options import TrainOptions
from .stop import StopRequest

PARAMETER, MOMENTUM = "parameter/", "momentum/"  # of the names in a state's file


class TrainResult(NamedTuple):
    """What a run left behind."""

    steps: int
    last_checkpoint: int  # number under the prefix; 0 where none was saved
    accuracies: dict  # target name to the last verification's accuracy


def train(options: TrainOptions) -> TrainResult:
    """Run one training stage, or what is left of it.

    Raises
    ------
    InsightError
        Bad options or data, before anything is written; or a guard stopped the run.
    Stopped
        Ctrl-C or SIGTERM; the state was saved, and ``--resume`` goes on from it.
    """
    run, state = prepare(options)
    if state is not None and run.nothing_left(state):
        print(f"{resume.state_path(options.prefix)}: this run is done, {state.step} steps; nothing is left to resume")
        return TrainResult(state.step, state.meta["evaluation"]["last_saved"], state.meta["evaluation"]["accuracies"])
    run.set_up(state)
    return run.train()


def prepare(options: TrainOptions) -> tuple:
    """Read and check what a run needs, and write nothing.

    Returns
    -------
    (Run, resume.State or None)
        The run, and the state that it is to go on from.

    Raises
    ------
    InsightError
        As :func:`train`.
    """
    keep_freed_memory()
    devices = device_lists.parse(options.devices)
    faces = FaceSet.open(options.data_dir)
    notes = guards.check_set(faces, options)
    fingerprint = faces.fingerprint()
    state = resume.find(options, fingerprint)
    run = Run(options, devices, faces, fingerprint, state)
    run.notes += notes
    return run, state


class Run:
    """A run: what it reads and how long it is; after :meth:`build`, also what it trains; :meth:`set_up` opens logs."""

    def __init__(
        self, options: TrainOptions, devices: list, faces: FaceSet, fingerprint: str, state: Optional[resume.State]
    ):
        self.options, self.devices, self.faces, self.fingerprint = options, devices, faces, fingerprint
        self.step = state.step if state else 0
        self.batch_size = options.per_batch_size * len(devices)
        self.loader = Loader(
            faces,
            self.batch_size,
            options.seed,
            Augmentation(bool(options.rand_mirror), options.color, options.cutoff),
            options.num_workers,
            options.images_filter,
            "uint8" if devices[0].device_type == "gpu" else "float32",
            self._note_damage,
        )
        head = heads.get(options.loss_type).name
        self.schedule = schedules.from_options(options, head, self.batch_size, self.loader.batches_per_epoch)
        self.total = self.schedule.total_steps
        self.notes: list = []  # what is unusual about the set or the options
        self.stop = StopRequest()

    def nothing_left(self, state: resume.State) -> bool:
        """Whether the state is that of a run which has reached this run's length."""
        return state.step > self.total or (state.step == self.total and state.finished)

    def build(self) -> None:
        """Allocate what is trained, and find the verification sets; write nothing."""
        options = self.options
        sparse = guards.sparse_labels(self.faces)
        memory.refuse_too_large(options.per_batch_size, self.faces.num_classes, options.emb_size, remedy=sparse)
        self.sets, self.missing = verification.find_sets(options.data_dir, options.targets)
        guards.check_targets(self.sets, self.faces)
        network = build_network(options, self.devices, self.faces.image_size)
        if options.ckpt and self.step == 0:
            guards.check_prefix(options.prefix, network)
        symbol = network(mx.sym.Variable("data"))
        self.memory = memory.predict(
            symbol,
            self.faces.image_size,
            options.per_batch_size,
            self.faces.num_classes,
            options.emb_size,
            devices=len(self.devices),
            verified=[(len(s.source), len(s.pairs)) for s in self.sets],
            lowered=precision.lowered_symbol(symbol, options.dtype),
            pretrained=checkpoint.size(*checkpoint.parse_spec(options.pretrained)) if options.pretrained else 0,
        )
        scarce = memory.refuse_unaffordable(self.memory, self.devices, remedy=sparse)
        self.notes += [scarce] if scarce else []
        self.notes += self._try_precision()
        self.model = Model(options, network, self.faces.num_classes, self.devices)
        self.trainer = make_trainer(
            self.model.params, options.mom, options.wd, options.fc7_wd_mult, options.fc7_lr_mult
        )

    def _try_precision(self) -> list:
        """Notes, where half precision works on the CPU but does not pay.

        Raises
        ------
        InsightError
            It does not work.
        """
        if self.options.dtype != "bfloat16" or self.devices[0].device_type != "cpu":
            return []
        build = functools.partial(build_network, self.options, self.devices, self.faces.image_size)
        note = precision.try_out(build, self.options.dtype, self.devices).note
        return [note] if note else []

    def set_up(self, state: Optional[resume.State]) -> None:
        """Build, open the logs, and take back a state."""
        self.build()
        options = self.options
        if state:  # before any file is changed: it may be damaged
            moving = {name[len(MOMENTUM) :] for name in state.names() if name.startswith(MOMENTUM)}
            state.read_into(self._arrays(allocate_momenta(self.trainer, moving)))
        keep = state.meta["journal"]["bytes"] if state else None
        self.journal = Journal(
            options.prefix,
            self.batch_size,
            self.loader.batches_per_epoch,
            options.frequent,
            self.total,
            self.step,
            keep,
            core_share.of_run(self.devices, options.num_workers),
        )
        self.evaluation = Evaluation(options, self.sets, self.model, self.journal, self._check)
        if state:
            self._restore(state)
        else:
            self.journal.write(StartRow(dataclasses.asdict(options), self.fingerprint, self.total, _versions()))
        self._announce()

    def train(self) -> TrainResult:
        """The loop."""
        with self.stop, closing(self.journal), closing(self.loader.batches(self.step)) as batches:
            if self.step == 0:
                self._save_state()
            self._verify_if_due()
            while self.step < self.total:
                self._one_step(next(batches))
                if self.stop.signal or self._due(self.options.save_every) or self._verification_due():
                    self._save_state()
                    self._check()  # only behind a save: a signal that comes after it is answered a step later
                self._verify_if_due()
            self.evaluation.conclude()
            self.journal.damage_in_all(len(self.loader.damage), self.options.data_dir)
        return TrainResult(self.step, self.evaluation.last_saved, dict(self.evaluation.accuracies))

    def _note_damage(self, key: int, warning: str) -> None:
        self.journal.damaged(self.step, key, warning, len(self.loader.damage))

    def learn(self, batch, frozen: bool) -> tuple:
        """Forward, backward and, where the gradients are finite, the update; returns (figures, whether they were)."""
        self.trainer.set_learning_rate(self.schedule(self.step))
        figures = self.model.backward(batch, self.step, frozen)
        usable = self.model.usable(frozen)
        if usable:
            self.trainer.step(self.batch_size, ignore_stale_grad=frozen)
        return figures, usable

    def _one_step(self, batch) -> None:
        rate = self.schedule(self.step)
        figures, usable = self.learn(batch, self.step < self.options.freeze_backbone_steps)
        if not usable and not self.model.may_skip:
            raise self._non_finite(batch, figures)
        self.step += 1
        means = dict(zip(CLASSIFICATION, figures.means()))
        self.journal.step(self.step, means, rate, self.loader.waited, skipped=int(not usable))

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _verification_due(self) -> bool:
        return self._due(self.options.verbose) or self.step == self.total

    def _verify_if_due(self) -> None:
        if not self._verification_due() or self.evaluation.last_verified == self.step:
            return
        self.evaluation.verify(self.step)
        if self.step:
            self.evaluation.save(self.step, last=self.step == self.total)
        self._save_state(finished=self.step == self.total)

    def _check(self) -> None:
        """Raise if Ctrl-C or SIGTERM asked for the end; a state has been saved since the last step."""
        path = resume.state_path(self.options.prefix)
        self.stop.check(f"stopped at step {self.step} of {self.total}; --resume goes on from {path}")

    def _non_finite(self, batch, figures) -> InsightError:
        if self.options.ckpt and self.model.is_finite():
            self.evaluation.save(self.step, last=True)
        where = self.evaluation.where_saved()
        return guards.non_finite(self.options.prefix, self.step + 1, batch, figures.loss_B, where)

    def _save_state(self, finished: bool = False) -> None:
        with self.journal.pause():
            meta = {
                "step": self.step,
                "total_steps": self.total,
                "finished": finished,
                "options": dataclasses.asdict(self.options),
                "set": self.fingerprint,
                "threads": os.environ.get("OMP_NUM_THREADS"),
                "model": self.model.state(),
                "journal": self.journal.state(),
                "evaluation": self.evaluation.state(),
                "damaged": [position for position, _ in self.loader.damage.items()],
            }
            arrays = self._arrays(momenta(self.trainer))
            resume.save(self.options.prefix, meta, {name: equal[0] for name, equal in arrays.items()})

    def _arrays(self, velocity: dict) -> dict:
        """Name in a state's file to the arrays, one or one a device, that are saved and restored under it."""
        parameters = {PARAMETER + name: equal for name, equal in self.model.arrays().items()}
        return {**parameters, **{MOMENTUM + name: equal for name, equal in velocity.items()}}

    def _restore(self, state: resume.State) -> None:
        self.model.restore(state.meta["model"])
        self.journal.restore(state.meta["journal"])
        self.evaluation.restore(state.meta["evaluation"])
        for position in state.meta.get("damaged", ()):  # named before
            self.loader.damage.add(position, "")
        threads = os.environ.get("OMP_NUM_THREADS")
        if threads != state.meta["threads"]:
            was = f"it ran on {state.meta['threads']} threads, now on {threads}"
            self.journal.say(f"note: {was}; sums round differently, so the result is not the same to the bit")
        self.journal.say(f"resumed at step {self.step} of {self.total}")

    def describe(self) -> list:
        """Lines for people: what is trained on what, how long, in how much memory."""
        where = ",".join(map(str, self.devices))
        return [
            f"{len(self.loader.positions)} images of {self.faces.num_classes} identities; {self.options.network}, "
            f"{self.model.classifier.margin.describe()}, {self.options.dtype} on {where}",
            self.schedule.describe(),
            self.memory.describe(),
        ]

    def _announce(self) -> None:
        options, say = self.options, self.journal.say
        for note in self.notes:
            say(f"note: {note}")
        for line in self.describe():
            say(line)
        if options.resume and self.step == 0:
            say(f"--resume: {resume.state_path(options.prefix)} does not exist; starting from the beginning")
        if options.pretrained and self.step == 0:
            fresh = ", ".join(self.model.fresh) if self.model.fresh else "nothing"
            say(f"loaded {options.pretrained}; left fresh: {fresh}")
            for note in self.model.notes:
                say(f"note: {note}")
        if self.missing:
            say(f"no verification set for: {', '.join(self.missing)} (no such .bin in {options.data_dir})")


def _versions() -> dict:
    """What the run's numbers depend on beside its options and data."""
    return {
        "insight": __version__,
        "mxnet": mx.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
