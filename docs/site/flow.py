"""The path from photos to shipped files as an SVG: what there is, and the commands between.

python docs/site/flow.py > docs/pictures/flow.svg
"""

from __future__ import annotations

from html import escape
from typing import List, NamedTuple, Tuple

WIDTH, HEIGHT = 800, 550
TALL = 58  # height of a box
INK, FAINT, LINE, COMMAND = "#1d2129", "#5c6570", "#9aa1ab", "#2f6db0"
FILLS = {"data": "#eef3fa", "model": "#fbf1ea", "result": "#eef7ee"}
RIGHT = 705  # the column of the main path
FORK = 530  # where the ways from the checkpoint part


class Box(NamedTuple):
    """What there is: its name, and its files. ``x, y`` is the middle."""

    name: str
    files: str
    x: int
    y: int
    wide: int
    kind: str


class Way(NamedTuple):
    """The commands on an arrow, which bends at its points; where they are written, and whether they end there."""

    commands: Tuple[str, ...]
    points: Tuple[Tuple[int, int], ...]
    x: int
    y: int
    anchor: str = "middle"


BOXES = (
    Box("photos", "a folder per person", 85, 50, 150, "data"),
    Box("aligned faces", "112x112 pixels", 345, 50, 150, "data"),
    Box("list", ".lst", 550, 50, 80, "data"),
    Box("record set", ".rec .idx property", RIGHT, 160, 170, "data"),
    Box("public set", ".rec .idx property", 345, 160, 150, "data"),
    Box("one sound set", ".rec .idx property", RIGHT, 280, 170, "data"),
    Box("checkpoint", ".json .params", RIGHT, 400, 170, "model"),
    Box("for servers", ".onnx, .xml; 8 bits", RIGHT, 515, 170, "result"),
    Box("figures", "page, card, JSON", 345, 280, 150, "result"),
    Box("embeddings", ".npz", 345, 400, 150, "result"),
    Box("1:N search", "rank, TPIR at FPIR", 78, 400, 136, "result"),
    Box("for phones", ".param .bin", 345, 515, 150, "result"),
)
WAYS = (
    Way(("align-faces",), ((160, 50), (270, 50)), 213, 42),
    Way(("dir2lst",), ((420, 50), (510, 50)), 463, 42),
    Way(("face2rec",), ((590, 50), (RIGHT, 50), (RIGHT, 131)), 645, 42),
    Way(("dataset-check", "dataset-clean"), ((RIGHT, 189), (RIGHT, 251)), RIGHT - 9, 217, "end"),
    Way(("dataset-merge",), ((420, 160), (560, 160), (560, 280), (620, 280)), 490, 152),
    Way(("train-softmax", "train-triplet"), ((RIGHT, 309), (RIGHT, 371)), RIGHT - 9, 337, "end"),
    Way(("export-onnx",), ((RIGHT, 429), (RIGHT, 486)), RIGHT - 9, 461, "end"),
    Way(("verification", "report"), ((620, 400), (FORK, 400), (FORK, 280), (420, 280)), 473, 253),
    Way(("embed",), ((620, 400), (420, 400)), 473, 392),
    Way(("export-ncnn",), ((620, 400), (FORK, 400), (FORK, 515), (420, 515)), 473, 507),
    Way(("identification",), ((270, 400), (146, 400)), 208, 392),
)


def svg() -> str:
    """The picture."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' font-family="system-ui, sans-serif" text-anchor="middle">',
        "<title>From photos to shipped files, and the commands on the way</title>",
        f'<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#fff"/>',
    ]
    for way in WAYS:
        lines += _arrow(way)
    for box in BOXES:
        lines += _box(box)
    return "\n".join([*lines, "</svg>", ""])


def _arrow(way: Way) -> List[str]:
    points = " ".join(f"{x},{y}" for x, y in way.points)
    lines = [f'<polyline points="{points}" fill="none" stroke="{LINE}" stroke-width="1.6" marker-end="url(#end)"/>']
    for i, command in enumerate(way.commands):
        lines.append(
            f'<text x="{way.x}" y="{way.y + 19 * i}" text-anchor="{way.anchor}" font-family="ui-monospace, monospace"'
            f' font-size="13" fill="{COMMAND}">{escape(command)}</text>'
        )
    return lines


def _box(box: Box) -> List[str]:
    left, top = box.x - box.wide // 2, box.y - TALL // 2
    return [
        f'<rect x="{left}" y="{top}" width="{box.wide}" height="{TALL}" rx="7" fill="{FILLS[box.kind]}"'
        f' stroke="{LINE}"/>',
        f'<text x="{box.x}" y="{box.y - 3}" font-size="15" font-weight="600" fill="{INK}">{escape(box.name)}</text>',
        f'<text x="{box.x}" y="{box.y + 17}" font-size="13" fill="{FAINT}">{escape(box.files)}</text>',
    ]


if __name__ == "__main__":
    print(svg(), end="")
