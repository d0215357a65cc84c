"""Evaluate a network on a verification set: decode, embed image and mirror image, compare pairs."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import closing
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

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
from ..ranks.group import Ranks
from ..ranks.single import ALONE
from .folds import FoldAccuracy, kfold_accuracy


class EvalSet(NamedTuple):
    """Pairs over distinct images: each image is embedded once, however many pairs it is in."""

    name: str
    source: ImageSource  # U distinct images; for a .bin, keyed by the position of their first use
    pairs: np.ndarray  # (P, 2) int64 into the source
    issame: np.ndarray  # (P,) bool
    path: str = ""  # the .bin, or the list of pairs


class Verification(NamedTuple):
    """Result of one network on one set."""

    name: str
    folds: FoldAccuracy
    xnorm: float  # mean length of the raw embeddings, both passes
    pairs: int
    embedding_size: int
    seconds: float  # decoding and network
    images: int = 0  # distinct images
    distances: np.ndarray = np.empty(0)  # (P,) float64, squared L2 between unit embeddings
    issame: np.ndarray = np.empty(0, bool)  # (P,)
    identities: Optional[np.ndarray] = None  # (P, 2) int64: identities of the pairs' images; None if unknown


class OneKind(InsightError):
    """All pairs of a set are of one person, or all are of two."""

    def __init__(self, path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.note = f"{printable(Path(path).stem)} ({reason})"


def load_set(path) -> EvalSet:
    """Read a .bin and find the images that several pairs share.

    Raises
    ------
    OneKind
    InsightError
        The .bin has no pairs, or an odd number of images.
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
    """Pairs of image files from a list of pairs; images are read when they are needed.

    The folder of an image is its identity, unless that contradicts a pair.

    Parameters
    ----------
    rows : sequence of (str, str, bool)
        Paths under ``root`` of both images, and whether they show one person.
    root : path
    path : path
        The list of pairs; its stem is the name of the set, and messages name it.

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
            f"{'' if reason == 'no such file' else f' ({reason})'}; give their folder with --image-root"
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
    """A path under the root, in the spelling of the existing file; unchanged if there is none."""
    spelling = next((spelling for spelling in spellings(name) if os.path.isfile(os.path.join(root, spelling))), name)
    return os.path.normpath(spelling)


def _both_kinds(path, issame: np.ndarray) -> None:
    if issame.all() or not issame.any():
        kind = "same" if issame.all() else "different"
        raise OneKind(path, f"all {len(issame)} pairs are {kind}; accuracy needs pairs of both kinds")


def find_sets(folder, names: list, more: bool = False) -> Tuple[List[EvalSet], List[str], List[OneKind]]:
    """The sets of a folder, by target names with or without ``.bin``.

    Parameters
    ----------
    folder : path
    names : list of str
    more : bool
        Whether there are sets elsewhere.

    Returns
    -------
    sets : list of EvalSet
    missing : list of str
        Names of missing ones.
    unusable : list of OneKind
        Why others cannot be used.

    Raises
    ------
    OneKind
        The only sets are unusable.
    """
    paths = {name: Path(folder) / f"{name.removesuffix('.bin')}.bin" for name in names}
    missing = [name for name, path in paths.items() if not path.is_file()]
    sets, unusable = [], []
    for path in (path for name, path in paths.items() if name not in missing):
        try:
            sets.append(load_set(path))
        except OneKind as error:
            unusable.append(error)
    if unusable and not sets and not more:
        raise unusable[0]
    return sets, missing, unusable


def verify(
    network: Callable,
    eval_set: EvalSet,
    image_size: tuple = (112, 112),
    batch_size: int = 32,
    folds: int = 10,
    show_progress: bool = False,
    ranks: Ranks = ALONE,
) -> Verification:
    """K-fold accuracy, with summed embeddings of image and mirror image.

    Parameters
    ----------
    network : callable
        Images (N, 3, H, W) uint8, RGB, 0..255, to raw embeddings (N, E).
    eval_set : EvalSet
    image_size : (int, int)
        Height and width that the network takes.
    batch_size : int
        Images at a time; limits the memory.
    folds : int
        Maximum number of folds; fewer if there are fewer pairs.
    show_progress : bool
        Show progress on stderr.
    ranks : Ranks
        Processes that have the same network and set; each embeds its share of the images, and all get the result.

    Raises
    ------
    InsightError
        An image cannot be decoded or is of another size, or its embedding contains NaN or infinity.
    """
    start = time.perf_counter()
    source = eval_set.source
    shares = ranks.span(-(-len(source) // batch_size))  # whole batches: others would round in another way
    begin, end = (min(share * batch_size, len(source)) for share in shares)
    first = min(begin, len(source) - 1)  # a rank without a share embeds one image, for the length of an embedding
    steps = batches(source, image_size, batch_size, first, max(end, first + 1))
    if show_progress:
        steps = track(steps, f"verifying {eval_set.name}", -(-(end - begin) // batch_size), "batches")
    rows = []
    with closing(steps):
        for images in steps:
            plain, flipped = (part.astype(np.float64) for part in both_passes(network, images))
            lengths = np.linalg.norm(plain, axis=1) + np.linalg.norm(flipped, axis=1)
            rows.append(np.column_stack([plain + flipped, lengths]))
    embedded = ranks.gather("verification", np.concatenate(rows)[: end - begin])
    seconds = time.perf_counter() - start
    embeddings, lengths = np.ascontiguousarray(embedded[:, :-1]), embedded[:, -1]
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(broken):
        raise InsightError(
            f"{source.name(broken[0])}: its embedding contains NaN or infinity, as do {len(broken) - 1} others of "
            f"{len(embeddings)}; the network is broken, use an earlier checkpoint"
        )
    unit = unit_rows(embeddings)
    distance = np.square(unit[eval_set.pairs[:, 0]] - unit[eval_set.pairs[:, 1]]).sum(axis=1)
    count = len(eval_set.issame)
    accuracy = kfold_accuracy(distance, eval_set.issame, min(folds, count))
    # XNorm counts an image once for each pair that contains it, as the original does.
    xnorm = float(lengths[eval_set.pairs].mean() / 2)
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
