"""Models through every runtime that takes them, side by side.

A row is measured in a process of its own: the number of threads is read when a runtime starts, and idle threads of
one runtime spin while another works. Rounds are interleaved (A B C A B C), so that a slow minute of the machine hits
all rows alike. A checkpoint is converted once, before the first round, also in a process of its own.
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

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino", "ncnn", "numpy")  # whose versions the report names


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
    """Measure latency, throughput and agreement, on the CPU.

    Parameters
    ----------
    models : sequence of str
        ``prefix,epoch``, or files that engines take.
    threads : sequence of int, optional
        Threads of a runtime; 1 and the physical cores where missing.
    batches : sequence of int
        Images per call. Plain MXNet takes them at once, an engine in batches of its own choice.
    faces : str, optional
        Identity folders, a .rec or a .bin; made-up faces where missing.
    runtimes : sequence of str, optional
        Only these engines.
    rounds : int
    seconds : float
        Of timed calls per row, threads, batch and round; three calls at least.
    image_size : (int, int), optional
        Height and width that the models take, where their files do not state them.

    Returns
    -------
    Report
        Ratios and cosines refer to the first plain MXNet row that was measured, or the first row at all.

    Raises
    ------
    InsightError
        An option or a model is wrong. A model is, when no runtime at all runs it; the message is the first one's.
    KeyboardInterrupt
        Before anything was measured. Later, the report says that it was interrupted.
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
    """The state of a benchmark: what was measured, and why the rest was not."""

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
        self._notes: Dict[Tuple[Row, int], str] = {}  # (row, threads): why it could not be measured
        self._folders = {
            model: os.path.join(folder, str(i)) for i, model in enumerate(dict.fromkeys(row.model for row in rows))
        }
        self._converted: Dict[str, str] = {}  # path: why it could not be, or nothing
        for path in self._folders.values():
            os.mkdir(path)

    def rounds(self, count: int) -> None:
        """Measure every row in every round; what fails once is not tried again."""
        jobs = [(number, each, row) for number in range(count) for each in self.threads for row in self.rows]
        with closing(track(jobs, "measuring", unit="runs")) as remaining:
            for _, each, row in remaining:
                if (row, each) not in self._notes:
                    reason = self._convert(row) or self._measure(row, each)
                    if reason:
                        self._notes[row, each] = reason
                        self._refuse_broken(row.model, each)

    def _refuse_broken(self, model: str, threads: int) -> None:
        """Give up where a model has been tried in every way and nothing of it was measured."""
        notes = [self._notes.get((row, threads)) for row in self.rows if row.model == model]
        if all(notes) and not any(row.model == model for row, _, _ in self.times):
            raise InsightError(notes[0])

    def _path(self, row: Row) -> str:
        return file_of(row, self._folders[row.model])

    def _convert(self, row: Row) -> str:
        """Why the row's file cannot be made of its model; empty where it is there."""
        path = self._path(row)
        if path != row.model and path not in self._converted:
            job = {"task": "convert", "row": list(row), "path": path, "image_size": self.image_size}
            facts, reason = _child(job, max(self.threads))
            self._converted[path] = reason.replace(path, row.model)
            self._note(row, facts)
        return self._converted.get(path, "")

    def _measure(self, row: Row, threads: int) -> str:
        """Run a row once with so many threads; the reason why it failed, or nothing."""
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
        """Keep what a worker had to assume about a model; every row of it says the same."""
        said = [f"{row.model}: {note}" for fact in facts for note in fact.get("notes", ())]
        self.notes += [note for note in said if note not in self.notes]

    def _embeddings(self, row: Row) -> str:
        return os.path.join(self._folders[row.model], f"{self.rows.index(row)}.npy")

    def report(self, interrupted: bool) -> BenchmarkReport:
        """What there is by now."""
        measured = {row for row, _, _ in self.times}
        candidates = [row for row in self.rows if row in measured]
        plain = [row for row in candidates if (row.runtime, row.graph) == PLAIN]
        reference = (plain or candidates)[0]
        cosines = {row: self._cosine(reference, row) for row in candidates}
        lines = [
            self._line(row, each, batch, reference, cosines.get(row))
            for each in self.threads
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
        """None where the two networks' embeddings or images differ in size."""
        ours, theirs = (np.load(self._embeddings(each)) for each in (reference, row))
        if ours.shape != theirs.shape or self._sizes[reference] != self._sizes[row]:
            return None
        return parity.compare(ours, theirs)


def _median(by_round: List[List[float]]) -> float:
    return statistics.median(map(statistics.median, by_round))


def _child(job: dict, threads: int) -> Tuple[List[dict], str]:
    """The facts that a worker told, and why it failed, or nothing."""
    code = f"from insight.speed.worker import main; main({job!r})"
    child = run_child(code, environment={"OMP_NUM_THREADS": str(threads)})
    errors = [fact["error"] for fact in child.facts if "error" in fact]
    return child.facts, errors[0] if errors else child.death


def machine() -> str:
    """One line: processor, physical cores, versions of the runtimes that are installed."""
    names = [*installed_builds(), *RUNTIMES]
    versions = ", ".join(f"{name} {version}" for name in names if (version := installed_version(name)))
    return f"{processor()}; {versions}"
