"""Verification during training, and which checkpoints are saved, under which numbers."""

from __future__ import annotations

import math
import time
from typing import Callable, ClassVar, NamedTuple, Optional

import numpy as np

from .. import checkpoint
from .._mxnet import release_freed_memory
from ..errors import InsightError
from ..ranks.group import Ranks
from ..ranks.single import ALONE
from ..runs import insightface_lines
from ..runs.insightface_lines import AccuracyLine, SavingLine, XNormLine
from ..runs.jsonl import SavedRow
from ..verify import verification
from .train_options import TrainOptions

NEVER, WHEN_BEST, ALWAYS, WHEN_BEST_OVER_ONE = range(4)  # --ckpt
RULE_WITHOUT_TARGETS = {
    NEVER: "--ckpt 0 saves nothing",
    WHEN_BEST: "--ckpt 1 saves the last state only (2: one each --verbose steps)",
    ALWAYS: "--ckpt 2 saves one each --verbose steps",
    WHEN_BEST_OVER_ONE: "--ckpt 3 saves the last state only (2: one each --verbose steps)",
}

COLLAPSED_VERIFICATIONS = 3  # consecutive verifications at chance level that stop the run
COLLAPSED_MARGIN = 0.05  # upper limit of the margin in chance_bound
SETTLED_STEPS = 100  # steps; before, the running statistics of batch norm still lag behind the weights
NOTED_FALL = 10  # a fall of more than a tenth of --max-fall is logged
TELLING_PAIRS = 200  # with fewer pairs, a network that learns may be at chance level by accident


class Best(NamedTuple):
    """The best verification so far."""

    step: int
    number: int  # of its checkpoint; 0: not saved
    accuracies: dict  # target name to accuracy, in the order of --target

    @property
    def score(self) -> tuple:
        """Sort key: the accuracy on the last target, ties broken by the sum over all targets."""
        values = list(self.accuracies.values())
        return values[-1], sum(values)


