"""A verification set through a network: decode, embed image and mirror image, compare pairs."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import closing
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError, printable
from ..faces.embed import batches
from ..faces.flip import both_passes
from ..faces.sources import UNKNOWN, ImageSource, file_reader, scaling_of_bin
from ..faces.unit import unit_rows
from ..files.places import spellings
from ..files.reading import why_unreadable
from ..formats import evalbin
from ..progress import track
from .folds import FoldAccuracy, kfold_accuracy


class EvalSet(NamedTuple):
    """Pairs over distinct images: each image is embedded once, however many pairs it is in."""

    name: str
    source: ImageSource  # U distinct images; of a .bin, each under the position of its first use
    pairs: np.ndarray  # (P, 2) int64 into the source
    issame: np.ndarray  # (P,) bool
    path: str = ""  # the .bin, or the list of pairs


class Verification(NamedTuple):
    """One network on one set."""

    name: str
    folds: FoldAccuracy
    xnorm: float  # mean length of the raw embeddings, both passes
    pairs: int
    embedding_size: int
    seconds: float  # decoding and network
    images: int = 0  # distinct ones
    distances: np.ndarray = np.empty(0)  # (P,) float64, squared L2 between unit embeddings
    issame: np.ndarray = np.empty(0, bool)  # (P,)
    identities: Optional[np.ndarray] = None  # (P, 2) int64: who is in the pairs, where the set tells


def load_set(path) -> EvalSet:
    """Read a .bin and find the images that pairs share.

    Raises
    ------
    InsightError
        No pairs, an odd number of images, or one kind of pairs only.
    """
    path = Path(path)
    images, issame = evalbin.read_bin(path)
    _both_kinds(path, issame)
    position: dict = {}
    index = np.array([position.setdefault(bytes(image), len(position)) for image in images], np.int64)
    first_use = np.unique(index, return_index=True)[1]
    labels = np.full(len(position), UNKNOWN, np.int64)
    keys, scaling = [str(i) for i in first_use], scaling_of_bin(path)
    source = ImageSource(str(path), keys, labels, list(position).__getitem__, "image", scaling)
    return EvalSet(printable(path.stem), source, index.reshape(-1, 2), issame, str(path))


def pair_set(rows: Sequence[Tuple[str, str, bool]], root, path) -> EvalSet:
    """Pairs of image files, as a list of pairs names them; images are read when they are needed.

    The folder of an image tells the identity, unless that contradicts a pair.

    Parameters
    ----------
    rows : sequence of (str, str, bool)
        Paths under ``root`` of both images, and whether they show one person.
    root : path
    path : path
        The list: its stem names the set, and messages name it.

    Raises
    ------
    InsightError
        An image is missing, or all pairs are of one kind.
    """
    issame = np.array([same for _, _, same in rows], bool)
    _both_kinds(path, issame)
    spelled = {name: _spelled(root, name) for name in dict.fromkeys(name for row in rows for name in row[:2])}
    position: dict = {}
    pairs = np.array([[position.setdefault(spelled[name], len(position)) for name in row[:2]] for row in rows])
    paths = [os.path.join(root, name) for name in position]
    missing = [(name, reason) for name, reason in zip(paths, map(why_unreadable, paths)) if reason]
    if missing:
        name, reason = missing[0]
        raise InsightError(
            f"{path}: {len(missing)} of {len(position)} images are missing, the first is {printable(name)}"
            f"{'' if reason == 'no such file' else f' ({reason})'}; say with --image-root where the paths begin"
        )
    names = list(position)
    people: dict = {}
    labels = np.array([people.setdefault(os.path.dirname(name), len(people)) for name in names], np.int64)
    if ((labels[pairs[:, 0]] == labels[pairs[:, 1]]) != issame).any():
        labels[:] = UNKNOWN
    scaling = (f"make-bin {shlex.quote(os.fspath(path))} NEW.bin --image-root {shlex.quote(os.fspath(root))}",)
    source = ImageSource(str(root), names, labels, file_reader(root, names), "", scaling)
    return EvalSet(printable(Path(path).stem), source, pairs, issame, os.fspath(path))


def _spelled(root, name: str) -> str:
    """A path under the root as the file is spelled there; as it is written where there is none."""
    found = next((each for each in spellings(name) if os.path.isfile(os.path.join(root, each))), name)
    return os.path.normpath(found)


def _both_kinds(path, issame: np.ndarray) -> None:
    if issame.all() or not issame.any():
        kind = "same" if issame.all() else "different"
        raise InsightError(f"{path}: all {len(issame)} pairs are {kind}; accuracy needs pairs of both kinds")


def find_sets(folder, names: list) -> tuple:
    """(sets that exist, names that do not) for target names, with ``.bin`` or without, in a folder."""
    paths = {name: Path(folder) / f"{name.removesuffix('.bin')}.bin" for name in names}
    missing = [name for name, path in paths.items() if not path.is_file()]
    return [load_set(path) for name, path in paths.items() if name not in missing], missing


def verify(
    network: Callable,
    eval_set: EvalSet,
    image_size: tuple = (112, 112),
    batch_size: int = 32,
    folds: int = 10,
    show_progress: bool = False,
) -> Verification:
    """K-fold accuracy with the embeddings of image and mirror image summed.

    Parameters
    ----------
    network : callable
        Images (N, 3, H, W) uint8, RGB, 0..255, to raw embeddings (N, E).
    eval_set : EvalSet
    image_size : (int, int)
        Height and width that the network takes.
    batch_size : int
        Images at a time; bounds the memory.
    folds : int
        At most; fewer where there are fewer pairs.
    show_progress : bool
        On stderr.

    Raises
    ------
    InsightError
        An image cannot be decoded or is of another size, or its embedding holds NaN or infinity.
    """
    start = time.perf_counter()
    source = eval_set.source
    steps = batches(source, image_size, batch_size)
    if show_progress:
        steps = track(steps, f"verifying {eval_set.name}", -(-len(source) // batch_size), "batches")
    summed, lengths = [], []
    with closing(steps):
        for images in steps:
            plain, flipped = (rows.astype(np.float64) for rows in both_passes(network, images))
            lengths.append(np.linalg.norm(plain, axis=1) + np.linalg.norm(flipped, axis=1))
            summed.append(plain + flipped)
    seconds = time.perf_counter() - start
    embeddings = np.concatenate(summed)
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(broken):
        raise InsightError(
            f"{source.name(broken[0])}: its embedding holds NaN or infinity, as do {len(broken) - 1} others of "
            f"{len(embeddings)}; the network is broken, take an earlier checkpoint"
        )
    unit = unit_rows(embeddings)
    distance = np.square(unit[eval_set.pairs[:, 0]] - unit[eval_set.pairs[:, 1]]).sum(axis=1)
    count = len(eval_set.issame)
    accuracy = kfold_accuracy(distance, eval_set.issame, min(folds, count))
    # XNorm counts an image once for each pair that it stands in, as the original does.
    xnorm = float(np.concatenate(lengths)[eval_set.pairs].mean() / 2)
    labels = source.labels
    return Verification(
        eval_set.name,
        accuracy,
        xnorm,
        count,
        unit.shape[1],
        seconds,
        len(source),
        distance,
        eval_set.issame,
        None if (labels == UNKNOWN).any() else labels[eval_set.pairs],
    )
