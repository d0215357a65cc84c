"""What a run says: InsightFace's lines for people and their scripts, JSONL for programs, curves for TensorBoard."""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Dict, Iterator, Optional

from ..files import atomic
from ..progress import Steps
from .core_share import Cores, Found
from .curves import Curves
from .figures import check_names, means

LR_LINE_EVERY = 1000
ADVICE_AFTER = 10.0  # seconds: where a run does not get its cores, its first log line may be minutes away
DAMAGED_NAMED = 10  # records of a run
_TEXT = {"acc": ("acc", ".6f"), "loss": ("loss", ".4f"), "acc_free": ("acc-nomargin", ".6f")}
_TAGS = {"acc_free": "acc_nomargin"}  # of TensorBoard
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
        self._pending: list = []  # (figures, skipped) of each step of the window
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

    def step(self, step: int, figures: Dict[str, float], lr: float, waited: float, skipped: int = 0) -> None:
        """Record a finished step; every ``frequent`` steps, log the means.

        Parameters
        ----------
        step : int
            Steps done, this one included.
        figures : dict of str to float
            Name to the batch's mean, in the order in which they are logged. A figure that some steps lack is the
            mean over the others.
        lr : float
            Learning rate of the step.
        waited : float
            Seconds that training has waited for data since the run began.
        skipped : int
            1 if the update was skipped (float16: a gradient overflowed).

        Raises
        ------
        ValueError
            A figure has the name of a column of the log, or a name that the log cannot hold.
        """
        check_names(figures)
        self._pending.append(({name: float(value) for name, value in figures.items()}, int(skipped)))
        self._timed += 1
        self._last_waited = waited
        seconds = max(time.perf_counter() - self._mark, 1e-9)
        speed = self._timed * self._batch_size / seconds
        epoch, batch = divmod(step - 1, self._batches)
        if step % LR_LINE_EVERY == 0:
            self.say(f"lr-batch-epoch: {lr:g} {batch} {epoch}")
        main = [f"{name} {figures[name]:.3f}" for name in ("loss", *figures) if name in figures][:1]
        self._bar.update(step, " ".join([*main, f"{speed:,.0f} images/s"]))
        wait = (waited - self._waited) / seconds
        if step % self._frequent:
            if not self._looked and seconds >= ADVICE_AFTER:
                self._advise(self._cores.measure(wait))
            return
        mean, skips = means([figures for figures, _ in self._pending]), sum(skip for _, skip in self._pending)
        found = self._cores.measure(wait)
        left_out = {"skipped": skips} if skips else {}
        self._bar.log(
            f"INFO:root:Epoch[{epoch}] Batch [{batch + 1}]\tSpeed: {speed:.2f} samples/sec"
            + "".join(f"\t{name}={value:{spec}}" for name, value, spec in _in_text(mean))
            + f"\twait={wait:.1%}{found.text}"
            + "".join(f"\t{name}={number}" for name, number in left_out.items())
        )
        columns = {"lr": lr, "speed": speed, "wait": wait}
        if found.share is not None:
            columns["cpu"] = found.share
        self.write("step", step=step, epoch=epoch, **mean, **columns, **left_out)
        self._curves.add(step, **{_TAGS.get(name, name): value for name, value in mean.items()}, **columns)
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
        return {"pending": self._pending, "bytes": os.fstat(self._file.fileno()).st_size}

    def restore(self, state: dict) -> None:
        """Go on within the window that :meth:`state` was taken in."""
        self._pending = [_step_of_state(row) for row in state["pending"]]


def _step_of_state(row: list) -> tuple:
    """(figures, skipped) of a step, as saved; before figures had names, they were loss, acc and acc_free."""
    *values, skipped = row
    figures = values[0] if isinstance(values[0], dict) else dict(zip(("loss", "acc", "acc_free"), values))
    return figures, skipped


def _in_text(mean: dict) -> Iterator[tuple]:
    """(name, value, format) in the order of InsightFace's lines, other figures at the end."""
    known = [name for name in _TEXT if name in mean]
    for name in known + [name for name in mean if name not in _TEXT]:
        text, spec = _TEXT.get(name, (name, ".6g"))
        yield text, mean[name], spec


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
