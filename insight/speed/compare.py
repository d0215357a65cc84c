"""Benchmark models in all runtimes that support them.

Each row is measured in a separate process, because runtimes read the number of threads only when they start, and idle
threads of one runtime keep spinning while another one runs. Rounds are interleaved (A B C A B C), so that a temporary
slowdown of the machine affects all rows equally. A checkpoint is converted once, before its first measurement, also in
a separate process.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from contextlib import closing
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..doctor.hardware import processor
from ..doctor.packages import installed_builds, installed_version
from ..errors import InsightError
from ..export import parity
from ..machine.child import run_child
from ..machine.cores import physical_cores
from ..progress import track
from .rows import PLAIN, Row, file_of, rows
from .table import BenchmarkReport, Line

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino", "ncnn", "numpy")  # packages whose versions are reported


def benchmark(
    models: Sequence[str],
    threads: Optional[Sequence[int]] = None,
    batches: Sequence[int] = (1, 64),
    faces: Optional[str] = None,
    runtimes: Optional[Sequence[str]] = None,
    rounds: int = 3,
    seconds: float = 0.5,
    image_size: Optional[Tuple[int, int]] = None,
) -> BenchmarkReport:
    """Measure latency, throughput and agreement of embeddings on the CPU.

    Parameters
    ----------
    models : sequence of str
        Checkpoints ``prefix,epoch``, or files that engines support.
    threads : sequence of int, optional
        Numbers of threads of a runtime; by default 1 and the number of physical cores.
    batches : sequence of int
        Numbers of images per call. Plain MXNet evaluates them as one batch, an engine in batches of its own size.
    faces : str, optional
        Images: identity folders, a .rec or a .bin; by default generated faces.
    runtimes : sequence of str, optional
        Engines to measure; by default all.
    rounds : int
        Number of measurements of each row.
    seconds : float
        Duration of the timed calls, in seconds per row, number of threads, batch and round. At least three calls are
        timed.
    image_size : (int, int), optional
        Height and width of the images, if the files of the models do not state them.

    Returns
    -------
    BenchmarkReport
        Ratios and cosines refer to the first measured row of plain MXNet, or else to the first measured row.

    Raises
    ------
    InsightError
        An option is out of range, or no runtime can evaluate a model; the message is that of its first row.
    KeyboardInterrupt
        The benchmark was interrupted before anything was measured. After that, an interrupt ends the rounds, and the
        report states it.
    """
    threads = list(threads or dict.fromkeys((1, physical_cores())))
    for option, values in (("--threads", threads), ("--batch", batches), ("--rounds", [rounds])):
        if not values or min(values) < 1:
            raise InsightError(f"{option} {','.join(map(str, values))}: must be at least 1")
    if not 0 < seconds < float("inf"):
        raise InsightError(f"--seconds {seconds}: must be above 0")
    with tempfile.TemporaryDirectory(prefix="insight-benchmark-") as folder:
        run = _Benchmark(rows(models, runtimes), threads, list(batches), faces, seconds, folder, image_size)
        interrupted = False
        try:
            run.rounds(rounds)
        except KeyboardInterrupt:
            if not run.times:
                raise
            interrupted = True
        return run.report(interrupted)


class _Benchmark:
    """The state of a benchmark: measurements, and the reasons of failures."""

    def __init__(
        self,
        rows: List[Row],
        threads: List[int],
        batches: List[int],
        faces: Optional[str],
        seconds: float,
        folder: str,
        image_size: Optional[Tuple[int, int]] = None,
    ):
        self.rows, self.threads, self.batches, self.faces, self.seconds = rows, threads, batches, faces, seconds
        self.image_size = image_size
        self.notes: List[str] = []
        self.times: Dict[Tuple[Row, int, int], List[List[float]]] = {}  # (row, threads, batch): seconds by round
        self._sizes: dict = {}  # row: (H, W)
        self._notes: Dict[Tuple[Row, int], str] = {}  # (row, threads): reason of a failure
        self._folders = {
            model: os.path.join(folder, str(i)) for i, model in enumerate(dict.fromkeys(row.model for row in rows))
        }
        self._converted: Dict[str, str] = {}  # path: reason of a failure, or empty
        for path in self._folders.values():
            os.mkdir(path)

    def rounds(self, count: int) -> None:
        """Measure all rows ``count`` times. A row that fails with some number of threads is not tried again with it."""
        jobs = [(number, threads, row) for number in range(count) for threads in self.threads for row in self.rows]
        with closing(track(jobs, "measuring", unit="runs")) as remaining:
            for _, threads, row in remaining:
                if (row, threads) not in self._notes:
                    reason = self._convert(row) or self._measure(row, threads)
                    if reason:
                        self._notes[row, threads] = reason
                        self._refuse_broken(row.model, threads)

    def _refuse_broken(self, model: str, threads: int) -> None:
        """Raise InsightError if all rows of a model have failed with this number of threads, and none was measured."""
        notes = [self._notes.get((row, threads)) for row in self.rows if row.model == model]
        if all(notes) and not any(row.model == model for row, _, _ in self.times):
            raise InsightError(notes[0])

    def _path(self, row: Row) -> str:
        return file_of(row, self._folders[row.model])

    def _convert(self, row: Row) -> str:
        """Convert the model of a row once. Returns the reason of a failure, or an empty string."""
        path = self._path(row)
        if path != row.model and path not in self._converted:
            job = {"task": "convert", "row": list(row), "path": path, "image_size": self.image_size}
            facts, reason = _child(job, max(self.threads))
            self._converted[path] = reason.replace(path, row.model)
            self._note(row, facts)
        return self._converted.get(path, "")

    def _measure(self, row: Row, threads: int) -> str:
        """Measure a row once with this number of threads. Returns the reason of a failure, or an empty string."""
        path = self._path(row)
        job = {"task": "measure", "row": list(row), "path": path, "threads": threads, "batches": self.batches}
        keep = "" if row in self._sizes else self._embeddings(row)
        job.update(seconds=self.seconds, faces=self.faces, count=parity.COUNT, keep=keep, image_size=self.image_size)
        facts, reason = _child(job, threads)
        self._note(row, facts)
        for fact in facts:
            if "image_size" in fact:
                self._sizes[row] = tuple(fact["image_size"])
            elif "seconds" in fact:
                self.times.setdefault((row, threads, fact["batch"]), []).append(fact["seconds"])
        return reason.replace(path, row.model)

    def _note(self, row: Row, facts: List[dict]) -> None:
        """Store the notes of a worker on a model. Rows of one model have the same notes, which are stored once."""
        notes = [f"{row.model}: {note}" for fact in facts for note in fact.get("notes", ())]
        self.notes += [note for note in notes if note not in self.notes]

    def _embeddings(self, row: Row) -> str:
        return os.path.join(self._folders[row.model], f"{self.rows.index(row)}.npy")

    def report(self, interrupted: bool) -> BenchmarkReport:
        """The report of the measurements so far."""
        measured = {row for row, _, _ in self.times}
        candidates = [row for row in self.rows if row in measured]
        plain = [row for row in candidates if (row.runtime, row.graph) == PLAIN]
        reference = (plain or candidates)[0]
        cosines = {row: self._cosine(reference, row) for row in candidates}
        lines = [
            self._line(row, threads, batch, reference, cosines.get(row))
            for threads in self.threads
            for batch in self.batches
            for row in self.rows
        ]
        count = min(parity.COUNT, len(np.load(self._embeddings(reference), mmap_mode="r")))
        faces = f"{count} faces of {self.faces}" if self.faces else f"{count} made-up faces"
        return BenchmarkReport(machine(), lines, f"{reference} of {reference.model}", faces, interrupted, self.notes)

    def _line(self, row: Row, threads: int, batch: int, reference: Row, cosine: Optional[parity.Parity]) -> Line:
        by_round = self.times.get((row, threads, batch))
        line = Line(*row, threads, batch)
        if not by_round:
            return line._replace(note=self._notes.get((row, threads), "interrupted before it was measured"))
        median = _median(by_round)
        base = self.times.get((reference, threads, batch))
        return line._replace(
            rounds=len(by_round),
            calls=sum(map(len, by_round)),
            median_ms=1e3 * median,
            p99_ms=1e3 * float(np.percentile(np.concatenate(by_round), 99)),
            images_per_second=statistics.median(batch * len(times) / sum(times) for times in by_round),
            ratio=_median(base) / median if base else None,
            cosine_mean=cosine.mean if cosine else None,
            cosine_lowest=cosine.lowest if cosine else None,
        )

    def _cosine(self, reference: Row, row: Row) -> Optional[parity.Parity]:
        """Agreement of the embeddings of a row and the reference; None if their shapes or image sizes differ."""
        expected, embeddings = (np.load(self._embeddings(compared)) for compared in (reference, row))
        if expected.shape != embeddings.shape or self._sizes[reference] != self._sizes[row]:
            return None
        return parity.compare(expected, embeddings)


def _median(by_round: List[List[float]]) -> float:
    return statistics.median(map(statistics.median, by_round))


def _child(job: dict, threads: int) -> Tuple[List[dict], str]:
    """Run a worker. Returns the facts that it reported, and the reason of a failure, or an empty string."""
    code = f"from insight.speed.worker import main; main({job!r})"
    child = run_child(code, environment={"OMP_NUM_THREADS": str(threads)})
    errors = [fact["error"] for fact in child.facts if "error" in fact]
    return child.facts, errors[0] if errors else child.death


def machine() -> str:
    """One line with the processor, its cores, and the versions of the installed runtimes."""
    names = [*installed_builds(), *RUNTIMES]
    versions = ", ".join(f"{name} {version}" for name in names if (version := installed_version(name)))
    return f"{processor()}; {versions}"
