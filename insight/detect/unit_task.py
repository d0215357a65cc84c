"""What goes to the workers and comes back: small, picklable, and without NumPy."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

from .raw import PhotoUnit
from .settings import AlignSettings

# Keys of a result's counts. Behind the last two stands a reason.
PHOTOS, FACES, CROPS, DAMAGED, AMBIGUOUS = "photos", "faces", "crops", "damaged", "ambiguous"
REJECTED_FACE, FACELESS = "rejected: ", "skipped: "


class Question(NamedTuple):
    """Asks a worker to open all that the settings name."""

    raw: str
    settings: AlignSettings


class Described(NamedTuple):
    """The settings as the output records them, and notes on what was assumed."""

    settings: Dict[str, Any]
    notes: List[str]


class UnitTask(NamedTuple):
    """The work on one unit; a worker anywhere that sees the files can do it.

    Attributes
    ----------
    raw, out : str
        The raw folder, the output folder.
    unit : PhotoUnit
    settings : AlignSettings
    made_with : str
        Digest of the output's settings.
    overwrite : bool
        Whether crops of earlier runs that no photo accounts for any more are removed.
    on_cluster : bool
        Whether the worker is one of a cluster, which may have other packages.
    unmade : bool
        Whether the unit had no part when the run came to it: a part that is there now was written by a worker of this
        run that ended before it had given its result away.
    """

    raw: str
    out: str
    unit: PhotoUnit
    settings: AlignSettings
    made_with: str
    overwrite: bool = False
    on_cluster: bool = False
    unmade: bool = False


class UnitResult(NamedTuple):
    """What a worker reports of a unit.

    Attributes
    ----------
    folder, key : str
        Of the unit.
    counts : dict
        Photos, faces, crops, damaged photos, ambiguous folders; rejected faces and photos without a face by reason.
    left_out : dict
        Files that are no photos: {reason: (count, the first names)}.
    left_behind : list of str
        Crops of an earlier run that no photo accounts for any more: paths below the output.
    reused : bool
        Whether an earlier run had made it.
    """

    folder: str
    key: str
    counts: Dict[str, int]
    left_out: Dict[str, Tuple[int, List[str]]]
    left_behind: List[str]
    reused: bool = False
