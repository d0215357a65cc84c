"""Reading InsightFace's text logs as curves. Logs may contain stdout, stderr or both; see :mod:`.insightface_lines`.

These logs count batches within an epoch, so the length of an epoch is needed to compute a step. ``lr-batch-epoch``
lines are written every 1000 steps, before the verification of the same step. Two of these lines, or one and a
verification, give the exact length. Without such lines, the length is estimated by the largest batch number of a
completed epoch, which is too small by less than the interval of the lines.
"""

from __future__ import annotations

from collections import Counter
from typing import Callable, Iterable, List, Optional, Tuple

from .insightface_lines import (
    LR_LINE_EVERY,
    AccuracyLine,
    BatchLine,
    RateLine,
    SavingLine,
    XNormLine,
    parse_sharded_accuracy,
)
from .trainlog import TrainLog


def read_text_log(lines: Iterable[Tuple[int, str]], log: TrainLog) -> None:
    """Add the content of numbered lines to a log; unknown lines are ignored."""
    rates: List[RateLine] = []
    batches: List[BatchLine] = []
    sharded: List[Tuple[int, float]] = []
    lengths: List[int] = []  # candidates for the epoch length, from a rate line and a verification of the same step
    verified: Optional[int] = None
    for _, line in lines:
        norms, accuracies = list(XNormLine.parse(line)), list(AccuracyLine.parse(line))
        for norm in norms:
            log.target(norm.target).xnorm.add(norm.step, norm.xnorm)
        for accuracy in accuracies:
            log.target(accuracy.target).accuracy.add(accuracy.step, accuracy.accuracy)
            log.target(accuracy.target).std.add(accuracy.step, accuracy.std)
        for verification in (*norms, *accuracies):
            verified = verification.step
            if rates and rates[-1].epoch and not verified % LR_LINE_EVERY:
                length, rest = divmod(verified - rates[-1].batch - 1, rates[-1].epoch)
                lengths += [length] if not rest else []
        if (saving := SavingLine.parse(line)) and verified is not None:
            log.saved.add(verified, saving.number)
        if point := parse_sharded_accuracy(line):
            sharded.append(point)
        if rate := RateLine.parse(line):
            rates.append(rate)
        if batch := BatchLine.parse(line):
            batches.append(batch)
    length = epoch_length([(r.epoch, r.batch) for r in rates], [(b.epoch, b.batch) for b in batches], lengths)
    _place(log, rates, batches, lambda epoch, batch: epoch * length + batch)
    for step, share in sharded if "acc" not in log.curves else ():
        log.add("acc", step, share)


def _place(log: TrainLog, rates: List[RateLine], batches: List[BatchLine], step: Callable[[int, int], int]) -> None:
    """Add learning rates, speeds and figures at their steps."""
    for rate in rates:
        log.add("lr", step(rate.epoch, rate.batch + 1), rate.lr)
    for line in batches:
        for name, value in {"speed": line.speed, **line.values}.items():
            log.add(name, step(line.epoch, line.batch), value)


def epoch_length(rates: List[Tuple[int, int]], batches: List[Tuple[int, int]], lengths: Iterable[int] = ()) -> int:
    """Return the number of batches per epoch; 0 if no line determines it.

    Parameters
    ----------
    rates, batches : list of (int, int)
        (epoch, batch) of ``lr-batch-epoch`` lines and of batch lines, in order.
    lengths : iterable of int
        Further candidates for the length.
    """
    counts = Counter(lengths)
    for (epoch, batch), (later, batch_later) in zip(rates, rates[1:]):
        if later > epoch:
            length, rest = divmod(LR_LINE_EVERY + batch - batch_later, later - epoch)
            if not rest and length > max(batch, batch_later):
                counts[length] += 1
    if counts:
        return counts.most_common(1)[0][0]
    ended = [batch for (epoch, batch), (later, _) in zip(batches, batches[1:]) if later > epoch]
    known = [batch + 1 for _, batch in rates]
    return max([*ended, *known], default=0)
