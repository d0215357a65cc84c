"""Evaluate a model on verification sets, and write the report: an HTML page and a Markdown card."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

from .. import __version__
from ..engines import model_files
from ..engines.engine import Engine
from ..errors import InsightError
from ..faces.parts import digest
from ..files import atomic
from ..runs.logfiles import read_logs
from ..verify.figures import figures
from ..verify.verification import EvalSet, verify
from . import origin, render
from .changes import Evaluated, change_section
from .protocols import ProtocolSection, protocol_sections
from .sections import Fact, TargetSection, TrainingSection, target_section, training_section

MOST_PAIRS = 100  # per kind; limited because their images are embedded in the page


class ReportSettings(NamedTuple):
    """Options of the evaluation of a report."""

    batch_size: int = 32
    folds: int = 10
    resamples: int = 1000
    seed: int = 0
    hardest: int = 8  # number of hardest pairs of each kind to show


class ModelReport(NamedTuple):
    """Content of the page and of the card."""

    title: str
    evaluated: str  # date, version and engine
    facts: List[Fact]
    targets: List[TargetSection]
    training: Optional[TrainingSection]
    origin: origin.Origin
    limits: List[str]
    protocols: List[ProtocolSection]


def check_outputs(
    output: str, card: str = "", overwrite: bool = False, hardest: int = 0, inputs: Sequence[atomic.PathLike] = ()
) -> None:
    """Check that the outputs can be written, before anything is evaluated.

    Raises
    ------
    InsightError
        An output already exists, cannot be written or is one of ``inputs``, both outputs are the same file,
        ``hardest`` is too large, or matplotlib or Jinja is not installed.
    """
    if hardest > MOST_PAIRS:
        raise InsightError(f"--hardest {hardest}: must be at most {MOST_PAIRS}; all images are embedded in the page")
    if card and os.path.realpath(card) == os.path.realpath(output):
        raise InsightError(f"--card {card}: is the same file as --output; give another name")
    for option, path in (("--output", output), ("--card", card)):
        if path and os.path.isfile(path) and not overwrite:
            raise InsightError(f"{path}: already exists; give another name, or --overwrite")
        if path:
            atomic.check_output(path, option, inputs)
    render.require()


def write_report(
    engine: Engine,
    sets: Sequence[EvalSet],
    output: str,
    card: str = "",
    logs: Sequence[str] = (),
    title: str = "",
    overwrite: bool = False,
    settings: Optional[ReportSettings] = None,
    protocols: Sequence[str] = (),
    before: Optional[Engine] = None,
) -> ModelReport:
    """Evaluate a model, and write the page and the card. If anything fails, neither is written.

    Parameters
    ----------
    engine : Engine
        The model.
    sets : sequence of EvalSet
        Verification sets.
    output : str
        The HTML file.
    card : str
        The Markdown file; if empty, none is written.
    logs : sequence of path
        Logs of training runs, whose curves are drawn.
    title : str
        Heading; if empty, the last two parts of the model's path.
    overwrite : bool
        Replace existing files.
    settings : ReportSettings, optional
    protocols : sequence of path
        JSON files written by `insight ijb` and `insight megaface`.
    before : Engine, optional
        An earlier model, which is evaluated on the same sets for comparison.

    Raises
    ------
    InsightError
        As raised by :func:`check_outputs`, :func:`insight.verify.verification.verify`,
        :func:`insight.runs.logfiles.read_logs` and :func:`.protocols.protocol_sections`, or the lineage of the model is
        damaged.
    """
    settings = settings or ReportSettings()
    check_outputs(output, card, overwrite, settings.hardest)
    runs = read_logs(logs)
    measured = protocol_sections(protocols, digest(model_files(engine.spec))) if protocols else []
    source = origin.find(engine.spec, sets, before.spec if before else "")
    targets = [_section(number, one, engine, before, settings) for number, one in enumerate(sets, 1)]
    report = ModelReport(
        title or _name(engine.spec),
        _evaluated(engine),
        _facts(engine, source),
        targets,
        training_section(runs) if runs else None,
        source,
        [f"The model {note}." for note in engine.notes] + [limit for t in targets for limit in t.limits],
        measured,
    )
    texts = {output: render.page(report), **({card: render.card(report)} if card else {})}
    with ExitStack() as outputs:  # renames both files when it ends
        for path, text in texts.items():
            outputs.enter_context(atomic.write_beside(path, "w", encoding="utf-8", errors="backslashreplace")).write(
                text
            )
    return report


def _section(
    number: int, eval_set: EvalSet, engine: Engine, before: Optional[Engine], settings: ReportSettings
) -> TargetSection:
    """Evaluate the ``number``-th set, and make its section."""
    after, compared = _evaluate(engine, eval_set, settings), None
    if before:
        earlier = _evaluate(before, eval_set, settings)
        compared = change_section(_name(before.spec), earlier, after, settings.resamples, settings.seed)
    return target_section(number, eval_set, *after, engine.image_size, settings.hardest, compared)


def _evaluate(engine: Engine, eval_set: EvalSet, settings: ReportSettings) -> Evaluated:
    result = verify(engine, eval_set, engine.image_size, settings.batch_size, settings.folds, show_progress=True)
    return Evaluated(result, figures(result, settings.resamples, settings.seed))


def _name(spec: str) -> str:
    """The last two parts of the model's path, so that the report does not show the other folders of this machine."""
    return "/".join(Path(spec).parts[-2:])


def _evaluated(engine: Engine) -> str:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return f"Evaluated {now} by insight {__version__}, {engine.describe()}."


def _facts(engine: Engine, source: origin.Origin) -> List[Fact]:
    height, width = engine.image_size
    size = sum(file.size for file in source.files)
    return [
        Fact("Model", _name(engine.spec)),
        Fact("Input", f"{height} x {width} RGB, 0..255, aligned face"),
        Fact("Embedding", f"{engine.dimension} numbers"),
        Fact("Size", f"{size / 1e6:.2f} MB"),
    ]
