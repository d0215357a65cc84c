"""The training loop: step, verify, save. Start reading at :func:`train`, then :meth:`Run.train`."""

from __future__ import annotations

import dataclasses
import os
from contextlib import closing
from typing import NamedTuple, Optional

import numpy as np

from ..errors import InsightError
from ..ranks.connection import joined_ranks
from ..ranks.group import Ranks
from ..runs import core_share
from ..runs.journal import Journal
from ..runs.jsonl import StartRow
from ..runs.quiet_journal import QuietJournal
from ..runs.stepfigures import Histogram
from ..teach.teacher import Teacher
from . import guards, resume
from .ema import AveragedEvaluation
from .evaluation import Evaluation
from .learner import Learner
from .start import prepare, versions
from .stop import StopRequest, stopped_by
from .train_options import TrainOptions


class TrainResult(NamedTuple):
    """Result of a run."""

    steps: int
    last_checkpoint: int  # number under the prefix; 0: none was saved
    accuracies: dict  # target name to the accuracy of the last verification
    rank: int = 0  # of this process


def train(options: TrainOptions, ways: resume.Ways = resume.BY_FLAG) -> TrainResult:
    """Run one training stage, or the rest of a resumed one; as one of several ranks if horovodrun started the process.

    Parameters
    ----------
    options : TrainOptions
    ways : resume.Ways
        How the command resumes, in messages.

    Raises
    ------
    InsightError
        Options or data are invalid (raised before anything is written), or a check stopped the run.
    Stopped
        Ctrl-C or SIGTERM. The state is saved, and the run can be resumed from it.
    RankFailed
        Another rank has ended.
    """
    with joined_ranks() as ranks:
        setup = prepare(options, ranks, ways)
        if setup.done:
            step, evaluation = setup.state.step, setup.state.meta["evaluation"]
            if ranks.rank == 0:
                print(f"{resume.state_path(options.prefix)}: this run is done, {step} steps; nothing is left to resume")
            return TrainResult(step, evaluation["last_saved"], evaluation["accuracies"], ranks.rank)
        learner = Learner(setup)
        _make_embeddings(setup.teacher, ranks)
        return Run(learner, ways).train()


def _make_embeddings(teacher: Optional[Teacher], ranks: Ranks) -> None:
    """Let rank 0 compute the teacher's embeddings. This takes hours for a large set, so it comes after all checks."""
    if teacher is None or teacher.is_made:
        return
    if ranks.rank == 0:
        print(f"embedding the set with {teacher.spec}, once, into {teacher.path}", flush=True)
        teacher.make()
    ranks.barrier("teacher/embeddings")
    teacher.make()


