"""What a run says: InsightFace's lines for people and their scripts, JSONL for programs, curves for TensorBoard."""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator, Optional

from ..files import atomic
from ..progress import Steps
from .core_share import Cores, Found
from .curves import Curves

LR_LINE_EVERY = 1000
ADVICE_AFTER = 10.0  # seconds: where a run does not get its cores, its first log line may be minutes away
DAMAGED_NAMED = 10  # records of a run
TAIL = 1 << 16  # bytes that are searched for the end of the last whole line


class Journal:
    """Log lines on the terminal, ``PREFIX-log.jsonl`` beside the checkpoints, ``PREFIX-tensorboard/``.

    The JSONL is appended to. Kinds of objects: ``start``, ``step``, ``verification``, ``saved``, and where records are
    damaged ``damaged`` and ``damage``; a figure that is not finite is null there.

    Parameters
    ----------
    prefix : str
        Of the checkpoints.
    batch_size : int
        Images a step, over all devices.
    batches_per_epoch : int
    frequent : int
        Steps between two log lines.
    total_steps : int
        Length of the run.
    step : int
        Steps that were done before.
    keep_bytes : int, optional
        A resumed run's: how much of the JSONL stays, the rest is written again. A shorter file stays as it is.
    cores : Cores, optional
        Counts the share of its cores that training gets.
    """

    def __init__(
        self,
        prefix: str,
        batch_size: int,
        batches_per_epoch: int,
        frequent: int,
        total_steps: int,
        step: int = 0,
        keep_bytes: Optional[int] = None,
        cores: Optional[Cores] = None,
    ):
        self.path = Path(f"{prefix}-log.jsonl")
        atomic.make_folder(self.path.parent)
        self._file = _open(self.path, keep_bytes)
        self._curves = Curves(prefix, 0 if keep_bytes is None else step + 1)
        self._bar = Steps("training", total_steps, step)
        self._batch_size = batch_size
        self._batches = batches_per_epoch
        self._frequent = frequent
        self._cores = cores or Cores()
        self._advised = self._looked = False
        self._pending: list = []  # of the window: (loss, acc, acc_free, skipped) a step
        self._waited = 0.0  # the caller's count when the clock was started
        self._last_waited = 0.0
        self.restart_clock()

    def close(self) -> None:
        """Close the files and take the bar away; may be called twice."""
        self._bar.close()
        if not self._file.closed:
            self._file.close()
            self._curves.close()

    def write(self, kind: str, **values) -> None:
        """Append one object to the JSONL."""
        values = {name: _or_null(value) for name, value in values.items()}
        self._file.write(json.dumps({"kind": kind, "time": round(time.time(), 3), **values}) + "\n")
        self._file.flush()

    def say(self, line: str) -> None:
        """A line for people, on stdout, at once."""
        self._bar.say(line)

    def step(
        self, step: int, loss: float, acc: float, acc_free: float, lr: float, waited: float, skipped: int = 0
    ) -> None:
        """Take note of a finished step; every ``frequent`` steps, log their mean.

        Parameters
        ----------
        step : int
            Steps done, this one included.
        loss, acc, acc_free : float
            The batch's mean loss, accuracy with the margin, and accuracy without.
        lr : float
            Its learning rate.
        waited : float
            Seconds that training has waited for data since it began, all in all.
        skipped : int
            1 where its update was left out (float16: a gradient overflowed).
        """
        self._pending.append((float(loss), float(acc), float(acc_free), int(skipped)))
        self._timed += 1
        self._last_waited = waited
        seconds = max(time.perf_counter() - self._mark, 1e-9)
        speed = self._timed * self._batch_size / seconds
        epoch, batch = divmod(step - 1, self._batches)
        if step % LR_LINE_EVERY == 0:
            self.say(f"lr-batch-epoch: {lr:g} {batch} {epoch}")
        self._bar.update(step, f"loss {loss:.3f} {speed:,.0f} images/s")
        wait = (waited - self._waited) / seconds
        if step % self._frequent:
            if not self._looked and seconds >= ADVICE_AFTER:
                self._advise(self._cores.measure(wait))
            return
        loss, acc, acc_free, skips = (_in_order(column) for column in zip(*self._pending))
        count = len(self._pending)
        loss, acc, acc_free = loss / count, acc / count, acc_free / count
        found = self._cores.measure(wait)
        left_out = {"skipped": int(skips)} if skips else {}
        self._bar.log(
            f"INFO:root:Epoch[{epoch}] Batch [{batch + 1}]\tSpeed: {speed:.2f} samples/sec\tacc={acc:.6f}"
            f"\tloss={loss:.4f}\tacc-nomargin={acc_free:.6f}\twait={wait:.1%}{found.text}"
            + "".join(f"\t{name}={number}" for name, number in left_out.items())
        )
        means = {"loss": loss, "acc": acc, "lr": lr, "speed": speed, "wait": wait}
        if found.share is not None:
            means["cpu"] = found.share
        self.write("step", step=step, epoch=epoch, acc_free=acc_free, **means, **left_out)
        self._curves.add(step, acc_nomargin=acc_free, **means)
        self._advise(found)
        self._pending = []
        self.restart_clock()

    def _advise(self, found: Found) -> None:
        """Say once what to do about a low share of the cores."""
        self._looked = True
        if found.advice and not self._advised:
            self._advised = True
            self.say(f"note: {found.advice}")

    def verified(self, step: int, target: str, accuracy: float, std: float, xnorm: float) -> None:
        """Note a target's figures in JSONL and curves."""
        self.write("verification", target=target, step=step, accuracy=accuracy, std=std, xnorm=xnorm)
        self._curves.add(step, **{f"{target}/accuracy": accuracy, f"{target}/xnorm": xnorm})

    def damaged(self, step: int, key: int, warning: str, count: int) -> None:
        """Log a record that decodes with a warning, the ``count``-th of the run; only the first ones are named."""
        if count <= DAMAGED_NAMED:
            self.say(f"record {key} is damaged and used as decoded: {warning}")
            self.write("damaged", step=step, key=key, warning=warning)

    def damage_in_all(self, count: int, data_dir: str) -> None:
        """At the end of the run, log the number of damaged records if not all were named."""
        if count > DAMAGED_NAMED:
            self.say(
                f"{count} damaged records were used as decoded; insight dataset-check {data_dir} --deep names them"
            )
            self.write("damage", count=count)

    def restart_clock(self) -> None:
        """Speed and wait count from here."""
        self._mark = time.perf_counter()
        self._waited = self._last_waited
        self._timed = 0
        self._cores.restart()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Time within, of a verification or a save, is none of training's: Speed and cpu leave it out."""
        start = time.perf_counter()
        try:
            with self._cores.pause():
                yield
        finally:
            self._mark += time.perf_counter() - start

    def state(self) -> dict:
        """What :meth:`restore` and ``keep_bytes`` need, for JSON; the JSONL is on the disk by then."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"pending": [list(figures) for figures in self._pending], "bytes": os.fstat(self._file.fileno()).st_size}

    def restore(self, state: dict) -> None:
        """Go on within the window that :meth:`state` was taken in."""
        self._pending = [tuple(figures) for figures in state["pending"]]


def _in_order(figures: tuple) -> float:
    """Their sum from left to right; the built-in's order of rounding depends on Python's version."""
    total = 0.0
    for figure in figures:
        total += figure
    return total


def _or_null(value):
    """JSON knows neither NaN nor infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _open(path: Path, keep_bytes: Optional[int]) -> IO[str]:
    """The JSONL for appending, cut to ``keep_bytes``, without the half line that a full disk may have left."""
    if path.exists():
        with open(path, "rb+") as file:
            size = file.seek(0, os.SEEK_END)
            kept = size if keep_bytes is None else min(size, keep_bytes)
            start = max(0, kept - TAIL)
            file.seek(start)
            tail = file.read(kept - start)
            if tail and not tail.endswith(b"\n"):
                kept = start + tail.rfind(b"\n") + 1
            if kept < size:
                file.truncate(kept)
    return open(path, "a", encoding="utf-8")
