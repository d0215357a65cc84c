"""A verification set through a network: decode, embed image and mirror image, compare pairs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from ..errors import InsightError
from ..formats import atomic, evalbin
from .embed import batches
from .folds import FoldAccuracy, kfold_accuracy, normalise
from .sources import UNKNOWN, ImageSource


class EvalSet(NamedTuple):
    """Pairs over distinct images: each image is embedded once, however many pairs it is in."""

    name: str
    source: ImageSource  # U distinct images, each under the position of its first use in the .bin
    pairs: np.ndarray  # (P, 2) int64 into the source
    issame: np.ndarray  # (P,) bool


class Verification(NamedTuple):
    """One network on one set."""

    name: str
    folds: FoldAccuracy
    xnorm: float  # mean length of the raw embeddings, both passes
    pairs: int
    embedding_size: int
    seconds: float  # decoding and network


def load_set(path) -> EvalSet:
    """Read a .bin and find the images that pairs share.

    Raises
    ------
    InsightError
        No pairs, an odd number of images, or one class of pairs only.
    """
    path = Path(path)
    images, issame = evalbin.read_bin(path)
    issame = np.asarray(issame, bool)
    if not len(issame) or len(images) != 2 * len(issame):
        raise InsightError(f"{path}: {len(images)} images for {len(issame)} pairs; a set holds two images a pair")
    if issame.all() or not issame.any():
        kind = "same" if issame.all() else "different"
        raise InsightError(f"{path}: all {len(issame)} pairs are {kind}; accuracy needs pairs of both kinds")
    position: dict = {}
    index = np.array([position.setdefault(bytes(image), len(position)) for image in images], np.int64)
    first_use = np.unique(index, return_index=True)[1]
    labels = np.full(len(position), UNKNOWN, np.int64)
    source = ImageSource(str(path), [str(i) for i in first_use], labels, list(position).__getitem__, "image")
    return EvalSet(path.stem, source, index.reshape(-1, 2), issame)


def find_sets(folder, names: list) -> tuple:
    """(sets that exist, names that do not) for target names in a folder."""
    paths = {name: Path(folder) / f"{name}.bin" for name in names}
    missing = [name for name, path in paths.items() if not path.is_file()]
    return [load_set(path) for name, path in paths.items() if name not in missing], missing


def verify(
    network: Callable, eval_set: EvalSet, image_size: tuple = (112, 112), batch_size: int = 32, folds: int = 10
) -> Verification:
    """Ten-fold accuracy with the embeddings of image and mirror image summed.

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
    """
    start = time.perf_counter()
    summed, lengths = [], []
    for images in batches(eval_set.source, image_size, batch_size):
        plain, flipped = network(images), network(np.ascontiguousarray(images[..., ::-1]))
        lengths.append(np.linalg.norm(plain, axis=1) + np.linalg.norm(flipped, axis=1))
        summed.append(plain + flipped)
    seconds = time.perf_counter() - start
    unit = normalise(np.concatenate(summed).astype(np.float64))
    left, right = unit[eval_set.pairs[:, 0]], unit[eval_set.pairs[:, 1]]
    distance = np.square(left - right).sum(axis=1)
    count = len(eval_set.issame)
    accuracy = kfold_accuracy(distance, eval_set.issame, min(folds, count))
    # XNorm counts an image once for each pair that it stands in, as the original does.
    xnorm = float(np.concatenate(lengths)[eval_set.pairs].mean() / 2)
    return Verification(eval_set.name, accuracy, xnorm, count, unit.shape[1], seconds)


def report(results: list, model: str, json_path=None) -> None:
    """Print InsightFace's lines, and write the figures as JSON where asked."""
    for result in results:
        print(f"({2 * result.pairs}, {result.embedding_size})")
        print(f"infer time {result.seconds:f}")
        print(f"[{result.name}]XNorm: {result.xnorm:f}")
        print(f"[{result.name}]Accuracy-Flip: {result.folds.accuracy:1.5f}+-{result.folds.std:1.5f}")
    if json_path:
        figures = [
            {
                "target": r.name,
                "pairs": r.pairs,
                "accuracy": r.folds.accuracy,
                "std": r.folds.std,
                "per_fold": r.folds.per_fold.tolist(),
                "thresholds_squared_l2": r.folds.thresholds.tolist(),
                "xnorm": r.xnorm,
            }
            for r in results
        ]
        atomic.write_text(json_path, json.dumps({"model": model, "results": figures}, indent=1) + "\n")
