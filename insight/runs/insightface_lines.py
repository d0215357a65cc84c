"""Formatting and parsing of the lines of InsightFace's training logs, which are read by people and scripts.

The format is that of ``train_softmax.py`` and its relatives (deepinsight/insightface@4bc81321 and 9fc3cc9c)::

    INFO:root:Epoch[0] Batch [20]	Speed: 229.50 samples/sec	acc=0.294286	loss=11.5229
    lr-batch-epoch: 0.01 534 15
    [lfw][112000]XNorm: 11.147283
    [lfw][112000]Accuracy-Flip: 0.99517+-0.00450
    saving 56

Lines are written in the format of MXNet 1.9.1 on Python 3, with additional figures at the end. The formats of all
versions are parsed: ``lossvalue`` for ``loss``, a batch ``[20-40]``, and tuples printed by Python 2. Other text before
and after a line is ignored.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

LR_LINE_EVERY = 1000  # steps
TESTING = "testing verification.."

# Name and format in a line of each figure or column. Other figures are written between the two groups.
_FIRST = {"acc": ("acc", ".6f"), "loss": ("loss", ".4f"), "acc_free": ("acc-nomargin", ".6f")}
_LAST = {"wait": ("wait", ".1%"), "cpu": ("cpu", ".0%"), "skipped": ("skipped", ".0f")}
_OTHER_FORMAT = ".6g"
_PARSED_AS = {"acc-nomargin": "acc_free", "lossvalue": "loss", "Train-acc": "acc"}

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_COUNT = r"(\d{1,9})"  # limited, so that steps computed from these numbers fit 64 bits
_BATCH = re.compile(rf"Epoch\[{_COUNT}\] Batch \[(?:\d+-)?{_COUNT}\]\s+Speed: ({_NUMBER}) samples/sec(.*)")
_METRIC = re.compile(rf"([A-Za-z][\w-]*)=({_NUMBER})(%?)")
_RATE = re.compile(rf"lr-batch-epoch:[',\s]*({_NUMBER})[,\s]+{_COUNT}(?!\d)[,\s]+{_COUNT}(?!\d)")
_XNORM = re.compile(rf"\[([^\[\]]+)\]\[{_COUNT}\]XNorm: ({_NUMBER})")
_ACCURACY = re.compile(rf"\[([^\[\]]+)\]\[{_COUNT}\]Accuracy-Flip: ({_NUMBER})(?:\+-({_NUMBER}))?")
_SAVING = re.compile(rf"\bsaving[',\s]+{_COUNT}\b")
_SHARDED = re.compile(rf"\{{fc7_acc\}}[',\s]*{_COUNT}[,\s]+({_NUMBER})")


class BatchLine(NamedTuple):
    """Means over the steps since the previous line.

    Attributes
    ----------
    epoch, batch : int
        The epoch counts from 0, the batch within it from 1.
    speed : float
        In images/s.
    values : dict of str to float
        Figures by name (``acc_free`` for ``acc-nomargin``); ``wait`` and ``cpu`` as shares, 0..1; ``skipped``.
    """

    epoch: int
    batch: int
    speed: float
    values: Dict[str, float]

    def format(self, names: Mapping[str, str] = {}) -> str:
        """Return the line. ``names`` replaces names of figures, such as ``{"loss": "lossvalue"}`` for triplets."""
        head = f"INFO:root:Epoch[{self.epoch}] Batch [{self.batch}]\tSpeed: {self.speed:.2f} samples/sec"
        return "\t".join([head, format_values(self.values, names)] if self.values else [head])

    @classmethod
    def parse(cls, text: str) -> Optional[BatchLine]:
        """Return the first one in a line of a log; None if there is none."""
        match = _BATCH.search(text)
        if match is None:
            return None
        epoch, batch, speed, rest = match.groups()
        metrics = _METRIC.findall(rest)
        values = {_PARSED_AS.get(n, n): float(value) / (100 if percent else 1) for n, value, percent in metrics}
        return cls(int(epoch), int(batch), float(speed), values)


class RateLine(NamedTuple):
    """The learning rate, logged every :data:`LR_LINE_EVERY` steps. Epoch and batch count from 0."""

    lr: float
    batch: int
    epoch: int

    def format(self) -> str:
        """Return the line."""
        return f"lr-batch-epoch: {self.lr:g} {self.batch} {self.epoch}"

    @classmethod
    def parse(cls, text: str) -> Optional[RateLine]:
        """Return the first one in a line of a log; None if there is none."""
        match = _RATE.search(text)
        return match and cls(float(match.group(1)), int(match.group(2)), int(match.group(3)))


class XNormLine(NamedTuple):
    """The mean L2 norm of a verification set's embeddings."""

    target: str
    step: int
    xnorm: float

    def format(self) -> str:
        """Return the line."""
        return f"[{self.target}][{self.step}]XNorm: {self.xnorm:f}"

    @classmethod
    def parse(cls, text: str) -> Iterator[XNormLine]:
        """Return all in a line of a log."""
        return (cls(target, int(step), float(xnorm)) for target, step, xnorm in _XNORM.findall(text))


