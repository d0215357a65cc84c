"""Lines of InsightFace's training logs, the log for people and their scripts, formatted and parsed here.

The format is that of ``train_softmax.py`` and its relatives (deepinsight/insightface@4bc81321 and 9fc3cc9c)::

    INFO:root:Epoch[0] Batch [20]	Speed: 229.50 samples/sec	acc=0.294286	loss=11.5229
    lr-batch-epoch: 0.01 534 15
    [lfw][112000]XNorm: 11.147283
    [lfw][112000]Accuracy-Flip: 0.99517+-0.00450
    saving 56

Lines are written as by MXNet 1.9.1 on Python 3, with figures of our own at the end. They are parsed as every version
wrote them: ``lossvalue`` for ``loss``, ``[20-40]`` for a batch, a tuple of Python 2's ``print``, and anything before or
after a line.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

LR_LINE_EVERY = 1000  # steps
TESTING = "testing verification.."

# Name of a figure or column to its name in a line and its format. Other figures come between the two groups.
_FIRST = {"acc": ("acc", ".6f"), "loss": ("loss", ".4f"), "acc_free": ("acc-nomargin", ".6f")}
_LAST = {"wait": ("wait", ".1%"), "cpu": ("cpu", ".0%"), "skipped": ("skipped", ".0f")}
_OTHER_FORMAT = ".6g"
_PARSED_AS = {"acc-nomargin": "acc_free", "lossvalue": "loss", "Train-acc": "acc"}

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_COUNT = r"(\d{1,9})"  # numbers that make a step of 64 bits
_BATCH = re.compile(rf"Epoch\[{_COUNT}\] Batch \[(?:\d+-)?{_COUNT}\]\s+Speed: ({_NUMBER}) samples/sec(.*)")
_METRIC = re.compile(rf"([A-Za-z][\w-]*)=({_NUMBER})(%?)")
_RATE = re.compile(rf"lr-batch-epoch:[',\s]*({_NUMBER})[,\s]+{_COUNT}(?!\d)[,\s]+{_COUNT}(?!\d)")
_XNORM = re.compile(rf"\[([^\[\]]+)\]\[{_COUNT}\]XNorm: ({_NUMBER})")
_ACCURACY = re.compile(rf"\[([^\[\]]+)\]\[{_COUNT}\]Accuracy-Flip: ({_NUMBER})(?:\+-({_NUMBER}))?")
_SAVING = re.compile(rf"\bsaving[',\s]+{_COUNT}\b")
_SHARDED = re.compile(rf"\{{fc7_acc\}}[',\s]*{_COUNT}[,\s]+({_NUMBER})")


class BatchLine(NamedTuple):
    """Means over the steps since the line before.

    Attributes
    ----------
    epoch, batch : int
        The epoch counts from 0, its batches from 1.
    speed : float
        Images/s.
    values : dict of str to float
        Figures by their names, ``acc_free`` for ``acc-nomargin``; ``wait`` and ``cpu`` as shares; ``skipped``.
    """

    epoch: int
    batch: int
    speed: float
    values: Dict[str, float]

    def format(self, names: Mapping[str, str] = {}) -> str:
        """The line; ``names`` has those that differ, such as ``{"loss": "lossvalue"}`` of the triplet trainer."""
        head = f"INFO:root:Epoch[{self.epoch}] Batch [{self.batch}]\tSpeed: {self.speed:.2f} samples/sec"
        return "\t".join([head, format_values(self.values, names)] if self.values else [head])

    @classmethod
    def parse(cls, text: str) -> Optional[BatchLine]:
        """The first one in a line of a log."""
        match = _BATCH.search(text)
        if match is None:
            return None
        epoch, batch, speed, rest = match.groups()
        metrics = _METRIC.findall(rest)
        values = {_PARSED_AS.get(n, n): float(value) / (100 if percent else 1) for n, value, percent in metrics}
        return cls(int(epoch), int(batch), float(speed), values)


class RateLine(NamedTuple):
    """The learning rate, each :data:`LR_LINE_EVERY` steps; epoch and batch count from 0."""

    lr: float
    batch: int
    epoch: int

    def format(self) -> str:
        """The line."""
        return f"lr-batch-epoch: {self.lr:g} {self.batch} {self.epoch}"

    @classmethod
    def parse(cls, text: str) -> Optional[RateLine]:
        """The first one in a line of a log."""
        match = _RATE.search(text)
        return match and cls(float(match.group(1)), int(match.group(2)), int(match.group(3)))


class XNormLine(NamedTuple):
    """The mean length of a set's embeddings."""

    target: str
    step: int
    xnorm: float

    def format(self) -> str:
        """The line."""
        return f"[{self.target}][{self.step}]XNorm: {self.xnorm:f}"

    @classmethod
    def parse(cls, text: str) -> Iterator[XNormLine]:
        """All in a line of a log."""
        return (cls(target, int(step), float(xnorm)) for target, step, xnorm in _XNORM.findall(text))


