"""The logs of a training run: InsightFace's lines for people, JSONL for programs, and scalars for TensorBoard."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from ..files import atomic
from ..progress import Steps
from .core_share import Cores, CoreShare
from .insightface_lines import LR_LINE_EVERY, BatchLine, RateLine, mining_lines
from .jsonl import DamagedRow, DamageRow, HistogramRow, MinedRow, Row, StepRow, VerificationRow, format_row, log_path
from .stepfigures import CLASSIFICATION, Histogram, check_names, means
from .tensorboard import EventFile

ADVICE_AFTER = 10.0  # seconds; without its cores, a run may need minutes for its first log line
DAMAGED_NAMED = 10  # maximum number of damaged records that are named in a run
TAIL = 1 << 16  # bytes at the end of the JSONL that are searched for the last complete line


class Journal:
    """Writes log lines to stdout, rows to ``PREFIX-log.jsonl``, and events to ``PREFIX-tensorboard/``.

    Rows are appended to the JSONL. They are defined in :mod:`insight.runs.jsonl`, and the lines in
    :mod:`insight.runs.insightface_lines`.

    Parameters
    ----------
    prefix : str
        Prefix of the checkpoints.
    batch_size : int
        Number of images per step, over all devices.
    batches_per_epoch : int
    frequent : int
        Number of steps between two log lines.
    total_steps : int
        Number of steps of the whole run.
    step : int
        Number of steps that were done before.
    keep_bytes : int, optional
        For a resumed run, the number of bytes of the JSONL to keep; the rest, if any, is removed and written again.
    cores : Cores, optional
        Measures the share of its cores that training gets.
    names : mapping of str to str
        Names of figures in log lines that differ from the objective's, such as ``{"loss": "lossvalue"}``.
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
        names: Mapping[str, str] = {},
    ):
        self.path = log_path(prefix)
        atomic.make_folder(self.path.parent)
        self._file = _open(self.path, keep_bytes)
        self._events = EventFile(prefix, 0 if keep_bytes is None else step + 1)
        self._bar = Steps("training", total_steps, step)
        self._batch_size = batch_size
        self._batches = batches_per_epoch
        self._frequent = frequent
        self._cores = cores or Cores()
        self._names = names
        self._advised = self._measured = False
        self._histograms: Dict[str, Histogram] = {}  # since the last verification
        self._pending: List[Tuple[Dict[str, float], int]] = []  # (figures, skipped) of each step of the window
        self._waited = 0.0  # value of ``waited`` when the clock was restarted
        self._last_waited = 0.0
        self.restart_clock()

    def close(self) -> None:
        """Close the files and remove the progress bar. May be called twice."""
        self._bar.close()
        if not self._file.closed:
            self._file.close()
            self._events.close()

    def write(self, row: Row) -> None:
        """Append a row to the JSONL."""
        self._file.write(format_row(row, time.time()) + "\n")
        self._file.flush()

    def say(self, line: str) -> None:
        """Print a line to stdout, without buffering."""
        self._bar.say(line)

    def step(
        self, step: int, figures: Dict[str, Union[float, Histogram]], lr: float, waited: float, skipped: int = 0
    ) -> None:
        """Record a finished step, and log means every ``frequent`` steps.

        Parameters
        ----------
        step : int
            Number of steps done, including this one.
        figures : dict of str to float or Histogram
            Mean over the batch of each figure, in logging order. If a figure is missing in some steps, its mean over
            the other steps is logged. Histograms are accumulated for :meth:`log_histograms`.
        lr : float
            Learning rate of the step.
        waited : float
            Seconds that training has waited for data since the run began.
        skipped : int
            1 if the update was skipped because a float16 gradient overflowed, otherwise 0.

        Raises
        ------
        InsightError
            A log cannot hold the name of a figure.
        """
        check_names(figures)
        for name, figure in figures.items():
            if isinstance(figure, Histogram):
                before = self._histograms.get(name)
                self._histograms[name] = before.plus(figure) if before else figure
        figures = {name: float(value) for name, value in figures.items() if not isinstance(value, Histogram)}
        self._pending.append((figures, int(skipped)))
        self._timed += 1
        self._last_waited = waited
        seconds = max(time.perf_counter() - self._mark, 1e-9)
        speed = self._timed * self._batch_size / seconds
        wait = (waited - self._waited) / seconds
        if step % LR_LINE_EVERY == 0:
            epoch, batch = divmod(step - 1, self._batches)
            self.say(RateLine(lr, batch, epoch).format())
        shown = [f"{name} {figures[name]:.3f}" for name in ("loss", *figures) if name in figures][:1]
        self._bar.update(step, " ".join([*shown, f"{speed:,.0f} images/s"]))
        if step % self._frequent == 0:
            self._log_window(step, lr, speed, wait)
        elif not self._measured and seconds >= ADVICE_AFTER:
            self._advise(self._cores.measure(wait))

    def _log_window(self, step: int, lr: float, speed: float, wait: float) -> None:
        """Log means over the steps since the previous line, and begin a new window."""
        epoch, batch = divmod(step - 1, self._batches)
        figures = means([figures for figures, _ in self._pending])
        skipped = sum(skipped for _, skipped in self._pending)
        cores = self._cores.measure(wait)
        values = {**figures, "wait": wait, **cores.low, **({"skipped": skipped} if skipped else {})}
        self._bar.log(BatchLine(epoch, batch + 1, speed, values).format(self._names))
        self.write(StepRow(step, epoch, figures, lr, speed, wait, cores.share, skipped))
        scalars = {**figures, "lr": lr, "speed": speed, "wait": wait}
        self._events.add(step, scalars if cores.share is None else {**scalars, "cpu": cores.share})
        self._advise(cores)
        self._pending = []
        self.restart_clock()

    def _advise(self, cores: CoreShare) -> None:
        """Print the advice about a low share of the cores, once per run."""
        self._measured = True
        if cores.advice and not self._advised:
            self._advised = True
            self.say(f"note: {cores.advice}")

    def verified(self, step: int, target: str, accuracy: float, std: float, xnorm: float) -> None:
        """Log the verification on a target to the JSONL and TensorBoard."""
        self.write(VerificationRow(target, step, accuracy, std, xnorm))
        self._events.add(step, {f"{target}/accuracy": accuracy, f"{target}/xnorm": xnorm})

    def log_histograms(self, step: int) -> None:
        """Log the histograms of the steps since the last verification to the JSONL, and begin new ones."""
        for name, (low, high, counts) in self._histograms.items():
            self.write(HistogramRow(name, step, low, high, counts))
        self._histograms = {}

    def mined(self, step: int, images: int, begin: int, triplets: int, queued: int, seconds: Tuple[float, ...]) -> None:
        """Log the triplets found in a bag of images; see :class:`insight.feed.samplers.sampler.Mined`."""
        for line in mining_lines(images, begin, triplets, queued, seconds):
            self.say(line)
        self.write(MinedRow(step, images, begin, triplets, queued, [round(second, 3) for second in seconds]))

    def damaged(self, step: int, key: int, warning: str, count: int) -> None:
        """Log a record that decodes with a warning. ``count`` is its number in the run; only the first are logged."""
        if count <= DAMAGED_NAMED:
            self.say(f"record {key} is damaged and used as decoded: {warning}")
            self.write(DamagedRow(step, key, warning))

    def damage_in_all(self, count: int, data_dir: str) -> None:
        """At the end of the run, log the number of damaged records if not all were logged."""
        if count > DAMAGED_NAMED:
            self.say(
                f"{count} damaged records were used as decoded; insight dataset-check {data_dir} --deep names them"
            )
            self.write(DamageRow(count))

    def restart_clock(self) -> None:
        """Begin a new window for the measurement of speed, waiting and cores."""
        self._mark = time.perf_counter()
        self._waited = self._last_waited
        self._timed = 0
        self._cores.restart()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Exclude the time of the block, such as a verification or a save, from speed and cpu."""
        start = time.perf_counter()
        try:
            with self._cores.pause():
                yield
        finally:
            self._mark += time.perf_counter() - start

    def state(self) -> dict:
        """Sync the JSONL to disk; return a JSON-serializable state for :meth:`restore` and ``keep_bytes``."""
        self._file.flush()
        os.fsync(self._file.fileno())
        histograms = {name: list(histogram) for name, histogram in self._histograms.items()}
        size = os.fstat(self._file.fileno()).st_size
        return {"pending": list(self._pending), "histograms": histograms, "bytes": size}

    def restore(self, state: dict) -> None:
        """Restore the window and the histograms from :meth:`state`."""
        self._pending = [_restored(*step) for step in state["pending"]]
        self._histograms = {name: Histogram(*values) for name, values in state.get("histograms", {}).items()}


def _restored(*step) -> Tuple[Dict[str, float], int]:
    """Return (figures, skipped) of a step in a state; states of earlier versions have figures without names."""
    *figures, skipped = step
    if len(figures) == len(CLASSIFICATION):
        return dict(zip(CLASSIFICATION, figures)), skipped
    return figures[0], skipped


def _open(path: Path, keep_bytes: Optional[int]) -> IO[str]:
    """Open the JSONL for appending, truncated to ``keep_bytes``, and without an incomplete last line."""
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
