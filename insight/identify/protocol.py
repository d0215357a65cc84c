"""Results of a benchmark protocol (IJB, MegaFace): formatted as text, written as JSON, and read for a report."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ..errors import InsightError
from ..files import atomic
from ..files.text import open_text

_WANT = "want the JSON that `insight ijb --json` or `insight megaface --json` wrote"


class ProtocolFigure(NamedTuple):
    """One metric of a protocol.

    Attributes
    ----------
    part : str
        Part of the protocol, for example ``1:1``, ``1:N, gallery G1`` or ``1000 distractors``.
    name : str
        Name of the metric, for example ``TAR@FAR`` or ``rank``.
    at : float or None
        Rate or rank at which it is measured; None for a metric without one, such as AUC.
    value : float or None
        The value, 0 to 1; None if the set is too small to measure it.
    note : str
        Additional text, for example ``at FAR 9.8e-05``.
    """

    part: str
    name: str
    at: Optional[float]
    value: Optional[float]
    note: str = ""

    def title(self) -> str:
        """Name and rate or rank, for example ``TAR@FAR 1e-05`` or ``rank-5``."""
        if self.at is None:
            return self.name
        return f"rank-{self.at:g}" if self.name == "rank" else f"{self.name} {self.at:g}"

    def text(self) -> str:
        """The value with five decimals, or ``not measurable``."""
        return "not measurable" if self.value is None else f"{self.value:.5f}"


class ProtocolResult(NamedTuple):
    """All metrics of one network on one set.

    Attributes
    ----------
    protocol : str
        ``IJB-C``, ``MegaFace``.
    models : list of dict
        Provenance of the embeddings (:func:`insight.faces.parts.about`), one for each network whose embeddings are
        concatenated; empty if it is unknown.
    settings : dict
        Options of the protocol; the values are JSON values.
    counts : dict of str to int
        Sizes of the set, for example the numbers of images, templates and pairs.
    figures : list of ProtocolFigure
        Grouped by part.
    """

    protocol: str
    models: List[Dict[str, Any]]
    settings: Dict[str, Any]
    counts: Dict[str, int]
    figures: List[ProtocolFigure]

    def facts(self) -> List[str]:
        """One line with the sizes of the set, and one with the settings if there are any."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        settings = ", ".join(f"{name} {_plain(value)}" for name, value in self.settings.items())
        return [f"{self.protocol}: {counts}", *([f"settings: {settings}"] if settings else [])]

    def lines(self) -> List[str]:
        """The result as lines of text, with a heading for each part."""
        lines, part = self.facts(), ""
        for figure in self.figures:
            if figure.part != part:
                part = figure.part
                lines.append(f"{part}:")
            lines.append(f"  {figure.title()}: {figure.text()}" + (f" ({figure.note})" if figure.note else ""))
        return lines


def _plain(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def write_json(path: atomic.PathLike, result: ProtocolResult) -> None:
    """Write a result as a JSON object; ``figures`` is a list of objects with the fields of :class:`ProtocolFigure`."""
    value = {**result._asdict(), "figures": [figure._asdict() for figure in result.figures]}
    atomic.write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: atomic.PathLike) -> ProtocolResult:
    """Read a result that :func:`write_json` wrote.

    Raises
    ------
    InsightError
        The file is missing, or its content is not such a result.
    """
    with open_text(path, _WANT) as source:
        try:
            value = json.load(source)
            result = ProtocolResult(**value)._replace(figures=[ProtocolFigure(**one) for one in value["figures"]])
            is_valid = all(map(isinstance, result, (str, list, dict, dict, list)))
            is_valid &= all(isinstance(about, dict) for about in result.models)
            is_valid &= all(_is_valid(figure) for figure in result.figures)
        except (ValueError, TypeError, KeyError, RecursionError):
            is_valid = False
    if not is_valid:
        raise InsightError(f"{os.fspath(path)}: not the figures of a protocol; {_WANT}")
    return result


def _is_valid(figure: ProtocolFigure) -> bool:
    texts = (figure.part, figure.name, figure.note)
    numbers = (figure.at, figure.value)
    return all(isinstance(text, str) for text in texts) and all(
        number is None or isinstance(number, (int, float)) for number in numbers
    )


def figures_of(part: str, name: str, values: Dict[float, Optional[float]], notes: Sequence[str] = ()) -> list:
    """A list of :class:`ProtocolFigure`, one for each rate or rank of a dictionary, with optional notes."""
    every = list(notes) or [""] * len(values)
    return [ProtocolFigure(part, name, at, value, note) for (at, value), note in zip(values.items(), every)]
