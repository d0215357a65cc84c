"""Align the faces of raw photos: the whole ``align-faces`` command.

    report = align("photos", "faces", AlignSettings(model="y1.onnx"), workers=4)

A unit is an identity folder, or a run of consecutive photos of a flat folder.
:func:`insight.detect.unit_work.align_unit` processes one unit, in a process of the executor or on a cluster; its
argument and its result are small. Nothing here imports NumPy or OpenCV before processes are forked, because both start
threads.
"""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from typing import Any, Iterable, Iterator, List, Tuple

from ..errors import InsightError, printable
from ..executor import PROCESSES, Cluster, Workers, Workforce
from ..faces.folders import Skipped
from ..files import atomic
from ..progress import Pace, track
from .output import STATE, TABLE, OutputFolder, has_part, read_part
from .raw import PhotoUnit, flat_units, identity_units, photos_below
from .settings import AlignSettings, digest_of, forget_tools, tools_of
from .tally import Tally
from .unit_task import CROPS, Question, UnitResult, UnitTask

AHEAD = 64  # units in progress per worker: results are small, and a large unit must not delay the others
_PACE = Pace("faces", lambda result: result.counts.get(CROPS, 0), lambda result: not result.reused)


def align(raw: str, out: str, settings: AlignSettings, workers: Workforce = 1, overwrite: bool = False) -> List[str]:
    """Align the faces of raw photos.

    Parameters
    ----------
    raw : str
        A folder per identity, with photos at any depth; with ``settings.flat`` any folder of photos. It is only read.
    out : str
        The output folder: a new one, or that of an earlier run, whose finished units are not processed again.
    settings : AlignSettings
    workers : int or Cluster
        Number of processes (threads if forking is not safe), or a cluster. The result does not depend on it.
    overwrite : bool
        Replace crops that were made with other settings, and remove crops of earlier runs that no photo yields any
        more.

    Returns
    -------
    list of str
        Lines of the report.

    Raises
    ------
    InsightError
        A folder cannot be used, one is inside the other, there is no photo, the output was made with other settings, or
        the detector or the model cannot be opened.
    """
    settings.check()
    _refuse_nested(raw, out)
    skipped = Skipped()
    units = [] if settings.flat else identity_units(raw, skipped)
    total = sum(1 for _ in flat_units(raw, Skipped())) if settings.flat else len(units)
    if not (total if settings.flat else any(photos_below(raw, unit.folder, Skipped()) for unit in units)):
        raise InsightError(f"{printable(raw)}: {_why_empty(settings)}")
    tally = Tally(skipped)
    with closing(OutputFolder(out)) as output:
        on_cluster = isinstance(workers, Cluster)
        source, target, given, paths = _absolute(raw, out, settings) if on_cluster else (raw, out, settings, [])
        with Workers(_work, workers, PROCESSES, partial(_load, source, given), paths) as pool:
            (described,) = pool.in_order([Question(source, given)])
            output.agree(described.settings, overwrite)
            made_with = digest_of(described.settings)
            all_units = _swept(flat_units(raw, skipped), output) if settings.flat else units
            tasks = (UnitTask(source, target, unit, given, made_with, overwrite) for unit in all_units)
            if on_cluster:
                tasks = (task._replace(on_cluster=True, unmade=not has_part(out, task.unit.key)) for task in tasks)
            results = pool.in_order(tasks, pool.count * AHEAD)
            _write_table(output, track(results, "aligning", total, "folders", pace=_PACE), tally)
        others = sorted(set(output.folders()) - {unit.folder for unit in units} - set(tally.folders))
    return [*tally.lines(out, TABLE, others), *(f"  note: {note}" for note in described.notes)]


def _absolute(raw: str, out: str, settings: AlignSettings) -> Tuple[str, str, AlignSettings, List[str]]:
    """Raw folder, output and settings with absolute paths, and the paths that workers of a cluster must see."""
    source, target, given = os.path.abspath(raw), os.path.abspath(out), settings.absolute(raw)
    return source, target, given, [source, os.path.join(target, STATE), *given.files()]


def _work(item: Any) -> Any:
    from .unit_work import answer

    return answer(item)


def _load(raw: str, settings: AlignSettings) -> None:
    """Load what all workers need, once, so that processes that are forked later share it."""
    from ..faces.alignment import similarity, template
    from . import unit_work  # noqa: F401

    forget_tools()
    similarity(template((112, 112)), template((112, 112)))  # imports scikit-image
    if settings.landmarks:
        tools_of(settings, raw).landmarks  # noqa: B018


def _swept(units: Iterable[PhotoUnit], output: OutputFolder) -> Iterator[PhotoUnit]:
    """Yield the units of a flat folder; sweep each folder of crops before any worker writes to it."""
    folder = None
    for unit in units:
        if unit.folder != folder:
            folder = unit.folder
            output.sweep(folder)
        yield unit


def _write_table(output: OutputFolder, results: Iterable[UnitResult], tally: Tally) -> None:
    from .face_table import HEADING  # imports NumPy

    path = os.path.join(output.path, TABLE)
    with atomic.write_beside(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as table:
        table.write(HEADING)
        for result in results:
            tally.add(result)
            part = read_part(output.path, result.key)
            if part is not None:
                table.write(part.rows)


def _refuse_nested(raw: str, out: str) -> None:
    inner, outer = os.path.realpath(out), os.path.realpath(raw)
    if inner == outer:
        raise InsightError(f"{printable(out)}: is the folder of the photos, which is only read; give another output")
    for a, b, what in ((inner, outer, "is inside"), (outer, inner, "contains")):
        if a.startswith(os.path.join(b, "")):
            raise InsightError(
                f"{printable(out)}: {what} {printable(raw)}, the folder of the photos, which is only read; give an "
                f"output beside it"
            )


def _why_empty(settings: AlignSettings) -> str:
    if settings.flat:
        return "holds no photo; want photos, or folders of photos"
    return (
        "holds no folder with photos; want a folder of photos per person, or give --flat for photos without identities"
    )
