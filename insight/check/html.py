"""The report of a check as a self-contained HTML page with pictures and charts.

This module computes the content; the layout is the template ``check.html`` of :mod:`insight.pages`.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..pages.htmlpage import data_uri
from ..pages.render import render
from .rules import Finding

_LARGEST_PICTURE = 256 << 10  # bytes; larger samples are not embedded
_BROKEN = ("undecodable-image", "empty-image", "not-an-image")  # browsers cannot show these
_STEP, _LEFT, _ROOM = 22, 112, 180  # of a chart: distance of bars, left margin for names, width of the longest bar
_DOTS = "…"


class Bar(NamedTuple):
    """A horizontal bar: name, top and width in pixels, and count; None for a line of dots."""

    name: str
    y: int
    width: float
    count: Optional[int]


class Bars(NamedTuple):
    """A bar chart; ``unit`` is what the bars count."""

    title: str
    unit: str
    bars: List[Bar]
    height: int
    left: int = _LEFT


class Shown(NamedTuple):
    """A picture of a sample as a data URI, or the reason why there is none."""

    source: Optional[str]
    reason: str = "no picture"


def page(report) -> str:
    """Return the HTML page of a :class:`CheckReport`."""
    return render(
        "check.html",
        title=report.rec_path,
        kind="error" if not report.ok else "warning" if report.count("warning") else "good",
        verdict=_verdict(report),
        facts=_facts(report.summary, report.deep),
        charts=_charts(report.summary),
        mean_face=None if report.mean_face is None else _png(report.mean_face),
        findings=[_finding(finding) for finding in report.findings],
    )


def _verdict(report) -> str:
    counts = report.closing_line()[len(report.rec_path) + 2 :]
    return counts[0].upper() + counts[1:]


def _facts(summary: Dict[str, Any], deep: bool) -> List[Tuple[str, str]]:
    rows = [("Records", f"{summary['records']:,}"), ("Images", f"{summary['images']:,}")]
    if summary["images"]:
        per, size = summary["images_per_identity"], summary["image_size"]
        rows += [
            ("Identities", f"{summary['identities']:,}"),
            ("Classes (property or labels)", f"{summary['num_classes']:,}"),
            ("Images per identity (min / median / max)", f"{per['min']} / {per['median']:g} / {per['max']}"),
            ("Identities of one image", f"{per['single']:,}"),
            ("Size, height x width", f"{size[0]} x {size[1]}" if size else "unknown"),
            ("Layout", summary["layout"]),
            ("Formats", ", ".join(f"{count:,} {name}" for name, count in summary["kinds"].items())),
            ("File", f"{summary['rec_bytes'] / 1e6:,.1f} MB"),
        ]
    return [*rows, ("Images were", "decoded" if deep else "checked by their headers")]


def _charts(summary: Dict[str, Any]) -> List[Bars]:
    if not summary["images"]:
        return []
    charts = [
        _chart("Images per identity", _bins(summary["images_per_identity"]["histogram"]), "identities"),
        _chart("Bytes per image", _bins(summary["payload_bytes"]["histogram"]), "images"),
    ]
    if len(summary["sizes"]) > 1:
        charts.append(_chart("Sizes, height x width", list(summary["sizes"].items())[:12], "images"))
    return charts


def _bins(histogram: Iterable[Sequence[int]]) -> List[Tuple[str, int]]:
    """Return (label, count) of each bin; three or more consecutive empty bins become one line of dots."""
    bars: List[Tuple[str, int]] = []
    for empty, group in groupby(histogram, key=lambda row: not row[2]):
        rows = [(f"{low:,}" if low >= high else f"{low:,}–{high:,}", count) for low, high, count in group]
        bars += [(_DOTS, 0)] if empty and len(rows) > 2 else rows
    return bars


def _chart(title: str, bars: List[Tuple[str, int]], unit: str) -> Bars:
    widest = max((count for _, count in bars), default=0) or 1
    drawn = [
        Bar(name, row * _STEP, max(_ROOM * count / widest, 1.5 if count else 0), None if name == _DOTS else count)
        for row, (name, count) in enumerate(bars)
    ]
    return Bars(title, unit, drawn, _STEP * len(bars))


def _finding(finding: Finding) -> Dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.rule.severity,
        "rule": finding.rule.rule,
        "remedy": finding.remedy,
        "count": finding.count,
        "more": finding.count - len(finding.samples),
        "pictured": any(sample.pictures for sample in finding.samples),
        "samples": [
            {"key": s.key, "found": s.found, "pictures": [_picture(data, finding.code) for data in s.pictures]}
            for s in finding.samples
        ],
    }


def _picture(data: bytes, code: str) -> Shown:
    if code in _BROKEN:
        return Shown(None)
    if len(data) > _LARGEST_PICTURE:
        return Shown(None, f"{len(data) / 1e6:.1f} MB, not shown")
    return Shown(data_uri(data) or _converted(data))


def _converted(data: bytes) -> Optional[str]:
    """Convert an image that browsers do not show to a PNG data URI; None if it cannot be decoded."""
    from ..images.pixels import decode_bgr

    try:
        return _png(decode_bgr(data, ""))
    except InsightError:
        return None


def _png(pixels: np.ndarray) -> str:
    from ..images.pixels import encode_bgr

    return str(data_uri(encode_bgr(pixels, ".png", 9)))