class Run:
    """A run with open logs, at the step that it starts or resumes from.

    Parameters
    ----------
    learner : Learner
    ways : resume.Ways

    Raises
    ------
    InsightError
        The state to resume from is damaged; no file has been changed.
    """

    def __init__(self, learner: Learner, ways: resume.Ways = resume.BY_FLAG):
        setup = self.setup = learner.setup
        self.again = ways.again
        options, state = setup.options, setup.state
        self.options, self.learner, self.loader, self.model = options, learner, setup.loader, learner.model
        self.step, self.total = setup.first_step, setup.total_steps
        self.ranks = setup.ranks
        self.stop = StopRequest()
        if state:  # before any file is changed: the state may be damaged
            learner.read(state)
        self.journal = (Journal if self.ranks.rank == 0 else QuietJournal)(
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
        check = self._check if self.ranks.size == 1 else _no_check  # several ranks stop together, only between steps
        shared = {"journal": self.journal, "check": check, "ranks": self.ranks, "again": self.again}
        self.evaluation = Evaluation(options, learner.sets, self.model, counts_start=refines, **shared)
        self.evaluations = [self.evaluation]
        if learner.averages:
            self.evaluations.append(AveragedEvaluation(options, learner.sets, learner.averages, **shared))
        self.loader.on_damage = self._note_damage
        self.loader.on_mined = lambda mined: self.journal.mined(self.step, *mined)
        if state:
            self._restore(state)
        else:
            self.journal.write(StartRow(dataclasses.asdict(options), setup.fingerprint, self.total, versions()))
        self._announce()

    def train(self) -> TrainResult:
        """Train to the last step, with verifications and checkpoints.

        Raises
        ------
        InsightError
            A loss or gradient is not finite, or a verification stops the run.
        Stopped
            A signal asked for it.
        """
        with self.stop, closing(self.journal), closing(self.learner.batches(self.step, self._leave)) as batches:
            if self.step == 0:
                self._save_state()
            self._verify_if_due()
            while self.step < self.total:
                self._one_step(next(batches))
                signal = self._signal()
                if signal or self._due(self.options.save_every) or self._verification_due():
                    self._save_state()
                    self._stop(signal)
                self._verify_if_due()
            for evaluation in self.evaluations:
                evaluation.conclude()
            self.journal.damage_in_all(len(self.loader.damage), self.options.data_dir)
        accuracies = dict(self.evaluation.accuracies)
        return TrainResult(self.step, self.evaluation.last_saved, accuracies, self.ranks.rank)

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

    def _signal(self) -> int:
        """Number of the signal that asked any rank to stop, the same on all ranks; 0: none."""
        return int(self.ranks.max("step/signal", np.array([self.stop.signal], np.int32))[0])

    def _leave(self) -> None:
        """Save the state and stop if asked to; for use between steps where the state is not saved otherwise."""
        signal = self._signal()
        if signal:
            self._save_state()
        self._stop(signal)

    def _check(self) -> None:
        """Stop if asked to; for use where the state has been saved since the last step."""
        self._stop(self.stop.signal)

    def _stop(self, signal: int) -> None:
        if signal:
            self._wait_for_files()
            path = resume.state_path(self.options.prefix)
            raise stopped_by(signal, f"stopped at step {self.step} of {self.total}; {self.again} goes on from {path}")

    def _non_finite(self, batch, loss: np.ndarray) -> InsightError:
        if self.options.ckpt and self.model.is_finite():
            self.evaluation.save(self.step, last=True)
        where = self.evaluation.where_saved()
        keys = self.ranks.gather("batch/keys", np.asarray(batch.keys, np.int64))
        labels = self.ranks.gather("batch/labels", np.asarray(batch.label.asnumpy(), np.int64))
        rows = keys, labels, np.broadcast_to(loss, (len(keys),))
        error = guards.non_finite(self.options.prefix, self.step + 1, rows, where, self.ranks.rank == 0)
        self._wait_for_files()
        return error

    def _wait_for_files(self) -> None:
        """Wait until rank 0 has written its files: horovodrun kills all ranks when the first one ends."""
        self.ranks.barrier("written")

    def _save_state(self, finished: bool = False) -> None:
        """Save the state for ``--resume``; all ranks call it together."""
        with self.journal.pause():
            self._share_damage()
            saved = {name: equal[0] for name, equal in self.learner.arrays().items()}
            meta = self._meta(finished) if self.ranks.rank == 0 else {}
            resume.save(self.options.prefix, meta, saved, self.ranks)

    def _meta(self, finished: bool) -> dict:
        """JSON-serialisable part of the state: all that the next step depends on apart from the arrays."""
        return {
            "step": self.step,
            "total_steps": self.total,
            "finished": finished,
            "devices": self.model.statistics.count,
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

    def _share_damage(self) -> None:
        """Send the damaged records that a rank has read to all ranks, so that rank 0 logs and saves them."""
        if self.ranks.size > 1:
            for damage in self.ranks.objects("damage", self.loader.damage.items()):
                for position, warning in damage:
                    self.loader.note_damage(position, warning)

    def _restore(self, state: resume.State) -> None:
        self.model.restore(state.meta["model"])
        self.journal.restore(state.meta["journal"])
        for evaluation, saved in zip(self.evaluations, [state.meta["evaluation"], *state.meta.get("averages", ())]):
            evaluation.restore(saved)
        if self.learner.averages:
            self.learner.averages.updates = state.meta["updates"]
        for position in state.meta.get("damaged", ()):  # already logged
            self.loader.damage.add(position, "")
        threads = os.environ.get("OMP_NUM_THREADS")
        if threads != state.meta["threads"]:
            was = f"it ran on {state.meta['threads']} threads, now on {threads}"
            self.journal.say(f"note: {was}; sums round differently, so the result is not the same to the bit")
        devices = self.model.statistics.count
        if state.devices not in (0, devices):
            was = f"it ran on {state.devices} devices, now on {devices}"
            self.journal.say(f"note: {was}; sums round differently, and each begins with the mean of the statistics")
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


def _no_check() -> None:
    pass
