"""Compute embeddings of images, in order, in bounded memory."""

from __future__ import annotations

import json
import os
import zipfile
from collections import deque
from contextlib import closing
from itertools import chain, islice
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..arrays.npz import UNREADABLE, reason
from ..errors import InsightError
from ..executor import Cluster, in_order
from ..files import atomic
from ..progress import track
from .flip import both_passes
from .sources import ImageSource, KeyNames

FLIPS = ("none", "sum", "both")
AHEAD = 2  # batches that are decoded while the network computes one
_LABELS = 1 << 18  # labels that are written at a time
MOST_THREADS = AHEAD + 1  # one per batch; more do not help, as decoding is then faster than any network on a CPU


class Embedded(NamedTuple):
    """Raw embeddings (N, E) float32 (or float16, as stored), with their keys (N,) and labels (N,) int64.

    ``about`` has the model and the options (:func:`insight.faces.parts.about`); None if the file does not record them.
    ``mirrored`` has the embeddings (N, E) of the mirror images, with flip ``both``; :func:`load` reads them only with
    its option ``mirrored``.
    """

    embeddings: np.ndarray
    keys: np.ndarray
    labels: np.ndarray
    about: Optional[Dict[str, Any]] = None
    mirrored: Optional[np.ndarray] = None


def embed(
    network: Callable[[np.ndarray], np.ndarray],
    source: ImageSource,
    image_size: Tuple[int, int],
    flip: str = "none",
    batch_size: int = 32,
) -> Embedded:
    """Embed every image of a source.

    Parameters
    ----------
    network : callable
        Images (N, 3, H, W) uint8, RGB, 0..255, to raw embeddings (N, E) float32.
    source : ImageSource
    image_size : (int, int)
        (height, width) of the network's input; images must have it.
    flip : str
        ``none``: the embeddings of the images. ``sum``: the sum of the embeddings of image and mirror image, as in
        InsightFace's verification. ``both``: these two, separately.
    batch_size : int
        Images at a time.

    Raises
    ------
    InsightError
        An image cannot be decoded or has another size, or an option is invalid.
    """
    embeddings = np.empty((0, 0), np.float32)
    done = 0
    for rows in stream(network, source, image_size, flip, batch_size):
        if not done:
            embeddings = np.empty((len(source), *rows.shape[1:]), np.float32)
        embeddings[done : done + len(rows)] = rows
        done += len(rows)
    keys, labels = np.array(source.keys), np.asarray(source.labels, np.int64)
    if flip == "both":
        return Embedded(embeddings[:, 0], keys, labels, mirrored=embeddings[:, 1])
    return Embedded(embeddings, keys, labels)


def stream(
    network: Callable[[np.ndarray], np.ndarray],
    source: ImageSource,
    image_size: Tuple[int, int],
    flip: str = "none",
    batch_size: int = 32,
    start: int = 0,
    cluster: Optional[Cluster] = None,
) -> Iterator[np.ndarray]:
    """Like :func:`embed`, but yield batches (B, E) float32 in order; for embeddings that do not fit into memory.

    ``start`` is the position of the first image. With flip ``both``, batches are (B, 2, E). With a cluster, its workers
    decode and embed the images; ``network`` must then be an engine, which can be pickled.
    """
    if flip not in FLIPS:
        raise InsightError(f"--flip {flip}: want one of {', '.join(FLIPS)}")
    if batch_size < 1:
        raise InsightError(f"--batch-size {batch_size}: must be at least 1")
    with closing(track(range(start, len(source)), "embedding", unit="images")) as ticks:
        if cluster is None:
            steps = (rows_of(network, images, flip) for images in batches(source, image_size, batch_size, start))
        else:
            from .embed_task import embedded_by

            steps = embedded_by(cluster, network, source, image_size, flip, batch_size, start)
        for rows in steps:
            yield rows
            deque(islice(ticks, len(rows)), maxlen=0)  # progress counts images, not batches


def rows_of(network: Callable[[np.ndarray], np.ndarray], images: np.ndarray, flip: str) -> np.ndarray:
    """The embeddings (B, E) of a batch of images (B, 3, H, W) uint8; (B, 2, E) with flip ``both``."""
    if flip == "none":
        return network(images)
    passes = both_passes(network, images)
    return np.add(*passes) if flip == "sum" else np.stack(passes, axis=1)


def batches(
    source: ImageSource, image_size: Tuple[int, int], batch_size: int, start: int = 0, stop: Optional[int] = None
) -> Iterator[np.ndarray]:
    """Yield decoded images (B, 3, H, W) uint8, RGB, 0..255, from ``start`` to ``stop`` - 1 (default: the last).

    Threads decode a few batches ahead. At the end, a warning on stderr names damaged images.
    """
    yield from decoded(source, image_size, batch_size, start, stop)
    source.warn_of_damage()


