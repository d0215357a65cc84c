"""Report sections of benchmark protocols, from the JSON files of `insight ijb` and `insight megaface`."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Optional, Sequence

from ..errors import InsightError
from ..identify.protocol import ProtocolFigure, ProtocolResult, read_json

VERDICT = (("TAR@FAR", 1e-4), ("TAR@FAR", 1e-6), ("rank", 1))  # metrics at the head of the page


class ProtocolRow(NamedTuple):
    """A metric as text. ``part`` is empty if it is the same as in the previous row."""

    part: str
    name: str
    value: str
    note: str


class ProtocolSection(NamedTuple):
    """All metrics of one file."""

    id: str
    name: str
    verdict: str
    facts: List[str]
    rows: List[ProtocolRow]


def protocol_sections(paths: Sequence[str], model_sha256: str) -> List[ProtocolSection]:
    """Read files of results, and check that they belong to the model.

    Parameters
    ----------
    paths : sequence of str
    model_sha256 : str
        Hash of the files of the model (:func:`insight.faces.parts.digest`).

    Raises
    ------
    InsightError
        A file is missing or invalid, or its results are those of another model, of several models, or of an unknown
        one.
    """
    return [_section(number, path, read_json(path), model_sha256) for number, path in enumerate(paths, 1)]


def _section(number: int, path: str, result: ProtocolResult, model_sha256: str) -> ProtocolSection:
    models = [about.get("model_sha256") for about in result.models]
    if models != [model_sha256]:
        found = "one that is not known" if not any(models) else "another" if len(models) == 1 else f"{len(models)}"
        raise InsightError(f"--protocols {path}: its figures are not of this model but of {found}; leave the file out")
    return ProtocolSection(
        f"protocol-{number}", result.protocol, _verdict(result.figures), result.facts(), list(_rows(result.figures))
    )


def _rows(figures: Sequence[ProtocolFigure]) -> Iterator[ProtocolRow]:
    part: Optional[str] = None
    for figure in figures:
        yield ProtocolRow("" if figure.part == part else figure.part, figure.title(), figure.text(), figure.note)
        part = figure.part


def _verdict(figures: Sequence[ProtocolFigure]) -> str:
    """The metrics of :data:`VERDICT`, each from the last part that has it: in MegaFace, the last gallery."""
    last = {(figure.name, figure.at): figure for figure in figures if figure.value is not None}
    chosen = [last[key] for key in VERDICT if key in last]
    return "; ".join(f"{one.title()} {one.text()} ({one.part})" for one in chosen) or "no figure at usual rates"
