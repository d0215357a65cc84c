"""Alignment of one unit, run by the workers.

The crops are written first, then the unit's part of the table, each file atomically. A unit whose part was made with
the same settings from the same photos is not processed again.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

import numpy as np

from ..errors import InsightError
from ..executor.pool import stop_if_unwanted
from ..faces.folders import BARE, Skipped
from ..faces.unit import directions
from ..files import atomic
from ..images.pixels import decode_rgb
from .candidates import STRANGER, Candidate, Candidates, candidates_of
from .choose import ALL, FEWEST, LOWEST, agreement
from .face_table import KEPT, REJECTED, SKIPPED, FaceRow, to_csv
from .output import TABLE, Part, read_part, sweep_crops, write_crops, write_part
from .raw import RawPhoto, inputs_digest, photos_of
from .settings import AlignTools, tools_of
from .unit_task import (
    AMBIGUOUS,
    CROPS,
    DAMAGED,
    FACELESS,
    FACES,
    PHOTOS,
    REJECTED_FACE,
    Described,
    Question,
    UnitResult,
    UnitTask,
)

AT_ONCE = 256  # batch size of the network, in crops
LIKELY_OTHER = "ambiguous"


def answer(item: Union[Question, UnitTask]) -> Union[Described, UnitResult]:
    """Run a task of a worker."""
    if isinstance(item, UnitTask):
        return align_unit(item)
    tools = tools_of(item.settings, item.raw)
    return Described(tools.identity(), tools.notes())


def align_unit(task: UnitTask) -> UnitResult:
    """Align the photos of a unit, unless an earlier run has done so.

    Raises
    ------
    InsightError
        A detector or model cannot be opened, or the machine fails. Photos that cannot be used become rows of the table.
    """
    unit, skipped = task.unit, Skipped()
    photos = photos_of(task.raw, unit, skipped)
    inputs = inputs_digest(task.raw, photos)
    earlier = read_part(task.out, unit.key)
    if not photos:
        skipped.note(BARE, unit.folder)
    left_out = {reason: (count, skipped.names[reason]) for reason, count in skipped.items()}
    result = UnitResult(unit.folder, unit.key, {}, left_out, [])
    if earlier is None and not photos:
        return result
    if earlier is not None and _is_done(task, earlier, inputs):
        return result._replace(counts=earlier.counts, reused=not task.unmade, left_behind=list(earlier.left_behind))
    if unit.folder == TABLE:
        raise InsightError(f"{os.path.join(task.raw, TABLE)}: a folder with the name of the table; rename it")
    rows, crops, counts = _aligned(task, photos)
    left_behind = _write(task, photos, crops, earlier)
    sources = {row.crop: row.file for row in rows if row.crop}
    write_part(task.out, unit.key, Part(task.made_with, inputs, sources, left_behind, counts, to_csv(rows)))
    return result._replace(counts=counts, left_behind=list(left_behind))


def _is_done(task: UnitTask, part: Part, inputs: str) -> bool:
    """Whether a part equals what the task would make, and all of its crops exist."""
    same = (part.settings, part.inputs) == (task.made_with, inputs)
    return same and not (task.overwrite and part.left_behind) and all(_is_there(task, crop) for crop in part.crops)


def _is_there(task: UnitTask, crop: str) -> bool:
    return os.path.exists(os.path.join(task.out, crop))


def _aligned(task: UnitTask, photos: List[RawPhoto]) -> Tuple[List[FaceRow], Dict[str, bytes], Dict[str, int]]:
    """Rows of the table, encoded crops by their path below the output folder, and counts."""
    tools = tools_of(task.settings, task.raw)
    if task.on_cluster:
        tools.agree(task.made_with)
    photo_faces = []
    for photo in photos:
        stop_if_unwanted()
        photo_faces.append(candidates_of(os.path.join(task.raw, photo.path), photo.path, tools))
    contested = [len(candidates.open()) > 1 for candidates in photo_faces]
    ambiguous = bool(task.settings.model) and _agree(photo_faces, tools)
    rows: List[FaceRow] = []
    crops: Dict[str, bytes] = {}
    counts: Counter = Counter({PHOTOS: len(photos), AMBIGUOUS: int(ambiguous)})
    for photo, candidates, several in zip(photos, photo_faces, contested):
        candidates.settle(task.settings)
        rows += _rows(task, photo, candidates, LIKELY_OTHER if ambiguous and several else "", crops)
        counts.update({FACES: len(candidates.faces), DAMAGED: int(bool(candidates.warning))})
        counts.update(REJECTED_FACE + face.reason for face in candidates.faces if face.reason)
        if candidates.kind:
            counts[FACELESS + candidates.kind] += 1
    counts[CROPS] = len(crops)
    return rows, crops, {what: count for what, count in sorted(counts.items()) if count}


def _agree(photo_faces: List[Candidates], tools: AlignTools) -> bool:
    """In photos with several faces, choose that of the folder's person; returns whether the person is ambiguous."""
    groups = [candidates.open() for candidates in photo_faces]
    if sum(map(bool, groups)) < FEWEST or max(map(len, groups)) < 2:
        return False
    faces = [face for group in groups for face in group]
    numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    mains = np.array([face is photo_faces[k].main for k, face in zip(numbers, faces)])
    agreed = agreement(_embedded(faces, tools), numbers, mains)
    for face, cosine in zip(faces, agreed.cosines.tolist()):
        face.cosine = cosine
    for candidates, group in zip(photo_faces, groups):
        if len(group) > 1:
            best = max(group, key=lambda face: face.cosine)
            if best.cosine < LOWEST:
                candidates.take(None, STRANGER)
            else:
                candidates.take(best)
    return agreed.ambiguous


