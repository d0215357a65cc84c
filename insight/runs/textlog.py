"""The text that InsightFace's training prints, as curves.

It is that of ``train_softmax.py`` and its relatives (deepinsight/insightface@4bc81321 and 9fc3cc9c), stdout and stderr
together or apart, with anything in front of a line::

    INFO:root:Epoch[0] Batch [20-40]	Speed: 229.50 samples/sec	acc=0.294286	lossvalue=11.522861
    [2018-05-09 02:28:45]  lr-batch-epoch: 0.01 534 15
    [lfw][112000]XNorm: 11.147283
    [lfw][112000]Accuracy-Flip: 0.99517+-0.00450
    saving 56

Batches are counted within an epoch there, so a step needs the length of an epoch. Lines ``lr-batch-epoch`` stand
1000 steps apart, and before the verification of their step; either gives it exactly. Where the log has no such
line, it is the largest batch number of an epoch that ended, short of the truth by less than the interval of the
lines.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Callable, Iterable, List, Optional, Tuple

if TYPE_CHECKING:
    from .trainlog import TrainLog

LR_LINE_EVERY = 1000  # steps
_NAMES = {"lossvalue": "loss", "Train-acc": "acc", "acc-nomargin": "acc_free"}
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_COUNT = r"(\d{1,9})"  # numbers that make a step of 64 bits
_BATCH = re.compile(rf"Epoch\[{_COUNT}\] Batch \[(?:\d+-)?{_COUNT}\]\s+Speed: ({_NUMBER}) samples/sec(.*)")
_METRIC = re.compile(rf"([A-Za-z][\w-]*)=({_NUMBER})(%?)")
_RATE = re.compile(rf"lr-batch-epoch:[',\s]*({_NUMBER})[,\s]+{_COUNT}(?!\d)[,\s]+{_COUNT}(?!\d)")
_VERIFIED = re.compile(rf"\[([^\[\]]+)\]\[{_COUNT}\](XNorm|Accuracy-Flip): ({_NUMBER})(?:\+-({_NUMBER}))?")
_SAVING = re.compile(rf"\bsaving[',\s]+{_COUNT}\b")
_SHARDED = re.compile(rf"\{{fc7_acc\}}[',\s]*{_COUNT}[,\s]+({_NUMBER})")  # train_parall.py


def read_text_log(lines: Iterable[Tuple[int, str]], log: TrainLog) -> None:
    """Add what numbered lines say to a log; lines that say nothing are passed over."""
    rates: List[Tuple[float, int, int]] = []  # lr, epoch, batch
    batches: List[Tuple[int, int, dict]] = []  # epoch, batch, figures
    sharded: List[Tuple[int, float]] = []  # step, accuracy
    marks: List[int] = []  # lengths of an epoch by lines that name the same step in both ways
    verified: Optional[int] = None
    for _, line in lines:
        for match in _VERIFIED.finditer(line):
            name, step, what, value, std = match.groups()
            verified = int(step)
            if rates and rates[-1][1] and not verified % LR_LINE_EVERY:
                length, rest = divmod(verified - rates[-1][2] - 1, rates[-1][1])
                marks += [length] if not rest else []
            if what == "XNorm":
                log.target(name).xnorm.add(verified, float(value))
            else:
                log.target(name).accuracy.add(verified, float(value))
                log.target(name).std.add(verified, float(std or "nan"))
        match = _SAVING.search(line)
        if match and verified is not None:
            log.saved.add(verified, int(match.group(1)))
        match = _SHARDED.search(line)
        if match:
            sharded.append((int(match.group(1)), float(match.group(2))))
        match = _RATE.search(line)
        if match:
            rates.append((float(match.group(1)), int(match.group(3)), int(match.group(2))))
        match = _BATCH.search(line)
        if match:
            batches.append((int(match.group(1)), int(match.group(2)), _figures(match)))
    length = epoch_length([rate[1:] for rate in rates], [batch[:2] for batch in batches], marks)
    _place(log, rates, batches, lambda epoch, batch: epoch * length + batch)
    for step, accuracy in sharded if "acc" not in log.curves else ():
        log.add("acc", step, accuracy)


def _figures(match: re.Match) -> dict:
    """Speed and metrics of a batch line; a share may be written in per cent."""
    found = {"speed": float(match.group(3))}
    for name, value, percent in _METRIC.findall(match.group(4)):
        found[_NAMES.get(name, name)] = float(value) / (100 if percent else 1)
    return found


def _place(log: TrainLog, rates: list, batches: list, step: Callable[[int, int], int]) -> None:
    for rate, epoch, batch in rates:
        log.add("lr", step(epoch, batch + 1), rate)  # batches are counted from 0 there
    for epoch, batch, found in batches:
        for name, value in found.items():
            log.add(name, step(epoch, batch), value)


def epoch_length(rates: List[Tuple[int, int]], batches: List[Tuple[int, int]], marks: Iterable[int] = ()) -> int:
    """Batches in an epoch, from the (epoch, batch) of ``lr-batch-epoch`` lines and of batch lines, in order.

    ``marks`` are lengths that were found otherwise. 0 where the log stays within one epoch, so that nothing
    depends on it.
    """
    lengths = Counter(marks)
    for (epoch, batch), (later, batch_later) in zip(rates, rates[1:]):
        if later > epoch:
            length, rest = divmod(LR_LINE_EVERY + batch - batch_later, later - epoch)
            if not rest and length > max(batch, batch_later):
                lengths[length] += 1
    if lengths:
        return lengths.most_common(1)[0][0]
    ended = [batch for (epoch, batch), (later, _) in zip(batches, batches[1:]) if later > epoch]
    known = [batch + 1 for _, batch in rates]
    return max([*ended, *known], default=0)
