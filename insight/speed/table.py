"""What a benchmark found, as lines of a table and as CSV."""

from __future__ import annotations

import csv
import io
from typing import List, NamedTuple, Optional, Sequence

from ..files import atomic
from .rows import Row


class Line(NamedTuple):
    """One model in one runtime, with so many threads and images per call; None where nothing was measured."""

    model: str
    runtime: str
    graph: str  # plain or fast; empty for a file, which is run as it is
    dtype: str
    threads: int
    batch: int
    rounds: int = 0
    calls: int = 0  # timed ones, in all rounds
    median_ms: Optional[float] = None  # of a call; the median over rounds of each round's median
    p99_ms: Optional[float] = None  # of a call; of the calls of all rounds
    images_per_second: Optional[float] = None  # the median over rounds
    ratio: Optional[float] = None  # how many times as fast as the reference, by median_ms
    cosine_mean: Optional[float] = None  # to the reference's embeddings
    cosine_lowest: Optional[float] = None
    note: str = ""  # why nothing was measured

    @property
    def title(self) -> str:
        """``onnxruntime fast``, ``openvino bfloat16``."""
        return str(Row(self.model, self.runtime, self.graph, self.dtype))


class BenchmarkReport(NamedTuple):
    """All lines, threads by threads and batch by batch.

    Attributes
    ----------
    machine : str
        Processor, cores, versions.
    reference : str
        The row that ratios and cosines refer to.
    faces : str
        What was embedded.
    interrupted : bool
        Ctrl-C ended it: some rounds are missing.
    notes : list of str
        What the models' files do not say and had to be assumed.
    """

    machine: str
    lines: List[Line]
    reference: str
    faces: str
    interrupted: bool
    notes: Sequence[str] = ()


def write_csv(path, report: BenchmarkReport) -> None:
    """Write the lines, with a header, whole or not at all; cells are empty where nothing was measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Line._fields)
    for line in report.lines:
        writer.writerow([f"{cell:.8g}" if isinstance(cell, float) else cell for cell in line])
    atomic.write_text(path, text.getvalue())
