"""Tasks and results of the workers, which are small, picklable, and do not need NumPy."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

from .raw import PhotoUnit
from .settings import AlignSettings

# Keys of a result's counts. The last two are prefixes, to which a reason is appended.
PHOTOS, FACES, CROPS, DAMAGED, AMBIGUOUS = "photos", "faces", "crops", "damaged", "ambiguous"
REJECTED_FACE, FACELESS = "rejected: ", "skipped: "


class Question(NamedTuple):
    """A request to open all files of the settings; the result is :class:`Described`."""

    raw: str
    settings: AlignSettings


class Described(NamedTuple):
    """The settings as the output records them, and notes on what was assumed."""

    settings: Dict[str, Any]
    notes: List[str]


class UnitTask(NamedTuple):
    """A task: align one unit. Any worker with access to the files can run it.

    Attributes
    ----------
    raw, out : str
        The raw folder, the output folder.
    unit : PhotoUnit
    settings : AlignSettings
    made_with : str
        Digest of the output's settings.
    overwrite : bool
        Whether to remove crops of earlier runs that no photo yields any more.
    on_cluster : bool
        Whether the worker is on a cluster, where other packages may be installed.
    unmade : bool
        Whether the unit had no part when the task was created. A part that exists when the task runs was then written
        by a worker of the same run that ended before it returned its result.
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
    """Result of a :class:`UnitTask`.

    Attributes
    ----------
    folder, key : str
        Those of the unit.
    counts : dict of str to int
        Numbers of photos, faces, crops, damaged photos and ambiguous folders; of rejected faces and of photos without
        a face by reason.
    left_out : dict
        Files that are not photos: {reason: (count, the first names)}.
    left_behind : list of str
        Paths, below the output folder, of crops of earlier runs that no photo yields any more.
    reused : bool
        Whether the part of an earlier run was used.
    """

    folder: str
    key: str
    counts: Dict[str, int]
    left_out: Dict[str, Tuple[int, List[str]]]
    left_behind: List[str]
    reused: bool = False
