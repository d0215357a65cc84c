"""Lists (.lst) of identity folders: one folder per person, one level deep. No file is moved or deleted."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import Iterator, List, Optional, Sequence, Tuple

from ..errors import InsightError
from ..faces.folders import IdentityFolder, Skipped, read_identities
from ..files.commit import refuse_existing
from ..formats.labelmap import label_map_path, write_label_map
from ..formats.lst import Entry, print_lst, write_lst

STDOUT = "standard output"
MIN_IDENTITIES = 2  # on each side of a split: training needs two classes, an impostor pair needs two people


@dataclass
class Scan:
    """The identities of a folder, sorted by name, and the skipped files by reason."""

    folder: str
    identities: List[IdentityFolder] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)
    notes: List[str] = field(default_factory=list)
    dropped_identities: int = 0  # with fewer than min_images images
    dropped_images: int = 0
    single: int = 0  # number of identities with one image that are listed

    @property
    def images(self) -> int:
        return sum(len(identity.files) for identity in self.identities)


def scan_identities(folder: str, min_images: int = 1) -> Scan:
    """Find the images of a folder of identity folders with :func:`insight.faces.folders.read_identities`.

    Parameters
    ----------
    folder : str
    min_images : int
        Identities with fewer images are skipped.

    Raises
    ------
    InsightError
        The folder is missing or has no identity with enough images.
    """
    if min_images < 1:
        raise InsightError(f"--min-images {min_images}: want 1 or more")
    read = read_identities(folder, for_list=True)
    scan = Scan(folder, skipped=read.skipped, notes=read.notes)
    for identity in read.identities:
        if len(identity.files) >= min_images:
            scan.identities.append(identity)
            scan.single += len(identity.files) == 1
        else:
            scan.dropped_identities += 1
            scan.dropped_images += len(identity.files)
    if not scan.identities:
        raise InsightError(
            f"{folder}: none of its {scan.dropped_identities} identities has {min_images} images; lower --min-images"
        )
    return scan


def split_identities(
    identities: Sequence[IdentityFolder], ratio: float, seed: int = 0
) -> Tuple[List[IdentityFolder], List[IdentityFolder]]:
    """Split identities, not images, into a training part and a held-out part.

    Each identity's rank depends only on the seed and its name, so adding identities moves few of the others to the
    other part.

    Returns
    -------
    training, held_out : list of IdentityFolder
        In the given order; ``round(ratio * len(identities))`` are held out.

    Raises
    ------
    InsightError
        The ratio is not between 0 and 1, or a part would have fewer than two identities.
    """
    if not 0 < ratio < 1:
        raise InsightError(f"--val-ratio {ratio:g}: want more than 0 and less than 1")
    count = round(ratio * len(identities))
    if min(count, len(identities) - count) < MIN_IDENTITIES:
        raise InsightError(
            f"--val-ratio {ratio:g} of {len(identities)} identities holds out {count} and trains on "
            f"{len(identities) - count}: both sides need {MIN_IDENTITIES} or more; add people or change the ratio"
        )
    drawn = sorted(range(len(identities)), key=lambda i: _draw(seed, identities[i].name))
    held_out = set(drawn[:count])
    return (
        [identity for i, identity in enumerate(identities) if i not in held_out],
        [identity for i, identity in enumerate(identities) if i in held_out],
    )


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:".encode() + os.fsencode(name)).digest()


def entries_of(identities: Sequence[IdentityFolder]) -> Iterator[Entry]:
    """Yield aligned list entries with labels 0, 1, 2, .. in the order of the identities."""
    for label, identity in enumerate(identities):
        for path in identity.paths:
            yield Entry(path, label)


@dataclass
class ListReport:
    """The result of ``dir2lst``: (path, images, identities) of each list; the path may be ``STDOUT``."""

    scan: Scan
    written: List[Tuple[str, int, int]] = field(default_factory=list)
    maps: List[str] = field(default_factory=list)

    def lines(self) -> List[str]:
        lines = [f"{path}: {images} images of {people} identities" for path, images, people in self.written]
        lines += [f"{path}: label map" for path in self.maps]
        if self.scan.dropped_identities:
            lines.append(
                f"left out: {self.scan.dropped_identities} identities below --min-images, "
                f"with {self.scan.dropped_images} images"
            )
        lines += self.scan.skipped.lines() + self.scan.notes
        if self.scan.single:
            of = f"{self.scan.single} of {len(self.scan.identities)} identities"
            lines.append(f"note: one image in {of}; --min-images 2 leaves them out, as InsightFace's script does")
        if not self.maps and sum(people for _, _, people in self.written) == 1:
            lines.append("note: one identity can be merged or embedded; training needs two or more")
        return lines


def folder_to_lists(
    folder: str,
    output: Optional[str],
    min_images: int = 1,
    val_ratio: float = 0.0,
    val_output: Optional[str] = None,
    seed: int = 0,
    label_map: bool = False,
    overwrite: bool = False,
) -> ListReport:
    """Write the list of a folder of identity folders, or two lists that share no identity.

    Parameters
    ----------
    folder : str
        Folder of identity folders.
    output : str, optional
        The .lst to write; default: standard output.
    min_images : int
        Identities with fewer images are skipped.
    val_ratio : float
        Share of the identities to hold out, in [0, 1); 0 writes one list.
    val_output : str, optional
        List of the held-out identities; default: ``val.lst`` beside ``train.lst``, otherwise ``<name>_val.lst``
        beside ``<name>.lst``.
    seed : int
    label_map : bool
        Also write ``<list>.labels.csv`` (label, folder name) beside each list.
    overwrite : bool
        Replace existing lists and maps.

    Raises
    ------
    InsightError
        As :func:`scan_identities` and :func:`split_identities`, or an output already exists.
    """
    if val_output is not None and not val_ratio:
        raise InsightError("--val-output: nothing is held out; give --val-ratio too")
    if output is None:
        _check_without_list(val_ratio, val_output, label_map)
    scan = scan_identities(folder, min_images)
    listed = output or STDOUT
    parts = [(listed, scan.identities)]
    if val_ratio:
        try:
            training, held_out = split_identities(scan.identities, val_ratio, seed)
        except InsightError as error:
            raise InsightError(f"{folder}: {error}") from None
        parts = [(listed, training), (val_output or default_val_output(listed), held_out)]
    report = ListReport(scan)
    for path in [path for path, _ in parts if path != STDOUT] if not overwrite else ():
        for written in [path, label_map_path(path)] if label_map else [path]:
            refuse_existing(os.path.dirname(written), [os.path.basename(written)])
    for path, identities in parts:
        if label_map:
            report.maps.append(label_map_path(path))
            write_label_map(label_map_path(path), [identity.name for identity in identities])
        entries = entries_of(identities)
        count = print_lst(entries) if path == STDOUT else write_lst(path, entries)
        report.written.append((path, count, len(identities)))
    return report


def _check_without_list(val_ratio: float, val_output: Optional[str], label_map: bool) -> None:
    """Raise for outputs whose default names derive from the list's, if it is written to standard output."""
    if val_ratio and val_output is None:
        raise InsightError(f"--val-ratio {val_ratio:g}: needs a name for the held-out list; give LST, or --val-output")
    if label_map:
        raise InsightError("--label-map: is written beside the list, which goes to standard output; give LST")


def default_val_output(output: str) -> str:
    """Return the default path of the held-out list."""
    stem, ending = os.path.splitext(output)
    head, name = os.path.split(stem)
    return os.path.join(head, ("val" if name == "train" else name + "_val") + ending)
