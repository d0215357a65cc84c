"""The .idx and the property of a set, written anew beside a .rec that stays as it is."""

from __future__ import annotations

import os
from typing import List, NamedTuple, Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..files.commit import commit_together
from ..formats import property, remedies
from ..formats.idx import idx_path_of
from ..formats.recordwriter import BUFFER_BYTES
from .plan import FITS, PARTIAL, Diagnosis, float_labels, usable_labels, without_path
from .sizes import by, measure

_LINES = 1 << 16  # of an .idx that are made at a time
_FIRST = 64  # images of which one must say its size, or all are looked at


class _Renewed(NamedTuple):
    """A file to write: its name, its content (None: that of an .idx), and why."""

    name: str
    content: Optional[str]
    why: str


def renew(path: str, found: Diagnosis, dry_run: bool, overwrite: bool) -> Tuple[List[str], List[str]]:
    """Write .idx and property where they are missing, and with ``overwrite`` where they are wrong.

    Returns
    -------
    done, remains : list of str
        What was written or kept, and the faults of the .rec itself, in sentences.

    Raises
    ------
    InsightError
        A wrong file may not be replaced, or the .rec tells neither keys nor a size.
    """
    rec_path = found.layout.records.rec_path
    folder, idx_name = os.path.dirname(rec_path) or ".", os.path.basename(idx_path_of(rec_path))
    renewed = []
    if found.index not in (FITS, PARTIAL):
        _refuse_without_keys(path, found)
        renewed.append(_Renewed(idx_name, None, found.why))
    wanted, why, others = _judge_property(folder, found, overwrite)
    if why:
        renewed.append(_Renewed(property.NAME, wanted.text(), why))
    for name, _, why in renewed if not overwrite else ():
        existing = os.path.join(folder, name)
        if os.path.lexists(existing):
            replace, spare = remedies.in_place(path, overwrite=True), remedies.into_new(path)
            raise InsightError(
                f"{existing}: does not fit the set ({why}); `{replace}` replaces it, `{spare}` leaves it as it is"
            )
    if renewed and not dry_run:
        with commit_together(folder, [name for name, _, _ in renewed], overwrite) as staging:
            for name, content, _ in renewed:
                if content is None:
                    write_idx(staging.path(name), found)
                else:
                    staging.path(name).write_text(content, encoding="ascii")
    verb = "would be written" if dry_run else "written"
    done = [f"{os.path.join(folder, name)}: {verb} ({why})" for name, _, why in renewed]
    done += _kept(found, folder, idx_name, [name for name, _, _ in renewed])
    return done, _remains(path, found, others)


def _refuse_without_keys(path: str, found: Diagnosis) -> None:
    if not found.told:
        raise InsightError(
            f"{found.layout.records.rec_path}: its records share numbers and fit no header record, so their keys are "
            f"lost; `{remedies.into_new(path)}` numbers them anew"
        )


def _judge_property(folder: str, found: Diagnosis, overwrite: bool) -> Tuple[property.Property, str, str]:
    """The property that the set should have; why the one that exists is not it (empty where it is); odd sizes.

    One with more classes than labels is wrong only where it is to be replaced: they may be kept for
    other images. All images are looked at only where their size is in question.
    """
    layout = found.layout
    labels = float_labels(layout)
    classes = int(labels[usable_labels(labels)].max(initial=0)) + 1
    said, why = _read_property(folder)
    if said is not None:
        if said.num_classes < classes or (overwrite and said.num_classes != classes):
            why = f"it has {said.num_classes} classes, and the largest label is {classes - 1}"
        if layout.first_size(_FIRST) in (None, said[1:]):
            return property.Property(classes, *said[1:]), why, ""
    seen = measure(layout)
    size = seen.commonest()
    if size is None:
        raise InsightError(f"{layout.records.rec_path}: none of its {len(layout.rows)} images can be decoded")
    if said is not None and size != said[1:]:
        why = f"it has {by(said[1:])}, and most images are {by(size)}"
    odd = seen.others(size)
    others = f"{len(odd)} images are not {by(size)} (key {layout.keys[odd[0]]})" if len(odd) else ""
    return property.Property(classes, *size), why, others


def _read_property(folder: str) -> Tuple[Optional[property.Property], str]:
    path = os.path.join(folder, property.NAME)
    try:
        return property.read_property(folder), ""
    except InsightError as error:
        return None, without_path(str(error), path) if os.path.lexists(path) else "it was missing"


def _kept(found: Diagnosis, folder: str, idx_name: str, renewed: List[str]) -> List[str]:
    lines = []
    if idx_name not in renewed:
        note = f"{found.why}; --overwrite names them all" if found.index == PARTIAL else "it fits the .rec"
        lines.append(f"{os.path.join(folder, idx_name)}: kept ({note})")
    if property.NAME not in renewed:
        return [*lines, f"{os.path.join(folder, property.NAME)}: kept"]
    own = os.path.basename(found.layout.records.rec_path)
    others = sorted(n for n in os.listdir(folder) if n.endswith(".rec") and n[0] != "." and n != own)
    if others:
        lines.append(f"note: {folder}/{property.NAME} also speaks of {', '.join(others[:5])}, which were not read")
    return lines


def _remains(path: str, found: Diagnosis, others: str) -> List[str]:
    faults = list(found.faults)
    labels = float_labels(found.layout)
    bad = np.flatnonzero(~usable_labels(labels))
    if len(bad):
        faults.append(f"{len(bad)} labels are no whole numbers from 0 to 2^31 (key {found.layout.keys[bad[0]]})")
    if others:
        faults.append(others)
    if not faults:
        return []
    shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
    return [f"faults of the .rec itself: {shown}", f"`{remedies.into_new(path)}` leaves out and lists what is damaged"]


def write_idx(path, found: Diagnosis) -> None:
    """Write keys and offsets of the records that have a key, in the order of the file.

    Behind damage records may begin at other offsets than multiples of 4, which no .idx has.
    """
    named = np.flatnonzero((found.keys >= 0) & (found.layout.records.offsets & 3 == 0))
    with open(path, "wb", buffering=BUFFER_BYTES) as out:
        for begin in range(0, len(named), _LINES):
            rows = named[begin : begin + _LINES]
            pairs = zip(found.keys[rows].tolist(), found.layout.records.offsets[rows].tolist())
            out.write(b"".join([b"%d\t%d\n" % pair for pair in pairs]))
