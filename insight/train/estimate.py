"""``--estimate`` of the training commands: the duration of a run on this machine, measured on a few of its steps."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from datetime import timedelta
from typing import Callable, Dict, NamedTuple

import numpy as np

from .._mxnet import mx
from ..engines.mxnet import MXNetEngine
from ..ranks.connection import joined_ranks
from ..runs import core_share
from ..runs.insightface_lines import format_values
from .learner import Learner
from .resume import BY_FLAG, Ways
from .start import Setup, prepare
from .train_options import TrainOptions

WARM_UP = 2  # steps that do not count: they allocate memory and select kernels
STEPS = 12  # at most, the warm-up included
SECONDS = 10.0  # stop when the steps have taken this long; there are at least two, and the last one always counts


class Estimate(NamedTuple):
    """Estimated duration of a run.

    Attributes
    ----------
    images_per_second : float
        Training speed over all devices; 0 if no step is left.
    steps : int
        Steps left.
    verifications : int
        Verifications left, including that of step 0.
    training, verifying : float
        Seconds for all of these steps and for all of these verifications.
    teaching : float
        Seconds for computing the teacher's embeddings; 0 if they exist already.
    """

    images_per_second: float
    steps: int
    verifications: int
    training: float
    verifying: float
    teaching: float = 0.0

    @property
    def seconds(self) -> float:
        """Total duration in seconds, without the time for saving."""
        return self.training + self.verifying + self.teaching

    def describe(self) -> str:
        """One line for the log; its last but one word is the total number of seconds."""
        what = f"{self.steps} steps"
        if self.verifying:
            what += f" in {clock(self.training)}, {self.verifications} verifications in {clock(self.verifying)}"
        if self.teaching:
            what += f", the teacher's embeddings in {clock(self.teaching)}"
        return f"estimate: {self.images_per_second:.1f} images/s; {what}; {clock(self.seconds)}, {self.seconds:.0f} s"


def estimate(options: TrainOptions, say: Callable[[str], None] = print, ways: Ways = BY_FLAG) -> Estimate:
    """Time a few steps of a run and estimate its duration. Writes no file.

    With ``--resume``, the estimate is for the rest of the run. Steps with ``--freeze-backbone-steps`` are faster than
    the timed ones. If there are several ranks, all take the steps together, and only rank 0 reports.

    Parameters
    ----------
    options : TrainOptions
    say : callable str -> None
        Called with each line: what is trained, what was measured, the estimate.
    ways : Ways
        How the command resumes, in messages.

    Raises
    ------
    InsightError
        As :func:`insight.train.loop.train`.
    """
    with joined_ranks() as ranks:
        return _estimate(prepare(options, ranks, ways), say if ranks.rank == 0 else lambda line: None)


def _estimate(setup: Setup, say: Callable[[str], None]) -> Estimate:
    if setup.done:
        nothing = Estimate(0.0, 0, 0, 0.0, 0.0)
        say(nothing.describe())
        return nothing
    learner = Learner(setup)
    for note in learner.notes:
        say(f"note: {note}")
    for line in learner.describe():
        say(line)
    step_seconds = _time_steps(learner, say)
    count = verifications(setup) if learner.sets else 0
    verifying = count * sum(_time_verifications(learner, say).values()) / setup.ranks.size if count else 0.0
    steps = setup.total_steps - setup.first_step
    training, teaching = steps * step_seconds, _time_teacher(setup, say)
    result = Estimate(setup.batch_size / step_seconds, steps, count, training, verifying, teaching)
    say(result.describe())
    return result


def _time_steps(learner: Learner, say: Callable[[str], None]) -> float:
    """Median seconds of a step, plus the mean seconds per step of mining bags for triplets."""
    seconds: list = []
    setup, loader = learner.setup, learner.setup.loader
    with closing(learner.batches(setup.first_step)) as batches:
        while len(seconds) < 2 or (len(seconds) < STEPS and _longest(setup, seconds) < SECONDS):
            if len(seconds) < 2:  # from the second step on
                watched, waited = core_share.of_run(setup.devices, setup.options.num_workers), loader.waited
            start, mining = time.perf_counter(), loader.mining
            learner.learn(next(batches), setup.first_step, frozen=False)
            mx.nd.waitall()
            seconds.append(time.perf_counter() - start - (loader.mining - mining))
    wait = (loader.waited - waited) / sum(seconds[1:])
    cores = watched.measure(wait)
    fields = format_values({"wait": wait, **cores.low})
    timed = seconds[WARM_UP:] or seconds[-1:]
    counted = f"{len(timed)} step{'s' * (len(timed) > 1)} of {setup.batch_size} images"
    say(f"measured: {counted}, {min(timed):.2f} to {max(timed):.2f} s each, {fields}")
    if cores.advice:
        say(f"note: {cores.advice}")
    if not loader.mined_batches:
        return statistics.median(timed)
    mining = loader.mining / loader.mined_batches
    say(f"measured: bags take {mining:.2f} s a step: {loader.mining:.1f} s for {loader.mined_batches} batches")
    return statistics.median(timed) + mining


def _longest(setup: Setup, seconds: list) -> float:
    """Seconds of the steps so far on the slowest rank."""
    return float(setup.ranks.max("estimate/seconds", np.array([sum(seconds)]))[0])


def verifications(setup: Setup) -> int:
    """Number of verifications left: every ``--verbose`` steps, at the end, and at step 0 unless the run is resumed.

    With ``--ema``, the averages are verified at the same steps, except step 0.
    """
    every, total, first = setup.options.verbose, setup.total_steps, setup.first_step
    due = {*range(every, total, every), total}
    left = sum(step > first for step in due)
    return left * (2 if setup.options.ema else 1) + (first == 0)


def _time_verifications(learner: Learner, say: Callable[[str], None]) -> Dict[str, float]:
    """Seconds per verification of each set, from the speed of the inference network on a batch."""
    setup = learner.setup
    engine = MXNetEngine(learner.model.network_checkpoint(), setup.options.prefix, device=setup.devices[0])
    rate = _rate(engine)
    seconds = {each.name: 2 * len(each.source) / rate for each in learner.sets}  # each image and its mirror image
    for each in learner.sets:
        say(f"measured: a verification of {each.name}, {len(each.source)} images, takes {clock(seconds[each.name])}")
    return seconds


def _time_teacher(setup: Setup, say: Callable[[str], None]) -> float:
    """Seconds for computing the teacher's embeddings; 0 if they exist already."""
    teacher = setup.teacher
    if teacher is None or teacher.engine is None:
        return 0.0
    seconds = teacher.passes / _rate(teacher.engine)
    say(f"measured: the teacher embeds {len(setup.faces)} images, {teacher.passes} passes, in {clock(seconds)}, once")
    return seconds


def _rate(engine) -> float:
    """Images per second of an engine on a full batch."""
    images = np.zeros((engine.batch_size, 3, *engine.image_size), np.uint8)
    for _ in range(2):  # the first call allocates and selects kernels
        start = time.perf_counter()
        engine(images)
    return engine.batch_size / (time.perf_counter() - start)


def clock(seconds: float) -> str:
    """``0:01:48``, rounded to seconds, or ``2 days, 3:04:05``."""
    return str(timedelta(seconds=round(seconds)))