def _embedded(faces: List[Candidate], tools: AlignTools) -> np.ndarray:
    """(N, E) float32 embeddings of length 1, computed from the encoded crops as they will be stored."""
    network, rows = tools.network, []
    for begin in range(0, len(faces), AT_ONCE):
        crops = [decode_rgb(face.crop, "a crop") for face in faces[begin : begin + AT_ONCE]]
        rows.append(network(np.stack(crops).transpose(0, 3, 1, 2)))
    return directions(np.concatenate(rows), f"{tools.settings.model}: the embedding of face")


def _rows(
    task: UnitTask, photo: RawPhoto, candidates: Candidates, remark: str, crops: Dict[str, bytes]
) -> List[FaceRow]:
    """Rows of a photo; its crops are added to ``crops``."""
    if not candidates.faces:
        return [FaceRow(photo.path, SKIPPED, candidates.problem, warning=candidates.warning)]
    rows = []
    for number, candidate in enumerate(candidates.faces):
        crop = ""
        if not candidate.reason:
            end = f"_{number}" if task.settings.multi == ALL else ""
            crop = f"{task.unit.folder}/{photo.stem}{end}{task.settings.encoding}"
            crops[crop] = candidate.crop
        rows.append(
            FaceRow(
                photo.path,
                REJECTED if candidate.reason else KEPT,
                candidate.reason or remark,
                number,
                len(candidates.faces),
                crop,
                candidate.face,
                candidate.measures,
                candidate.cosine,
                candidates.warning,
            )
        )
    return rows


def _write(task: UnitTask, photos: List[RawPhoto], crops: Dict[str, bytes], earlier: Optional[Part]) -> Dict[str, str]:
    """Write crops; returns those of the earlier part that remain although no photo yields them any more."""
    folder = Path(task.out, task.unit.folder)
    if crops and not folder.is_dir():
        folder.mkdir(exist_ok=True)
        atomic.sync_directory(task.out)
    if task.unit.photos is None:  # otherwise other workers write into the same folder
        sweep_crops(folder)
    write_crops(task.out, crops)
    left = _left_behind(task, photos, crops, earlier) if earlier is not None else {}
    if left and (task.overwrite or earlier.settings != task.made_with):  # other settings come with --overwrite only
        for crop in left:
            os.unlink(os.path.join(task.out, crop))
        with suppress(OSError):  # not empty
            folder.rmdir()
        left = {}
    if folder.is_dir():
        atomic.sync_directory(folder)
    return left


def _left_behind(task: UnitTask, photos: List[RawPhoto], crops: Dict[str, bytes], earlier: Part) -> Dict[str, str]:
    """Crops of an earlier run, with their photos, that neither this unit nor another one makes any more."""
    own = {photo.path for photo in photos}
    return {
        crop: photo
        for crop, photo in {**earlier.left_behind, **earlier.crops}.items()
        if crop not in crops
        and (photo in own or not os.path.exists(os.path.join(task.raw, photo)))
        and _is_there(task, crop)
    }
