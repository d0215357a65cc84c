"""Evaluate a network on a verification set: decode the images, embed them and their mirror images, compare pairs."""

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
    """A verification set: pairs of distinct images, so that each image is embedded only once."""

    name: str
    source: ImageSource  # U distinct images; the key of an image in a .bin is the position of its first use
    pairs: np.ndarray  # (P, 2) int64, positions in the source
    issame: np.ndarray  # (P,) bool
    path: str = ""  # the .bin or the list of pairs


class Verification(NamedTuple):
    """Result of one network on one verification set."""

    name: str
    folds: FoldAccuracy
    xnorm: float  # mean L2 norm of the raw embeddings of images and mirror images
    pairs: int
    embedding_size: int
    seconds: float  # time of decoding and of the network
    images: int = 0  # distinct images
    distances: np.ndarray = np.empty(0)  # (P,) float64, squared L2 between unit embeddings
    issame: np.ndarray = np.empty(0, bool)  # (P,)
    identities: Optional[np.ndarray] = None  # (P, 2) int64: identities of the pairs' images; None if unknown


class OneKind(InsightError):
    """Error: all pairs of a set are same pairs, or all are different pairs."""

    def __init__(self, path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.note = f"{printable(Path(path).stem)} ({reason})"


def load_set(path) -> EvalSet:
    """Read a .bin and merge identical images.

    Raises
    ------
    OneKind
        All pairs are of one kind.
    InsightError
        The .bin is missing or damaged, has no pairs, or does not have two images per pair.
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
    """Make a set from a list of pairs of image files. Images are read only when they are needed.

    The folder of an image is its identity. If that contradicts a pair, the identities of all images are unknown.

    Parameters
    ----------
    rows : sequence of (str, str, bool)
        Paths of both images, relative to ``root``, and whether they show one person.
    root : path
        Folder of the images.
    path : path
        The list of pairs. Its stem is the name of the set, and error messages contain it.

    Raises
    ------
    OneKind
        All pairs are of one kind.
    InsightError
        An image is missing.
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
    """A path under the root, in the spelling of the existing file; only normalised if there is no such file."""
    spelling = next((spelling for spelling in spellings(name) if os.path.isfile(os.path.join(root, spelling))), name)
    return os.path.normpath(spelling)


def _both_kinds(path, issame: np.ndarray) -> None:
    if issame.all() or not issame.any():
        kind = "same" if issame.all() else "different"
        raise OneKind(path, f"all {len(issame)} pairs are {kind}; accuracy needs pairs of both kinds")


def find_sets(folder, names: list, more: bool = False) -> Tuple[List[EvalSet], List[str], List[OneKind]]:
    """Load the verification sets of a folder.

    Parameters
    ----------
    folder : path
    names : list of str
        Target names, with or without ``.bin``.
    more : bool
        Whether the caller has sets from elsewhere. If so, unusable sets never raise an error.

    Returns
    -------
    sets : list of EvalSet
    missing : list of str
        Names of targets without a file.
    unusable : list of OneKind
        Errors of the sets that cannot be used.

    Raises
    ------
    OneKind
        All sets that exist are unusable, and ``more`` is false.
    InsightError
        A .bin is damaged.
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
    """Evaluate a network on a set. The embeddings of an image and of its mirror image are summed.

    Parameters
    ----------
    network : callable
        Maps images (N, 3, H, W) uint8, RGB, 0..255, to raw embeddings (N, E).
    eval_set : EvalSet
    image_size : (int, int)
        Height and width of the network's images.
    batch_size : int
        Number of images per batch; limits memory.
    folds : int
        Maximum number of folds. There are never more folds than pairs.
    show_progress : bool
        Show progress on stderr.
    ranks : Ranks
        Processes with the same network and set. Each embeds its share of the images, and all return the same result.

    Raises
    ------
    InsightError
        An image cannot be decoded or is of another size, or its embedding contains NaN or infinity.
    """
    start = time.perf_counter()
    source = eval_set.source
    shares = ranks.span(-(-len(source) // batch_size))  # whole batches, because rounding depends on the batch size
    begin, end = (min(share * batch_size, len(source)) for share in shares)
    first = min(begin, len(source) - 1)  # a rank without a share embeds one image, to know the embedding size
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
    # As in InsightFace, XNorm counts an image once for each pair that contains it.
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
