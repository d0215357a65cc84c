"""Counts of a run, and its report."""

from __future__ import annotations

from collections import Counter
from typing import Dict, List, Sequence

from ..errors import printable
from ..faces.folders import NAMED, Skipped
from .unit_task import AMBIGUOUS, CROPS, DAMAGED, FACELESS, FACES, PHOTOS, REJECTED_FACE, UnitResult


class Tally:
    """Sum of the results of all units.

    Parameters
    ----------
    skipped : Skipped
        Files that are not photos and belong to no unit; those of the units are added.

    Attributes
    ----------
    counts : Counter
        Sum of the counts of all units.
    folders : dict of str to int
        Number of crops of each folder with photos.
    """

    def __init__(self, skipped: Skipped):
        self.counts: Counter = Counter()
        self.folders: Dict[str, int] = {}
        self._reused = 0
        self._skipped = skipped
        self._ambiguous: List[str] = []
        self._left_behind: List[str] = []

    def add(self, result: UnitResult) -> None:
        """Add the result of a unit."""
        self.counts.update(result.counts)
        if result.counts.get(PHOTOS):
            self.folders[result.folder] = self.folders.get(result.folder, 0) + result.counts.get(CROPS, 0)
        if result.reused:
            self._reused += result.counts.get(PHOTOS, 0)
        for reason, (count, names) in result.left_out.items():
            self._skipped[reason] += count
            self._skipped.names[reason] = (self._skipped.names.get(reason, []) + names)[:NAMED]
        if result.counts.get(AMBIGUOUS):
            self._ambiguous.append(result.folder)
        self._left_behind += result.left_behind

    def lines(self, out: str, table: str, others: Sequence[str] = ()) -> List[str]:
        """Lines of the report, which counts every photo and every face.

        Parameters
        ----------
        out, table : str
            The output folder, and the name of its table.
        others : sequence of str
            Folders of the output for which there are no photos.
        """
        counts, empty = self.counts, [name for name, crops in self.folders.items() if not crops]
        lines = [
            f"{printable(out)}: {counts[CROPS]} faces of {counts[PHOTOS]} photos in {len(self.folders)} folders",
            f"  {counts[FACES]} faces found: {', '.join([f'{counts[CROPS]} kept', *_reasons(counts, REJECTED_FACE)])}",
        ]
        faceless = _reasons(counts, FACELESS)
        if faceless:
            number = sum(n for what, n in counts.items() if what.startswith(FACELESS))
            lines.append(f"  {number} photos without a face: {', '.join(faceless)}")
        if counts[DAMAGED]:
            lines.append(f"  {counts[DAMAGED]} photos decode with a warning, which the table has")
        if self._reused:
            lines.append(f"  {self._reused} of the photos were done by an earlier run")
        for what, names in (
            ("folders without a crop", empty),
            ("ambiguous folders, where two people are equally likely", self._ambiguous),
            (
                "crops of an earlier run whose photo is gone or has another face (--overwrite removes them)",
                self._left_behind,
            ),
            ("folders of the output without photos", others),
        ):
            if names:
                shown = ", ".join(map(printable, names[:NAMED])) + (", …" if len(names) > NAMED else "")
                lines.append(f"  {len(names)} {what}: {shown}")
        lines += [f"  {line}" for line in self._skipped.lines()]
        return [*lines, f"  {table}: a row per face, and per photo without one"]


def _reasons(counts: Counter, prefix: str) -> List[str]:
    """A text such as ``12 no face found`` for each reason."""
    return [f"{n} {what[len(prefix) :]}" for what, n in sorted(counts.items()) if what.startswith(prefix)]
