"""Results of a benchmark, as lines of a table and as CSV."""

from __future__ import annotations

import csv
import io
from typing import List, NamedTuple, Optional, Sequence

from ..files import atomic
from .rows import Row


class Line(NamedTuple):
    """Measurements of one row with one number of threads and of images per call; None for what was not measured."""

    model: str
    runtime: str
    graph: str  # plain or fast; empty for a file, which is evaluated unchanged
    dtype: str
    threads: int
    batch: int  # images per call
    rounds: int = 0
    calls: int = 0  # timed calls in all rounds
    median_ms: Optional[float] = None  # latency of a call in ms: median over rounds of the medians of the rounds
    p99_ms: Optional[float] = None  # latency of a call in ms: 99th percentile over all rounds
    images_per_second: Optional[float] = None  # median over rounds
    ratio: Optional[float] = None  # speed relative to the reference, by median_ms
    cosine_mean: Optional[float] = None  # of the embeddings and those of the reference
    cosine_lowest: Optional[float] = None  # likewise
    note: str = ""  # reason if nothing was measured

    @property
    def title(self) -> str:
        """Title of the row, for example ``onnxruntime fast`` or ``openvino bfloat16``."""
        return str(Row(self.model, self.runtime, self.graph, self.dtype))


class BenchmarkReport(NamedTuple):
    """Results of a benchmark.

    Attributes
    ----------
    machine : str
        Processor, cores and versions of the runtimes.
    lines : list of Line
        Grouped by number of threads, then by batch.
    reference : str
        Title of the row that ratios and cosines refer to.
    faces : str
        Description of the images.
    interrupted : bool
        Whether Ctrl-C ended the benchmark, so that measurements are missing.
    notes : list of str
        Assumptions about properties that the files of the models do not state.
    """

    machine: str
    lines: List[Line]
    reference: str
    faces: str
    interrupted: bool
    notes: Sequence[str] = ()


def write_csv(path, report: BenchmarkReport) -> None:
    """Write the lines as CSV with a header, atomically. Cells without a measurement are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Line._fields)
    for line in report.lines:
        writer.writerow([f"{cell:.8g}" if isinstance(cell, float) else cell for cell in line])
    atomic.write_text(path, text.getvalue())
