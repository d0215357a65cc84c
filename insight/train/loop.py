"""The training loop: step, verify, save. Read :func:`train`, then :meth:`Run.train`, top to bottom."""

from __future__ import annotations

import dataclasses
import os
import platform
from contextlib import closing
from typing import NamedTuple

import numpy as np

from .. import __version__
from .._mxnet import mx
from ..errors import InsightError
from ..runs import core_share
from ..runs.journal import Journal
from ..runs.jsonl import StartRow
from ..runs.stepfigures import Histogram
from . import guards, resume
from .ema import AveragedEvaluation
from .evaluation import Evaluation
from .learner import Learner
from .start import prepare
from .stop import StopRequest
from .train_options import TrainOptions


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
    setup = prepare(options)
    if setup.done:
        step, evaluation = setup.state.step, setup.state.meta["evaluation"]
        print(f"{resume.state_path(options.prefix)}: this run is done, {step} steps; nothing is left to resume")
        return TrainResult(step, evaluation["last_saved"], evaluation["accuracies"])
    learner = Learner(setup)
    teacher = setup.teacher
    if teacher and not teacher.is_made:  # hours of a large set: behind all checks
        print(f"embedding the set with {teacher.spec}, once, into {teacher.path}", flush=True)
        teacher.make()
    return Run(learner).train()


