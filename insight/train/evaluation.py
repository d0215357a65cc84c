"""Verification during training, and which verification is saved under which number."""

from __future__ import annotations

import time

from .. import checkpoint
from ..engines.mxnet import MXNetEngine
from ..verify import verification
from .options import TrainOptions

NEVER, WHEN_BEST, ALWAYS, WHEN_BEST_OVER_ONE = range(4)  # --ckpt


class Evaluation:
    """Keeps the best accuracy, numbers the checkpoints, writes InsightFace's lines.

    Numbers continue behind those that the prefix already holds: nothing is overwritten
    (but with ``--ckpt 3``, whose meaning that is).
    """

    def __init__(self, options: TrainOptions, sets: list, model, journal):
        self.options = options
        self.sets = sets
        self.model = model
        self.journal = journal
        self.accuracies: dict = {}
        self.last_saved = 0
        self._best: tuple = (-1.0, -1.0)
        self._is_best = False
        self._next = max(checkpoint.epochs(options.prefix), default=0) + 1

    def verify(self, step: int) -> None:
        """Evaluate the network as it stands on every target."""
        if not self.sets:
            return
        self.journal.say("testing verification..")
        engine = MXNetEngine(self.model.checkpoint(), self.options.prefix, device=self.model.device)
        for eval_set in self.sets:
            start = time.perf_counter()
            result = verification.verify(engine, eval_set, engine.image_size)
            self.journal.say(f"({2 * result.pairs}, {result.embedding_size})")
            self.journal.say(f"infer time {time.perf_counter() - start:f}")
            self.journal.say(f"[{result.name}][{step}]XNorm: {result.xnorm:f}")
            accuracy, std = result.folds.accuracy, result.folds.std
            self.journal.say(f"[{result.name}][{step}]Accuracy-Flip: {accuracy:.5f}+-{std:.5f}")
            figures = {"accuracy": accuracy, "std": std, "xnorm": result.xnorm}
            self.journal.write("verification", target=result.name, step=step, **figures)
            self.accuracies[result.name] = accuracy
        if step:
            values = list(self.accuracies.values())
            score = (values[-1], sum(values))  # the last target decides, the sum breaks ties
            self._is_best = score >= self._best
            self._best = max(self._best, score)
            self.journal.say(f"[{step}]Accuracy-Highest: {self._best[0]:.5f}")
        self.journal.restart_clock()

    def save(self, step: int, last: bool) -> None:
        """Write a checkpoint if ``--ckpt`` wants this one; the run's last is always written, unless it is 0."""
        mode = self.options.ckpt
        if mode == NEVER or not (mode == ALWAYS or last or (self._is_best and self.sets)):
            return
        number = 1 if mode == WHEN_BEST_OVER_ONE else self._next
        self.journal.say(f"saving {number}")
        path = checkpoint.save(self.options.prefix, number, self.model.checkpoint())
        self.journal.write("saved", step=step, number=number, path=str(path))
        self.last_saved = number
        self._next = number + 1
        self.journal.restart_clock()

    def where_saved(self) -> str:
        """For messages: the newest checkpoint of this run."""
        if not self.last_saved:
            return "no checkpoint was due yet (see --verbose and --ckpt)"
        return f"the last checkpoint is {checkpoint.params_path(self.options.prefix, self.last_saved)}"