def decoded(
    source: ImageSource, image_size: Tuple[int, int], batch_size: int, start: int = 0, stop: Optional[int] = None
) -> Iterator[np.ndarray]:
    """Like :func:`batches`, without the warning."""
    workers = min(MOST_THREADS, len(os.sched_getaffinity(0)))
    end = len(source) if stop is None else stop

    def decode(first: int) -> np.ndarray:
        indices = range(first, min(first + batch_size, end))
        images = np.empty((len(indices), 3, *image_size), np.uint8)
        for row, i in enumerate(indices):
            images[row] = source.pixels(i, image_size)
        return images

    yield from in_order(decode, range(start, end, batch_size), workers, ahead=AHEAD + 1)


def save(path, embedded: Embedded) -> None:
    """Write an .npz with ``embeddings``, ``keys`` and ``labels`` atomically.

    ``mirrored`` and ``about`` are stored too, unless they are None; ``about`` as JSON, a scalar array of one string.
    """
    mirrored = None if embedded.mirrored is None else [embedded.mirrored]
    save_blocks(path, [embedded.embeddings], embedded.keys, embedded.labels, embedded.about, mirrored)


def save_blocks(
    path,
    blocks: Iterable[np.ndarray],
    keys: Sequence[str],
    labels: np.ndarray,
    about: Optional[Mapping[str, Any]] = None,
    mirrored: Optional[Iterable[np.ndarray]] = None,
) -> Tuple[int, int]:
    """Like :func:`save`, for embeddings in blocks (B, E), which are consumed one at a time and keep their dtype.

    Labels and the keys of records are written in blocks, too.

    Returns
    -------
    (int, int)
        Shape (N, E) of the embeddings.
    """
    with atomic.write_beside(path) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        shape = _write_rows(archive, "embeddings", len(keys), blocks)
        if mirrored is not None:
            _write_rows(archive, "mirrored", len(keys), mirrored)
        _write_rows(archive, "keys", len(keys), keys.blocks() if isinstance(keys, KeyNames) else [np.array(keys)])
        cuts = range(_LABELS, len(labels), _LABELS)
        _write_rows(archive, "labels", len(labels), (part.astype(np.int64) for part in np.split(labels, cuts)))
        if about is not None:
            with archive.open("about.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.array(json.dumps(about)), allow_pickle=False)
    return shape


def _write_rows(archive: zipfile.ZipFile, name: str, count: int, blocks: Iterable[np.ndarray]) -> Tuple[int, ...]:
    """Write an array of ``count`` rows, given in blocks; returns its shape."""
    blocks = iter(blocks)
    first = next(blocks, np.empty((0, 0), np.float32))
    stored, shape = first.dtype.newbyteorder("<"), (count, *first.shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(stored), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for block in chain([first], blocks):
            member.write(np.ascontiguousarray(block, stored).tobytes())
    return shape


def load(path, mirrored: bool = False) -> Embedded:
    """Read an .npz that :func:`save` wrote.

    Parameters
    ----------
    path : path
    mirrored : bool
        Whether to read the embeddings of the mirror images, too, if the file has them.

    Raises
    ------
    InsightError
        The file is missing, or was not written by :func:`save`.
    """
    try:
        with open(path, "rb") as opened:
            if opened.read(2) != b"PK":  # np.load also reads other kinds of files
                raise ValueError("not a zip archive")
        with np.load(path, allow_pickle=False) as arrays:
            embedded = Embedded(arrays["embeddings"], arrays["keys"], arrays["labels"], _about(arrays))
            if mirrored and "mirrored" in arrays.files:
                embedded = embedded._replace(mirrored=arrays["mirrored"])
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; want an .npz that embed wrote") from None
    except UNREADABLE as error:
        raise InsightError(f"{path}: not an .npz that embed wrote ({reason(error)})") from None
    rows, keys, labels = embedded[:3]
    if "".join(array.dtype.kind for array in embedded[:3]) != "fUi" or rows.ndim != 2:
        raise InsightError(
            f"{path}: not an .npz that embed wrote (embeddings {rows.dtype} {rows.shape}, "
            f"keys {keys.dtype}, labels {labels.dtype}; want floats (N, E), strings, integers)"
        )
    if embedded.mirrored is not None and embedded.mirrored.shape != rows.shape:
        raise InsightError(f"{path}: mirrored is {embedded.mirrored.shape}, want {rows.shape}; embed the images again")
    return embedded


def _about(arrays) -> Optional[Dict[str, Any]]:
    """``about`` of an opened .npz; None if it is missing or invalid."""
    try:
        value = json.loads(str(arrays["about"]))
    except (KeyError, ValueError):
        return None
    return value if isinstance(value, dict) else None
