"""Read the metadata of IJB-B and IJB-C in the layout of InsightFace's evaluation, and check their consistency.

The folder ``meta`` contains ``ijbc_face_tid_mid.txt`` (image, template, medium), ``ijbc_name_5pts_score.txt`` (image, x
and y of five points, score of the detector), ``ijbc_template_pair_label.txt``, and for 1:N ``ijbc_1N_gallery_G1.csv``,
``ijbc_1N_gallery_G2.csv`` and ``ijbc_1N_probe_mixed.csv``. The galleries of IJB-B are S1 and S2. Source:
``recognition/_evaluation_/ijb`` of InsightFace @7fadd420.

Shapes: N images, T templates, P pairs.
"""

from __future__ import annotations

import math
import os
import re
from itertools import islice
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ..errors import InsightError, printable
from ..files.text import BLANK, excerpt, numbered_lines, ways
from . import ijb, ijb_search

GALLERIES = {"IJBB": ("S1", "S2"), "IJBC": ("G1", "G2")}
ONE, MANY, BOTH = "1:1", "1:N", "both"
PROTOCOLS = (ONE, MANY, BOTH)
COLUMNS = 12  # columns of ijbc_name_5pts_score.txt
_POINTS = f"want lines of {COLUMNS} columns: image, x and y of five points, score of the detector"
_FIRST = re.compile(r"[ \t,;]+")
Subjects = Tuple[np.ndarray, np.ndarray]  # (T,) templates, ascending, and (T,) subjects


class IjbSet(NamedTuple):
    """The metadata of a set, without its images.

    Attributes
    ----------
    target : str
        ``IJBB`` or ``IJBC``.
    names : list of str
        N paths of images, relative to the folder of images.
    points : numpy.ndarray
        (N, 10) float32 landmarks in pixels: five x, then five y.
    scores : numpy.ndarray
        (N,) float64 scores of the detector.
    templates, media : numpy.ndarray
        (N,) int64 numbers of the template and the medium of each image.
    pairs : tuple or None
        (P,) int64 first templates, (P,) int64 second templates, (P,) bool same; None without 1:1.
    galleries : dict or None
        Name of each gallery to its (T,) templates and (T,) subjects, int64; None without 1:N.
    probes : tuple or None
        (T,) templates and (T,) subjects, int64; None without 1:N.
    """

    target: str
    names: List[str]
    points: np.ndarray
    scores: np.ndarray
    templates: np.ndarray
    media: np.ndarray
    pairs: Optional[Tuple[np.ndarray, np.ndarray, np.ndarray]] = None
    galleries: Optional[Dict[str, Subjects]] = None
    probes: Optional[Subjects] = None


def read_set(meta, target: str, protocol: str = BOTH) -> IjbSet:
    """Read the metadata of a set and check that the files are consistent.

    Parameters
    ----------
    meta : path
        The folder with the lists.
    target : str
        ``IJBB`` or ``IJBC``.
    protocol : str
        ``1:1``, ``1:N`` or ``both``; determines which lists are read.

    Raises
    ------
    InsightError
        A list is missing or has other columns, lists name different images, a template has no image, all pairs are of
        one kind, a subject has two templates in the galleries, or no subject of the probes is in a gallery.
    """
    if not os.path.isdir(meta):
        raise InsightError(f"--meta {meta}: no such folder; want the one with {target.lower()}_face_tid_mid.txt")

    def path(name: str) -> str:
        return os.path.join(os.fspath(meta), f"{target.lower()}_{name}")

    media_path, points_path = path("face_tid_mid.txt"), path("name_5pts_score.txt")
    templates, media = ijb.read_media(media_path)
    names, points, scores = read_points(points_path)
    _check_images(media_path, len(templates), points_path, names)
    known = np.unique(templates)
    read = IjbSet(target, names, points, scores, templates, media)
    if protocol != MANY:
        pairs_path = path("template_pair_label.txt")
        pairs = _with_remedy(lambda: ijb.read_pairs(pairs_path), pairs_path, MANY)
        if pairs[2].all() or not pairs[2].any():
            raise InsightError(f"{pairs_path}: all {len(pairs[2])} pairs are of one kind; a ROC needs pairs of both")
        for side in pairs[:2]:
            _check_templates(pairs_path, side, known, media_path)
        read = read._replace(pairs=pairs)
    if protocol != ONE:
        paths = {name: path(f"1N_gallery_{name}.csv") for name in GALLERIES[target]}
        paths["probes"] = path("1N_probe_mixed.csv")
        lists = {name: _with_remedy(lambda file=file: _subjects(file), file, ONE) for name, file in paths.items()}
        for name, file in paths.items():
            _check_templates(file, lists[name][0], known, media_path)
        probes = lists.pop("probes")
        for name, (_, subjects) in lists.items():
            ijb_search.check_subjects(subjects, probes[1], paths[name])
        joined = np.concatenate([subjects for _, subjects in lists.values()])
        ijb_search.check_subjects(joined, probes[1], " and ".join(paths[name] for name in lists))
        read = read._replace(galleries=lists, probes=probes)
    return read


