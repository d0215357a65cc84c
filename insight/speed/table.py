"""Results of a benchmark, as lines of a table and as CSV."""

from __future__ import annotations

import csv
import io
from typing import List, NamedTuple, Optional, Sequence

from ..files import atomic
from .rows import Row


class Line(NamedTuple):
    """One model in one runtime, for a number of threads and of images per call; None for what was not measured."""

    model: str
    runtime: str
    graph: str  # plain or fast; empty for a file, which is run unchanged
    dtype: str
    threads: int
    batch: int
    rounds: int = 0
    calls: int = 0  # timed calls in all rounds
    median_ms: Optional[float] = None  # time of a call: the median over rounds of each round's median
    p99_ms: Optional[float] = None  # time of a call: 99th percentile over all rounds
    images_per_second: Optional[float] = None  # the median over rounds
    ratio: Optional[float] = None  # speed relative to the reference, by median_ms
    cosine_mean: Optional[float] = None  # to the reference's embeddings
    cosine_lowest: Optional[float] = None
    note: str = ""  # reason why nothing was measured

    @property
    def title(self) -> str:
        """``onnxruntime fast``, ``openvino bfloat16``."""
        return str(Row(self.model, self.runtime, self.graph, self.dtype))


class BenchmarkReport(NamedTuple):
    """All lines, grouped by threads and batch.

    Attributes
    ----------
    machine : str
        Processor, cores, versions.
    reference : str
        The row that ratios and cosines refer to.
    faces : str
        Description of the images.
    interrupted : bool
        Whether Ctrl-C ended the benchmark, so that some rounds are missing.
    notes : list of str
        What was assumed because the models' files do not state it.
    """

    machine: str
    lines: List[Line]
    reference: str
    faces: str
    interrupted: bool
    notes: Sequence[str] = ()


def write_csv(path, report: BenchmarkReport) -> None:
    """Write the lines with a header, whole or not at all; cells without a measurement are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Line._fields)
    for line in report.lines:
        writer.writerow([f"{cell:.8g}" if isinstance(cell, float) else cell for cell in line])
    atomic.write_text(path, text.getvalue())
