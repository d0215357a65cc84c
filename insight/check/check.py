"""Check of a record set: its files, their consistency, and its images.

``rules`` lists the faults, ``records`` reads the files, ``layout`` checks header, identity records and labels,
``image_faults`` checks payloads, and ``duplicates`` finds duplicates. Memory use is about 160 bytes per image,
whatever the size of the images.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..executor import Workforce
from ..files.atomic import write_text
from ..formats import shards
from ..formats.faceset import FaceSet
from .duplicates import ExcludedSet, find_exact, find_near, find_overlap, open_all_excluded
from .image_faults import PayloadFacts, Survey, as_counts, survey
from .layout import Layout, check_labels
from .records import Records, locate
from .rules import SEVERITIES, Finding, Findings

SCHEMA = 1  # of the JSON report


@dataclass
class CheckReport:
    """The result of a check.

    Attributes
    ----------
    summary : dict
        Counts and distributions, as in the JSON report.
    findings : list of Finding
        Sorted by severity, errors first. Empty for a sound set.
    mean_face : np.ndarray or None
        (H, W, 3) uint8 BGR, range 0..255; None unless the check was deep.
    """

    rec_path: str
    deep: bool
    summary: Dict[str, Any] = field(default_factory=dict)
    findings: List[Finding] = field(default_factory=list)
    mean_face: Optional[np.ndarray] = None

    def count(self, severity: str) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def ok(self) -> bool:
        """Whether there are no errors; there may be warnings and notes."""
        return not self.count("error")

    def closing_line(self) -> str:
        counts = [(self.count(severity), severity) for severity in SEVERITIES]
        return f"{self.rec_path}: " + ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for n, name in counts)

    def as_dict(self) -> Dict[str, Any]:
        return {
            "schema": SCHEMA,
            "rec": self.rec_path,
            "deep": self.deep,
            "ok": self.ok,
            **{severity + "s": self.count(severity) for severity in SEVERITIES},
            "summary": self.summary,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def check(
    path: str,
    deep: bool = False,
    exclude: Sequence[str] = (),
    workers: Workforce = 1,
    json_path: Optional[str] = None,
    html_path: Optional[str] = None,
) -> CheckReport:
    """Check a record set without changing it.

    Parameters
    ----------
    path : str
        Folder, .rec file or prefix of the set, which may be damaged.
    deep : bool
        Also decode every image, search for near duplicates, and compute the mean face.
    exclude : sequence of str
        Verification .bin files and record sets that must share no image with this set.
    workers : int or Cluster
        Number of threads that examine the images, or a cluster. The report does not depend on it.
    json_path, html_path : str, optional
        Files to which the report is written as JSON and as an HTML page.

    Raises
    ------
    InsightError
        There is no set at the path, an excluded set is damaged, or a report cannot be written.
    """
    for output in (json_path, html_path):
        if output is not None and os.path.isdir(output):
            raise InsightError(f"{output}: a folder, want a file for the report; give a file's name")
    findings = Findings(path)
    rec_path = locate(path, findings)
    others = open_all_excluded([os.fspath(other) for other in exclude])
    records = Records(rec_path, findings)
    try:
        report = _examine(records, deep, others, workers, findings)
    finally:
        records.close()
    if not findings.errors:
        _try_to_open(rec_path, findings)
    report.findings = findings.sorted()
    if json_path is not None:
        write_text(json_path, json.dumps(report.as_dict(), indent=2, ensure_ascii=False) + "\n")
    if html_path is not None:
        from .html import page

        write_text(html_path, page(report))
    return report


def _try_to_open(rec_path: str, findings: Findings) -> None:
    try:
        FaceSet.open(rec_path).close()
    except InsightError as error:
        findings.add("refused", None, str(error))


def _examine(
    records: Records, deep: bool, others: List[ExcludedSet], workers: Workforce, findings: Findings
) -> CheckReport:
    report = CheckReport(shards.pattern(records.rec_path), deep)
    if not len(records.offsets):
        report.summary = {"records": 0, "images": 0}
        return report
    layout = Layout(records, findings)
    properties, num_classes = check_labels(layout, findings)
    want = (properties.height, properties.width) if properties else None
    seen, size = _look_at_all(layout, want, deep, workers, findings)
    repeated = find_exact(layout, seen, findings)
    if deep:
        find_near(layout, seen, repeated, findings)
    for other in others:
        find_overlap(layout, seen, other, deep, workers, findings)
    report.mean_face = seen.mean_face()
    report.summary = _summary(records, layout, seen, num_classes, size, report.mean_face)
    return report


def _look_at_all(
    layout: Layout, want: Optional[Tuple[int, int]], deep: bool, workers: Workforce, findings: Findings
) -> Tuple[Survey, Optional[Tuple[int, int]]]:
    """Examine all payloads; report their faults and sizes, and return the survey and the expected size.

    Without a property, the expected size is that of the first image whose size is known.
    """
    expected = [want]
    other_sizes = Findings()

    def report(i: int, one: PayloadFacts) -> None:
        for code, found in one.faults:
            findings.add(code, int(layout.keys[i]), found, layout.payload(i))
        if one.size is not None:
            expected[0] = expected[0] or one.size
            if one.size != expected[0]:
                other_sizes.add("image-size", int(layout.keys[i]), _size_text(one.size), layout.payload(i))

    first = want or (layout.first_size() if deep else None)
    seen = survey(layout.payloads(), deep, workers, "looking at images", report, first)
    if "image-size" in other_sizes:
        known = [size for size in seen.sizes if size is not None]
        whole_set = want is not None and len(known) == 1
        findings.adopt("property-size" if whole_set else "image-size", other_sizes.sorted()[0])
    return seen, expected[0]


def _size_text(size: Optional[Tuple[int, int]]) -> str:
    return f"{size[0]}x{size[1]}" if size else "unknown"


def _summary(
    records: Records,
    layout: Layout,
    seen: Survey,
    num_classes: int,
    size: Optional[Tuple[int, int]],
    mean_face: Optional[np.ndarray],
) -> Dict[str, Any]:
    _, counts = np.unique(layout.labels, return_counts=True)
    payloads = records.sizes[layout.rows]
    return {
        "records": len(records.offsets),
        "layout": layout.name,
        "images": len(layout.rows),
        "identities": len(counts),
        "num_classes": num_classes,
        "image_size": list(size) if size else None,
        "rec_bytes": records.bytes,
        "images_per_identity": {
            **_spread(counts),
            "single": int((counts == 1).sum()),
            "histogram": _powers_of_two(counts),
        },
        "payload_bytes": {**_spread(payloads), "histogram": _powers_of_two(payloads)},
        "sizes": as_counts(seen.sizes, _size_text),
        "kinds": as_counts(seen.kinds, lambda kind: kind.lstrip(".") or "empty"),
        "mean_rgb": None if mean_face is None else [round(float(c), 2) for c in mean_face.mean(axis=(0, 1))[::-1]],
    }


def _spread(values: np.ndarray) -> Dict[str, Any]:
    if not len(values):
        return {"min": 0, "median": 0, "max": 0}
    return {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}


def _powers_of_two(values: np.ndarray) -> List[List[int]]:
    """Return rows [low, high, count] of the bins 0, 1, 2..3, 4..7, .. from the first to the last non-empty one."""
    if not len(values):
        return []
    bins = np.frexp(np.asarray(values, np.float64))[1]  # 0 -> 0, 1 -> 1, 2..3 -> 2, 4..7 -> 3
    counts = np.bincount(bins)
    first = int(bins.min())
    return [[1 << b >> 1, max((1 << b) - 1, 0), int(counts[b])] for b in range(first, len(counts))]