class Evaluation:
    """Verifies the model, tracks the best accuracy, saves numbered checkpoints, and stops a run that has collapsed.

    It logs InsightFace's lines. A subclass may verify another model of the run: ``SUFFIX`` is appended to the prefix of
    its checkpoints and to its targets' names, ``TITLE`` is its name in messages, and ``ROW`` the log's row class for
    its checkpoints. A class with a ``SUFFIX`` never stops the run.

    Checkpoint numbers continue after those that exist under the prefix, so none is overwritten, except number 1 with
    ``--ckpt 3``.

    Parameters
    ----------
    options : TrainOptions
    sets : list of verification.EvalSet
    model : insight.train.model.Model
    journal : insight.runs.journal.Journal
    check : callable
        Called before each batch of a verification; may raise to stop it.
    counts_start : bool
        Whether step 0 counts as a checkpoint: it may be the best one, and is saved then.
    ranks : Ranks
        The processes of the run. Each verifies a share of the images; all come to the same decisions and save together.
    again : str
        How to resume a stopped run, in messages.

    Attributes
    ----------
    accuracies : dict
        Target name to the accuracy of the last verification.
    last_verified : int
        Step of the last finished verification; -1 before the first one.
    last_saved : int
        Number of the newest checkpoint of this run; 0 before the first one.
    """

    SUFFIX: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""
    ROW: ClassVar[type] = SavedRow

    def __init__(
        self,
        options: TrainOptions,
        sets: list,
        model,
        journal,
        check: Callable[[], None] = lambda: None,
        counts_start: bool = False,
        ranks: Ranks = ALONE,
        again: str = "--resume",
    ):
        self.options = options
        self.prefix = options.prefix + self.SUFFIX
        self.counts_start = counts_start
        self.sets = sets
        self.model = model
        self.journal = journal
        self.check = check
        self.ranks = ranks
        self.again = again
        self.accuracies: dict = {}
        self.last_verified = -1
        self.last_saved = 0
        self._saved_step = -1
        self._best: Optional[Best] = None
        self._start: dict = {}  # target name to accuracy before the first step
        self._next = max(checkpoint.epochs(self.prefix), default=0) + 1
        self._collapsed = 0

    def verify(self, step: int) -> None:
        """Verify the current network on every target.

        Raises
        ------
        InsightError
            No target is better than chance for the third time in a row, or one has fallen by more than ``--max-fall``.
            Only targets with ``TELLING_PAIRS`` pairs or more count.
        """
        if self.sets:
            with self.journal.pause():
                results = self._measure(step)
                release_freed_memory()
            for r in results:
                self.journal.verified(step, r.name + self.SUFFIX, r.folds.accuracy, r.folds.std, r.xnorm)
            self.accuracies = {r.name: r.folds.accuracy for r in results}
            if step or self.counts_start:
                self._compare(step)
            self._start = self._start if step else self.accuracies
        elif self.last_verified < 0:
            rule = RULE_WITHOUT_TARGETS[self.options.ckpt]
            self.journal.say(f"no verification set: nothing can be verified; {rule}")
        self.last_verified = step
        if not self.SUFFIX:
            self._refuse_collapse(step)
            self._check_fall(step)

    def _refuse_collapse(self, step: int) -> None:
        self._collapsed = self._collapsed + 1 if self._at_chance(step) else 0
        if self._collapsed == COLLAPSED_VERIFICATIONS:
            raise InsightError(
                f"step {step}: the network has collapsed: {_listed(self.accuracies)}, no better than chance for the "
                "third verification in a row. Train with --loss-type 0 (softmax) first and start this loss from its "
                "checkpoint by --pretrained, or lower --lr; if softmax collapses too, check the labels and the "
                f"alignment (insight dataset-check). The run's state is kept: {self.again} goes on with it"
            )

    def _measure(self, step: int) -> list:
        self.journal.say(insightface_lines.TESTING)
        network = self.model.embedder(self.prefix, self.check)
        results = []
        for eval_set in self.sets:
            start = time.perf_counter()
            result = verification.verify(network, eval_set, self.model.image_size, ranks=self.ranks)
            self.journal.say(insightface_lines.shape_line(2 * result.pairs, result.embedding_size))
            self.journal.say(insightface_lines.infer_time_line(time.perf_counter() - start))
            target = result.name + self.SUFFIX
            self.journal.say(XNormLine(target, step, result.xnorm).format())
            self.journal.say(AccuracyLine(target, step, result.folds.accuracy, result.folds.std).format())
            results.append(result)
        return results

    def _compare(self, step: int) -> None:
        now = Best(step, 0, self.accuracies)
        if self._best is None or now.score >= self._best.score:
            self._best = now
        if not self.SUFFIX:
            self.journal.say(insightface_lines.highest_line(step, self._best.score[0]))

    def _telling(self) -> list:
        """Verification sets that are large enough to judge a network by."""
        return [s for s in self.sets if len(s.issame) >= TELLING_PAIRS]

    def _at_chance(self, step: int) -> bool:
        """Whether the accuracy is at chance level on every set that is large enough."""
        telling = self._telling()
        if step < SETTLED_STEPS or not telling:
            return False
        return all(self.accuracies[s.name] <= chance_bound(s.issame) for s in telling)

    def _check_fall(self, step: int) -> None:
        """Stop or log if an accuracy has fallen too far below that before the first step."""
        most, start = self.options.max_fall, self._start
        fallen = {s.name: 100 * (start[s.name] - self.accuracies[s.name]) for s in self._telling() if s.name in start}
        if not most or not fallen:
            return
        name = max(fallen, key=fallen.__getitem__)
        fall, now, before = fallen[name], self.accuracies[name], start[name]
        what = f"{name} is {now:.5f}, {fall:.2f} points below the {before:.5f} of step 0"
        if fall > most:
            best = f"the best is {_named(self._best.number)}, step {self._best.step}" if self._best else ""
            raise InsightError(
                f"step {step}: {what}, more than --max-fall {most:g}; {best or 'nothing was saved'}; start again from "
                "--pretrained with a lower --lr or with --classification-weight; "
                f"{self.again} with a larger --max-fall goes on"
            )
        if fall > most / NOTED_FALL:
            self.journal.say(f"note: step {step}: {what}; --max-fall {most:g} stops the run")

    def save(self, step: int, last: bool) -> None:
        """Save a checkpoint if ``--ckpt`` asks for it. Unless that is 0, the last one of a run is always saved.

        A step is saved only once, and step 0 only if it is the best so far.
        """
        mode = self.options.ckpt
        is_best = self._best is not None and self._best.step == step
        if not step and not is_best:
            return
        if mode != NEVER and step != self._saved_step and (mode == ALWAYS or last or is_best):
            number = 1 if mode == WHEN_BEST_OVER_ONE and is_best else self._next
            self.journal.say(f"saving {self.TITLE}{number}" if self.SUFFIX else SavingLine(number).format())
            with self.journal.pause():
                path = checkpoint.save(self.prefix, number, self.model.checkpoint(), self.ranks)
            self.journal.write(self.ROW(step, number, str(path)))
            self.last_saved, self._saved_step = number, step
            self._next = max(self._next, number + 1)
            if is_best:
                self._best = self._best._replace(number=number)

    def conclude(self) -> None:
        """Log the best and the last checkpoint at the end of the run."""
        last = f"last: {_named(self.last_saved)}, step {self.last_verified}"
        if self._best is None:
            self.journal.say(f"{self.TITLE}{last}, not verified")
        else:
            best = f"best: {_named(self._best.number)}, step {self._best.step}, {_listed(self._best.accuracies)}"
            self.journal.say(f"{self.TITLE}{best}; {last}, {_listed(self.accuracies)}")

    def where_saved(self) -> str:
        """Describe the newest checkpoint of this run, for messages."""
        if not self.last_saved:
            return "no checkpoint was due yet (see --verbose and --ckpt)"
        return f"the last checkpoint is {checkpoint.params_path(self.prefix, self.last_saved)}"

    def state(self) -> dict:
        """JSON-serialisable state for :meth:`restore`.

        The count of collapsed verifications is left out, so that a collapsed run that is resumed gets as many
        verifications again to recover.
        """
        return {
            "best": list(self._best) if self._best else None,
            "start": self._start,
            "accuracies": self.accuracies,
            "next_number": self._next,
            "last_saved": self.last_saved,
            "saved_step": self._saved_step,
            "last_verified": self.last_verified,
        }

    def restore(self, state: dict) -> None:
        """Restore :meth:`state`, with the checkpoint numbers: later files of the run are written again."""
        self._best = Best(*state["best"]) if state["best"] else None
        self._start = dict(state.get("start", {}))
        self.accuracies = dict(state["accuracies"])
        self._next = state["next_number"]
        self.last_saved = state["last_saved"]
        self._saved_step = state["saved_step"]
        self.last_verified = state["last_verified"]


def chance_bound(issame: np.ndarray) -> float:
    """Accuracy up to which a network counts as guessing.

    It is the share of the more frequent kind of pair, which a constant answer reaches, plus three standard deviations
    of the accuracy over P pairs, at most 0.05.

    Parameters
    ----------
    issame : numpy.ndarray
        (P,) bool: whether the two images of a pair show one identity.
    """
    share = max(np.mean(issame), 1 - np.mean(issame))
    return float(share + min(COLLAPSED_MARGIN, 3 * math.sqrt(share * (1 - share) / len(issame))))


def _listed(accuracies: dict) -> str:
    return ", ".join(f"{target} {accuracy:.5f}" for target, accuracy in accuracies.items())


def _named(number: int) -> str:
    return f"number {number}" if number else "not saved (--ckpt 0)"