class AccuracyLine(NamedTuple):
    """Verification accuracy on one set, and its standard deviation over the folds; NaN if the line has none."""

    target: str
    step: int
    accuracy: float
    std: float

    def format(self) -> str:
        """The line."""
        return f"[{self.target}][{self.step}]Accuracy-Flip: {self.accuracy:.5f}+-{self.std:.5f}"

    @classmethod
    def parse(cls, text: str) -> Iterator[AccuracyLine]:
        """All in a line of a log."""
        for target, step, accuracy, std in _ACCURACY.findall(text):
            yield cls(target, int(step), float(accuracy), float(std or "nan"))


class SavingLine(NamedTuple):
    """The number of the checkpoint that is saved next, of the step that was verified last."""

    number: int

    def format(self) -> str:
        """The line."""
        return f"saving {self.number}"

    @classmethod
    def parse(cls, text: str) -> Optional[SavingLine]:
        """The first one in a line of a log."""
        match = _SAVING.search(text)
        return match and cls(int(match.group(1)))


def format_values(values: Dict[str, float], names: Mapping[str, str] = {}) -> str:
    """``acc=0.250000<tab>loss=2.5000<tab>...``: the fields of a line, in its order."""
    others = {name: (name, _OTHER_FORMAT) for name in values if name not in _FIRST and name not in _LAST}
    fields = {**_FIRST, **others, **_LAST}
    shown = ((names.get(name, text), values[name], spec) for name, (text, spec) in fields.items() if name in values)
    return "\t".join(f"{text}={value:{spec}}" for text, value, spec in shown)


def parse_sharded_accuracy(text: str) -> Optional[Tuple[int, float]]:
    """(step, training accuracy) of a line that only ``train_parall.py`` writes."""
    match = _SHARDED.search(text)
    return match and (int(match.group(1)), float(match.group(2)))


# Lines of a verification that only people and scripts read.


def shape_line(images: int, embedding_size: int) -> str:
    """The shape of a set's embeddings."""
    return f"({images}, {embedding_size})"


def infer_time_line(seconds: float) -> str:
    """The time that a set took."""
    return f"infer time {seconds:f}"


def highest_line(step: int, accuracy: float) -> str:
    """The highest accuracy so far of the last set."""
    return f"[{step}]Accuracy-Highest: {accuracy:.5f}"


def mining_lines(images: int, begin: int, triplets: int, queued: int, seconds: Sequence[float]) -> List[str]:
    """The lines of a bag: what was embedded, seconds of choosing, embedding and picking so far, what was found."""
    times = ", ".join(f"{second:f}" for second in seconds)
    return [
        f"eval {images} images.. {begin}",
        f"triplet time stat [{times}]",
        f"found triplets {triplets}",
        f"seq len {queued}",
    ]