class Run:
    """A run with its logs open, at the step that it starts or resumes from.

    Parameters
    ----------
    learner : Learner

    Raises
    ------
    InsightError
        The state to resume from is damaged; no file has been changed then.
    """

    def __init__(self, learner: Learner):
        setup = self.setup = learner.setup
        options, state = setup.options, setup.state
        self.options, self.learner, self.loader, self.model = options, learner, setup.loader, learner.model
        self.step, self.total = setup.first_step, setup.total_steps
        self.stop = StopRequest()
        if state:  # before any file is changed: it may be damaged
            learner.read(state)
        self.journal = Journal(
            options.prefix,
            setup.batch_size,
            self.loader.batches_per_epoch,
            options.frequent,
            self.total,
            self.step,
            state.meta["journal"]["bytes"] if state else None,
            core_share.of_run(setup.devices, options.num_workers),
            setup.objective.line_names,
        )
        refines = setup.objective.refines and bool(options.pretrained)
        shared = (self.journal, self._check)
        self.evaluation = Evaluation(options, learner.sets, self.model, *shared, refines)
        self.evaluations = [self.evaluation]
        if learner.averages:
            self.evaluations.append(AveragedEvaluation(options, learner.sets, learner.averages, *shared))
        self.loader.on_damage = self._note_damage
        self.loader.on_mined = lambda mined: self.journal.mined(self.step, *mined)
        if state:
            self._restore(state)
        else:
            self.journal.write(StartRow(dataclasses.asdict(options), setup.fingerprint, self.total, _versions()))
        self._announce()

    def train(self) -> TrainResult:
        """The loop."""
        with self.stop, closing(self.journal), closing(self.learner.batches(self.step, self._leave)) as batches:
            if self.step == 0:
                self._save_state()
            self._verify_if_due()
            while self.step < self.total:
                self._one_step(next(batches))
                if self.stop.signal or self._due(self.options.save_every) or self._verification_due():
                    self._save_state()
                    self._check()  # only behind a save: a signal that comes after it is answered a step later
                self._verify_if_due()
            for evaluation in self.evaluations:
                evaluation.conclude()
            self.journal.damage_in_all(len(self.loader.damage), self.options.data_dir)
        return TrainResult(self.step, self.evaluation.last_saved, dict(self.evaluation.accuracies))

    def _note_damage(self, key: int, warning: str) -> None:
        self.journal.damaged(self.step, key, warning, len(self.loader.damage))

    def _one_step(self, batch) -> None:
        rate = self.setup.schedule(self.step)
        figures, usable = self.learner.learn(batch, self.step, self.step < self.options.freeze_backbone_steps)
        if not usable and not self.model.may_skip:
            raise self._non_finite(batch, figures["loss"])
        self.step += 1
        means = {name: f if isinstance(f, Histogram) else float(f.mean()) for name, f in figures.items()}
        self.journal.step(self.step, means, rate, self.loader.waited, skipped=int(not usable))

    def _due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _verification_due(self) -> bool:
        return self._due(self.options.verbose) or self.step == self.total

    def _verify_if_due(self) -> None:
        if not self._verification_due() or self.evaluation.last_verified == self.step:
            return
        for evaluation in self.evaluations:
            evaluation.verify(self.step)
        self.journal.log_histograms(self.step)
        for evaluation in self.evaluations:
            evaluation.save(self.step, last=self.step == self.total)
        self._save_state(finished=self.step == self.total)

    def _leave(self) -> None:
        """As :meth:`_check`, between two steps that no save lies between."""
        if self.stop.signal:
            self._save_state()
        self._check()

    def _check(self) -> None:
        """Raise if Ctrl-C or SIGTERM asked for the end; a state has been saved since the last step."""
        path = resume.state_path(self.options.prefix)
        self.stop.check(f"stopped at step {self.step} of {self.total}; --resume goes on from {path}")

    def _non_finite(self, batch, loss: np.ndarray) -> InsightError:
        if self.options.ckpt and self.model.is_finite():
            self.evaluation.save(self.step, last=True)
        where = self.evaluation.where_saved()
        losses = np.broadcast_to(loss, (len(batch.keys),))
        return guards.non_finite(self.options.prefix, self.step + 1, batch, losses, where)

    def _save_state(self, finished: bool = False) -> None:
        with self.journal.pause():
            meta = {
                "step": self.step,
                "total_steps": self.total,
                "finished": finished,
                "options": dataclasses.asdict(self.options),
                "set": self.setup.fingerprint,
                "threads": os.environ.get("OMP_NUM_THREADS"),
                "model": self.model.state(),
                "journal": self.journal.state(),
                "evaluation": self.evaluation.state(),
                "averages": [evaluation.state() for evaluation in self.evaluations[1:]],
                "updates": self.learner.averages.updates if self.learner.averages else 0,
                "sampler": self.loader.state(),
                "damaged": [position for position, _ in self.loader.damage.items()],
            }
            arrays = self.learner.arrays()
            saved = {name: equal[0] for name, equal in arrays.items()}
            resume.save(self.options.prefix, meta, saved, self.setup.objective.ranks)

    def _restore(self, state: resume.State) -> None:
        self.model.restore(state.meta["model"])
        self.journal.restore(state.meta["journal"])
        for evaluation, saved in zip(self.evaluations, [state.meta["evaluation"], *state.meta.get("averages", ())]):
            evaluation.restore(saved)
        if self.learner.averages:
            self.learner.averages.updates = state.meta["updates"]
        for position in state.meta.get("damaged", ()):  # named before
            self.loader.damage.add(position, "")
        threads = os.environ.get("OMP_NUM_THREADS")
        if threads != state.meta["threads"]:
            was = f"it ran on {state.meta['threads']} threads, now on {threads}"
            self.journal.say(f"note: {was}; sums round differently, so the result is not the same to the bit")
        self.journal.say(f"resumed at step {self.step} of {self.total}")

    def _announce(self) -> None:
        options, say, missing = self.options, self.journal.say, self.learner.missing
        for note in self.learner.notes:
            say(f"note: {note}")
        for line in self.learner.describe():
            say(line)
        if options.resume and self.step == 0:
            say(f"--resume: {resume.state_path(options.prefix)} does not exist; starting from the beginning")
        if options.pretrained and self.step == 0:
            fresh = ", ".join(self.model.fresh) if self.model.fresh else "nothing"
            say(f"loaded {options.pretrained}; left fresh: {fresh}")
            for note in self.model.notes:
                say(f"note: {note}")
        if missing:
            say(f"no verification set for: {', '.join(missing)} (no such .bin in {options.data_dir})")


def _versions() -> dict:
    """What the run's numbers depend on beside its options and data."""
    return {
        "insight": __version__,
        "mxnet": mx.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