def read_points(path) -> Tuple[List[str], np.ndarray, np.ndarray]:
    """Read ``ijbc_name_5pts_score.txt``.

    Returns
    -------
    names : list of str
        N paths of images.
    points : numpy.ndarray
        (N, 10) float32 landmarks in pixels: five x, then five y.
    scores : numpy.ndarray
        (N,) float64 scores of the detector.

    Raises
    ------
    InsightError
        The file is missing or empty, a line has other columns, or all five points of a line coincide.
    """
    names, rows = [], []
    for number, line in numbered_lines(path, _POINTS):
        fields = next(_fields(line), None)
        if fields is None:
            raise InsightError(f"{path}:{number}: {_POINTS}; found {excerpt(line)}")
        if len(set(zip(fields[1][0:10:2], fields[1][1:10:2]))) == 1:
            raise InsightError(f"{path}:{number}: the points coincide, so no face can be aligned; want five different")
        names.append(fields[0])
        rows.append(fields[1])
    if not rows:
        raise InsightError(f"{path}: empty; {_POINTS}")
    table = np.array(rows)
    points = table[:, :10].reshape(-1, 5, 2).transpose(0, 2, 1).reshape(-1, 10)
    return names, points.astype(np.float32), table[:, 10]


def _fields(line: str) -> Iterator[Tuple[str, List[float]]]:
    """Yield the name and the numbers of a line, for each separator that gives a valid line."""
    for fields in ways(line):
        if len(fields) == COLUMNS and fields[0]:
            try:
                numbers = [float(field) for field in fields[1:]]
            except ValueError:
                continue
            if all(map(math.isfinite, numbers)):
                yield fields[0].replace("\\", "/"), numbers


def _check_images(media_path: str, count: int, points_path: str, names: List[str]) -> None:
    """Raise InsightError unless both lists contain the same images in the same order."""
    if count != len(names):
        raise InsightError(
            f"{media_path}: {count} images, but {len(names)} in {points_path}; want the same in one order"
        )
    lines = numbered_lines(media_path, "")
    heading = sum(1 for _ in numbered_lines(media_path, "")) - count
    for name, (number, line) in zip(names, islice(lines, heading, None)):
        other = _FIRST.split(line.strip(BLANK), 1)[0].strip('"').replace("\\", "/")
        if other != name:
            raise InsightError(
                f"{media_path}:{number}: image {printable(other)}, but {printable(name)} is in that place of "
                f"{points_path}; want the same images in one order"
            )


def _check_templates(path: str, numbers: np.ndarray, known: np.ndarray, media_path: str) -> None:
    missing = np.setdiff1d(numbers, known)
    if len(missing):
        others = f" ({len(missing)} such templates)" if len(missing) > 1 else ""
        raise InsightError(f"{path}: template {missing[0]} has no image in {media_path}{others}; want lists of one set")


def _subjects(path: str) -> Subjects:
    """Read templates and their subjects. Rows of one template are merged: a list may have one row per image."""
    rows = np.unique(np.stack(ijb.read_subjects(path), axis=1), axis=0)
    twice = np.flatnonzero(rows[1:, 0] == rows[:-1, 0])
    if len(twice):
        row = rows[twice[0]]
        raise InsightError(f"{path}: template {row[0]} has the subjects {row[1]} and {rows[twice[0] + 1][1]}; want one")
    return rows[:, 0], rows[:, 1]


def _with_remedy(read, path: str, other: str):
    """Read a list; if it is missing, raise InsightError with the ``--protocol`` that does not need it."""
    if not os.path.exists(path):
        raise InsightError(f"{path}: no such file; give --protocol {other} if the set has no such list")
    return read()
