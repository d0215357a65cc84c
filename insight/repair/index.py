"""Rewriting the .idx and ``property`` of a set beside its .rec, which is not changed."""

from __future__ import annotations

import os
from typing import List, NamedTuple, Optional, Tuple

import numpy as np

from ..errors import InsightError
from ..files.commit import commit_together
from ..formats import property, remedies, shards
from ..formats.idx import idx_path_of
from ..formats.recordwriter import BUFFER_BYTES
from .plan import FITS, MISSING, PARTIAL, Diagnosis, float_labels, usable_labels, without_path
from .sizes import by, measure

_LINES = 1 << 16  # number of lines of an .idx that are formatted at a time
_FIRST = 64  # all images are measured if the headers of this many do not state a size


class _Renewed(NamedTuple):
    """A file to write: name, content (None for the .idx of a shard), reason and shard."""

    name: str
    content: Optional[str]
    why: str
    shard: int = 0


def renew(path: str, diagnosis: Diagnosis, dry_run: bool, overwrite: bool) -> Tuple[List[str], List[str]]:
    """Write .idx and ``property`` if they are missing, and with ``overwrite`` also if they are wrong.

    Returns
    -------
    done, remains : list of str
        Lines about the files that were written or kept, and about the faults of the .rec itself.

    Raises
    ------
    InsightError
        A file is wrong and ``overwrite`` is not set, or the .rec does not determine the keys or the image size.
    """
    rec_path = diagnosis.layout.records.rec_path
    folder = os.path.dirname(rec_path) or "."
    idx_names = [os.path.basename(idx_path_of(one)) for one in diagnosis.layout.records.rec_paths]
    renewed = []
    if diagnosis.index not in (FITS, PARTIAL):
        _refuse_without_keys(path, diagnosis)
        for shard, name in enumerate(idx_names):
            if overwrite or diagnosis.index != MISSING or not os.path.lexists(os.path.join(folder, name)):
                renewed.append(_Renewed(name, None, diagnosis.why, shard))
    wanted, why, others = _judge_property(folder, diagnosis, overwrite)
    if why:
        renewed.append(_Renewed(property.NAME, wanted.text(), why))
    for name, _, why, _ in renewed if not overwrite else ():
        existing = os.path.join(folder, name)
        if os.path.lexists(existing):
            replace, spare = remedies.in_place(path, overwrite=True), remedies.into_new(path)
            raise InsightError(f"{existing}: does not fit the set ({why}); `{replace}` replaces it, `{spare}` keeps it")
    if renewed and not dry_run:
        with commit_together(folder, [one.name for one in renewed], overwrite) as staging:
            for name, content, _, shard in renewed:
                if content is None:
                    write_idx(staging.path(name), diagnosis, shard)
                else:
                    staging.path(name).write_text(content, encoding="ascii")
    verb = "would be written" if dry_run else "written"
    done = [f"{os.path.join(folder, name)}: {verb} ({why})" for name, _, why, _ in renewed]
    done += _kept(diagnosis, folder, idx_names, [one.name for one in renewed])
    return done, _remains(path, diagnosis, others)


def _refuse_without_keys(path: str, diagnosis: Diagnosis) -> None:
    if not diagnosis.original_keys:
        raise InsightError(
            f"{diagnosis.layout.records.rec_path}: its records share numbers and fit no header record, so their keys "
            f"are lost; `{remedies.into_new(path)}` renumbers them"
        )


def _judge_property(folder: str, diagnosis: Diagnosis, overwrite: bool) -> Tuple[property.Property, str, str]:
    """Return the correct property, the fault of the existing one ("" if none), and a text about images of other sizes.

    A property with more classes than labels is wrong only with ``overwrite``, since classes may be reserved for other
    images. All images are measured only if their size is uncertain.
    """
    layout = diagnosis.layout
    labels = float_labels(layout)
    classes = int(labels[usable_labels(labels)].max(initial=0)) + 1
    existing, why = _read_property(folder)
    if existing is not None:
        if existing.num_classes < classes or (overwrite and existing.num_classes != classes):
            why = f"it has {existing.num_classes} classes, and the largest label is {classes - 1}"
        if layout.first_size(_FIRST) in (None, existing[1:]):
            return property.Property(classes, *existing[1:]), why, ""
    seen = measure(layout)
    size = seen.commonest()
    if size is None:
        raise InsightError(f"{layout.records.rec_path}: none of its {len(layout.rows)} images can be decoded")
    if existing is not None and size != existing[1:]:
        why = f"it has {by(existing[1:])}, and most images are {by(size)}"
    other_sizes = seen.others(size)
    others = ""
    if len(other_sizes):
        others = f"{len(other_sizes)} images are not {by(size)} (key {layout.keys[other_sizes[0]]})"
    return property.Property(classes, *size), why, others


def _read_property(folder: str) -> Tuple[Optional[property.Property], str]:
    path = os.path.join(folder, property.NAME)
    try:
        return property.read_property(folder), ""
    except InsightError as error:
        return None, without_path(str(error), path) if os.path.lexists(path) else "it was missing"


def _kept(diagnosis: Diagnosis, folder: str, idx_names: List[str], renewed: List[str]) -> List[str]:
    lines = []
    notes = {
        PARTIAL: f"{diagnosis.why}; --overwrite gives all of them a key",
        MISSING: "not compared with its .rec, as that of another shard was missing; --overwrite writes all of them",
    }
    for idx_name in [name for name in idx_names if name not in renewed]:
        note = notes.get(diagnosis.index, "it fits the .rec")
        lines.append(f"{os.path.join(folder, idx_name)}: kept ({note})")
    if property.NAME not in renewed:
        return [*lines, f"{os.path.join(folder, property.NAME)}: kept"]
    own = shards.pattern(os.path.basename(diagnosis.layout.records.rec_path))
    others = [name for name in shards.sets_in(folder) if shards.pattern(name) != own]
    if others:
        lines.append(f"note: {folder}/{property.NAME} also applies to {', '.join(others[:5])}, which were not read")
    return lines


def _remains(path: str, diagnosis: Diagnosis, others: str) -> List[str]:
    faults = list(diagnosis.faults)
    labels = float_labels(diagnosis.layout)
    bad = np.flatnonzero(~usable_labels(labels))
    if len(bad):
        key = diagnosis.layout.keys[bad[0]]
        faults.append(f"{len(bad)} labels are not whole numbers from 0 to 2^31 (key {key})")
    if others:
        faults.append(others)
    if not faults:
        return []
    shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
    return [f"faults of the .rec itself: {shown}", f"`{remedies.into_new(path)}` skips and lists damaged records"]


def write_idx(path, diagnosis: Diagnosis, shard: int = 0) -> None:
    """Write the .idx of a shard: keys and offsets of its records that have a key, in the order of the .rec.

    Records that begin at offsets that are not multiples of 4, as is possible after damage, are not listed.
    """
    records = diagnosis.layout.records
    base, end = records.bases[shard : shard + 2]
    inside = slice(*np.searchsorted(records.offsets, [base, end]))
    keys, offsets = diagnosis.keys[inside], records.offsets[inside] - base
    named = np.flatnonzero((keys >= 0) & (offsets & 3 == 0))
    with open(path, "wb", buffering=BUFFER_BYTES) as out:
        for begin in range(0, len(named), _LINES):
            rows = named[begin : begin + _LINES]
            pairs = zip(keys[rows].tolist(), offsets[rows].tolist())
            out.write(b"".join([b"%d\t%d\n" % pair for pair in pairs]))