class AccuracyLine(NamedTuple):
    """Verification accuracy on one set, and its standard deviation over the folds (NaN if the line has none)."""

    target: str
    step: int
    accuracy: float
    std: float

    def format(self) -> str:
        """Return the line."""
        return f"[{self.target}][{self.step}]Accuracy-Flip: {self.accuracy:.5f}+-{self.std:.5f}"

    @classmethod
    def parse(cls, text: str) -> Iterator[AccuracyLine]:
        """Yield all in a line of a log."""
        for target, step, accuracy, std in _ACCURACY.findall(text):
            yield cls(target, int(step), float(accuracy), float(std or "nan"))


class SavingLine(NamedTuple):
    """The number of the checkpoint that is about to be saved, at the step of the last verification."""

    number: int

    def format(self) -> str:
        """Return the line."""
        return f"saving {self.number}"

    @classmethod
    def parse(cls, text: str) -> Optional[SavingLine]:
        """Return the first one in a line of a log; None if there is none."""
        match = _SAVING.search(text)
        return match and cls(int(match.group(1)))


def format_values(values: Dict[str, float], names: Mapping[str, str] = {}) -> str:
    """Format the fields of a batch line, in its order: ``acc=0.250000<tab>loss=2.5000<tab>...``."""
    others = {name: (name, _OTHER_FORMAT) for name in values if name not in _FIRST and name not in _LAST}
    fields = {**_FIRST, **others, **_LAST}
    shown = ((names.get(name, text), values[name], spec) for name, (text, spec) in fields.items() if name in values)
    return "\t".join(f"{text}={value:{spec}}" for text, value, spec in shown)


def parse_sharded_accuracy(text: str) -> Optional[Tuple[int, float]]:
    """Return (step, training accuracy) of a line that only ``train_parall.py`` writes; None for other lines."""
    match = _SHARDED.search(text)
    return match and (int(match.group(1)), float(match.group(2)))


# The following lines are written, but not parsed.


def shape_line(images: int, embedding_size: int) -> str:
    """Return the line with the shape of a verification set's embeddings."""
    return f"({images}, {embedding_size})"


def infer_time_line(seconds: float) -> str:
    """Return the line with the time in seconds that embedding a verification set took."""
    return f"infer time {seconds:f}"


def highest_line(step: int, accuracy: float) -> str:
    """Return the line with the highest accuracy so far on the last verification set."""
    return f"[{step}]Accuracy-Highest: {accuracy:.5f}"


def mining_lines(images: int, begin: int, triplets: int, queued: int, seconds: Sequence[float]) -> List[str]:
    """Return the lines about a bag of images for triplets; see :class:`MinedRow` of :mod:`.jsonl` for the numbers."""
    times = ", ".join(f"{second:f}" for second in seconds)
    return [
        f"eval {images} images.. {begin}",
        f"triplet time stat [{times}]",
        f"found triplets {triplets}",
        f"seq len {queued}",
    ]
