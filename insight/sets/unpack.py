"""Extraction of record sets and verification sets to image files, with unchanged bytes."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Iterator, List, Optional, Tuple

from ..errors import InsightError
from ..files.commit import folder_beside
from ..formats.evalbin import EvalBin, is_bin, read_bin
from ..formats.faceset import FaceSet
from ..formats.labelmap import read_label_map
from ..images.header import suffix_of
from ..progress import track
from .payloads import no_images, why_unusable

PAIRS_NAME = "pairs.csv"
PAIRS_COLUMNS = ("image_a", "image_b", "same")


@dataclass
class UnpackReport:
    """The numbers of files and folders that were written."""

    output: str
    images: int
    folders: int
    notes: List[str]

    def lines(self) -> List[str]:
        return [*self.notes, f"{self.output}: {self.images} images in {self.folders} folders"]


def unpack(source: str, output: str, label_map: Optional[str] = None) -> UnpackReport:
    """Write the images of a set as files.

    Parameters
    ----------
    source : str
        A record set (folder, .rec or prefix) or a verification .bin.
    output : str
        A folder that does not exist or is empty; it gets this name when it is complete. For a record set it has one
        folder per identity, with files ``<label>/<key>.jpg``. Numbers are zero-padded, so that dir2lst and face2rec
        pack the files in the order of labels and keys. For a .bin it has ``images/`` and ``pairs.csv``, from which
        make-bin builds the same .bin.
    label_map : str, optional
        CSV file (label, name) with the names of the identity folders.

    Raises
    ------
    InsightError
        The source is damaged, or ``output`` already exists and is not empty.
    """
    if is_bin(source):
        if label_map is not None:
            raise InsightError("--label-map: a verification .bin has no labels; leave it out")
        return _unpack_bin(source, output)
    with FaceSet.open(source) as faces:
        names = read_label_map(label_map) if label_map is not None else {}
        return _unpack_set(faces, output, names)


def _unpack_set(faces: FaceSet, output: str, names: dict[int, str]) -> UnpackReport:
    folders = _folder_names(faces, names)
    key_width = len(str(int(faces.images[-1])))
    unusable: List[int] = []
    with folder_beside(output) as root:
        made = set()
        rows = zip(faces.images, map(int, faces.labels))
        for i, (key, label) in enumerate(track(rows, "unpacking", len(faces), "images")):
            folder = root / folders[label]
            if label not in made:
                folder.mkdir()
                made.add(label)
            payload = faces.payload(i)
            if why_unusable(payload):
                unusable.append(key)
            (folder / f"{key:0{key_width}d}{suffix_of(payload)}").write_bytes(payload)
    return UnpackReport(output, len(faces), len(made), faces.notes + _unusable_notes(faces.rec_path, unusable))


def _unusable_notes(source: str, keys: List[int]) -> List[str]:
    return [f"{source}: {no_images(keys)}; dir2lst skips such files"] if keys else []


def _folder_names(faces: FaceSet, names: dict[int, str]) -> dict[int, str]:
    labels = faces.distinct_labels().tolist()
    width = len(str(max(labels[-1], faces.num_classes - 1)))
    folders = {label: names.get(label, f"{label:0{width}d}") for label in labels}
    for label, name in folders.items():
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise InsightError(f"--label-map: label {label} has the name {name!r}, which cannot be a folder's")
    if len(set(folders.values())) < len(folders):
        raise InsightError("--label-map: two labels share a name, or one has another's number; names must differ")
    return folders


def _unpack_bin(source: str, output: str) -> UnpackReport:
    bins = read_bin(source)
    rows = list(_bin_rows(bins))
    with folder_beside(output) as root:
        (root / "images").mkdir()
        for row, image in enumerate(track(bins.images, "unpacking", unit="images")):
            (root / rows[row // 2][row % 2]).write_bytes(image)
        with open(root / PAIRS_NAME, "w", encoding="ascii", newline="") as out:
            table = csv.writer(out, lineterminator="\n")
            table.writerow(PAIRS_COLUMNS)
            table.writerows(rows)
    unusable = [row for row, image in enumerate(bins.images) if why_unusable(image)]
    notes = [f"{source}: {no_images(unusable)}; make-bin skips their pairs"] if unusable else []
    return UnpackReport(output, len(bins.images), 1, notes)


def _bin_rows(bins: EvalBin) -> Iterator[Tuple[str, str, int]]:
    width = len(str(len(bins.issame) - 1))
    for pair, same in enumerate(bins.issame.tolist()):
        a, b = (f"images/{pair:0{width}d}_{c}{suffix_of(bins.images[2 * pair + i])}" for i, c in enumerate("ab"))
        yield a, b, int(same)
