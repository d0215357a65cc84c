"""The report of a check as one self-contained HTML page with pictures and charts."""

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..pages.htmlpage import STYLE, data_uri
from .rules import Finding, Sample

_LARGEST_PICTURE = 256 << 10  # bytes; larger samples are not embedded
_BROKEN = ("undecodable-image", "truncated-image", "empty-image", "not-an-image")  # browsers cannot show these

_STYLE = """
.mean { width: 8rem; image-rendering: auto; border-radius: 4px; display: block; margin-top: .5rem; }
.finding { border-left: 4px solid currentColor; } .finding > * { color: var(--ink); }
.finding .head .badge { color: inherit; }
.finding .badge.error { color: var(--error); } .finding .badge.warning { color: var(--warning); }
.finding .badge.note { color: var(--note); }
.finding p { margin: .35rem 0 0; }
.samples.files { display: block; } .samples.files li { width: auto; }
"""


def page(report) -> str:
    """The whole page of a :class:`CheckReport`."""
    title = escape(report.rec_path)
    kind = "error" if not report.ok else "warning" if report.count("warning") else "good"
    body = [
        f"<h1>{title}</h1>",
        f'<p class="verdict {kind}">{escape(_verdict(report))}</p>',
        _facts(report.summary, report.deep),
        _charts(report.summary, report.mean_face),
        "<h2>Findings</h2>",
        *map(_finding, report.findings),
    ]
    if not report.findings:
        body.append('<p class="card">No findings.</p>')
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Check of {title}</title>\n<style>{STYLE}{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _verdict(report) -> str:
    counts = report.closing_line()[len(report.rec_path) + 2 :]
    return counts[0].upper() + counts[1:]


def _facts(summary: Dict[str, Any], deep: bool) -> str:
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
            ("Formats", _listed(summary["kinds"])),
            ("File", f"{summary['rec_bytes'] / 1e6:,.1f} MB"),
        ]
    rows.append(("Images were", "decoded" if deep else "checked by their headers"))
    return '<dl class="facts card">' + "".join(_fact(name, value) for name, value in rows) + "</dl>"


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _listed(counts: Dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _charts(summary: Dict[str, Any], mean_face) -> str:
    if not summary["images"]:
        return ""
    charts = [
        _chart("Images per identity", _bins(summary["images_per_identity"]["histogram"]), "identities"),
        _chart("Bytes per image", _bins(summary["payload_bytes"]["histogram"]), "images"),
    ]
    if len(summary["sizes"]) > 1:
        charts.append(_chart("Sizes, height x width", list(summary["sizes"].items())[:12], "images"))
    if mean_face is not None:
        charts.append(
            '<section class="card"><h3>Mean face</h3>'
            f'<img class="mean" alt="mean of all images" src="{_png(mean_face)}"></section>'
        )
    return "<h2>Distributions</h2>" + f'<div class="charts">{"".join(charts)}</div>'


def _bins(histogram: Iterable[Sequence[int]]) -> List[Tuple[str, int]]:
    """Labelled bars; three or more consecutive empty bins become one line of dots."""
    bars: List[Tuple[str, int]] = []
    for empty, group in groupby(histogram, key=lambda row: not row[2]):
        rows = [(f"{low:,}" if low >= high else f"{low:,}–{high:,}", count) for low, high, count in group]
        bars += [("…", 0)] if empty and len(rows) > 2 else rows
    return bars


def _chart(title: str, bars: List[Tuple[str, int]], unit: str) -> str:
    """Horizontal bars, labels on the left and counts after the bars."""
    widest = max((count for _, count in bars), default=0) or 1
    step, left, room = 22, 112, 180
    rows = []
    for row, (name, count) in enumerate(bars):
        y, width = row * step, max(room * count / widest, 1.5 if count else 0)
        rows.append(
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left}" y="{y + 4}" width="{width:.1f}" height="14" rx="2" fill="#4a78b0"/>'
            + (f'<text x="{left + width + 6:.1f}" y="{y + 15}">{count:,}</text>' if name != "…" else "")
        )
    label = escape(f"{title}, number of {unit}")
    drawing = f'<svg viewBox="0 0 360 {step * len(bars)}" role="img" aria-label="{label}">{"".join(rows)}</svg>'
    return f'<section class="card"><h3>{escape(title)}</h3><p class="soft">number of {unit}</p>{drawing}</section>'


def _finding(finding: Finding) -> str:
    rule = finding.rule
    pictured = any(sample.pictures for sample in finding.samples)
    kind = "samples" if pictured else "samples files soft"
    more = finding.count - len(finding.samples)
    rest = f'<p class="soft">and {more:,} more</p>' if more > 0 else ""
    remedy = re.sub("`([^`]*)`", r"<code>\1</code>", escape(finding.remedy))
    return (
        f'<section class="card finding {rule.severity}" id="{finding.code}"><div class="head">'
        f'<span class="badge {rule.severity}">{rule.severity}</span><h3>{finding.code}</h3>'
        f'<span class="soft">{finding.count:,} found</span></div>'
        f"<p>The rule: {escape(rule.rule)}.</p><p><strong>What to do:</strong> {remedy}.</p>"
        f'<ul class="{kind}">{"".join(_sample(s, finding.code) for s in finding.samples)}</ul>{rest}</section>'
    )


def _sample(sample: Sample, code: str) -> str:
    key = "" if sample.key is None else f"<strong>key {sample.key}</strong><br>"
    pictures = "".join(_picture(data, code) for data in sample.pictures)
    shown = f'<div class="pictures">{pictures}</div>' if pictures else ""
    return f"<li>{shown}{key}{escape(sample.found)}</li>"


def _picture(data: bytes, code: str) -> str:
    if code in _BROKEN and code != "truncated-image":
        return '<div class="blank">no picture</div>'
    if len(data) > _LARGEST_PICTURE:
        return f'<div class="blank">{len(data) / 1e6:.1f} MB, not shown</div>'
    source = data_uri(data) or _converted(data)
    return f'<img alt="sample" loading="lazy" src="{source}">' if source else '<div class="blank">no picture</div>'


def _converted(data: bytes) -> Optional[str]:
    """An image that browsers do not show, as a PNG; None if it cannot be decoded."""
    from ..images.pixels import decode_bgr

    try:
        return _png(decode_bgr(data, ""))
    except InsightError:
        return None


def _png(pixels: np.ndarray) -> str:
    from ..images.pixels import encode_bgr

    return str(data_uri(encode_bgr(pixels, ".png", 9)))
