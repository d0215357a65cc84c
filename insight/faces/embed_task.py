"""Embedding on a cluster. A task is a run of consecutive batches, which a worker reads, decodes and embeds.

Batches hold the same images as on one machine, so the embeddings are bit-identical if the runtime and its number of
threads are the same.
"""

from __future__ import annotations

import os
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ..errors import InsightError, printable
from ..executor import Cluster, Workers
from .embed import decoded, rows_of
from .sources import UNKNOWN, ImageSource, image_source, of_files

BATCHES = 8  # per run


class ImageRun(NamedTuple):
    """Consecutive images of a source: the position of the first image, and the keys of all images."""

    first: int
    keys: List[str]


class EmbeddedRun(NamedTuple):
    """Embeddings of a run, one array per batch, and the decoder's warnings by position in the source."""

    batches: List[np.ndarray]
    damage: List[Tuple[int, str]]


class EmbedTask:
    """Task of a worker: embed runs of a source. It is pickled with its network, which is an engine.

    Parameters
    ----------
    network : callable
        As for :func:`insight.faces.embed.embed`.
    path : str
        Path of the source.
    image_size, flip, batch_size
        As for :func:`insight.faces.embed.embed`.
    """

    def __init__(self, network: Callable, path: str, image_size: Tuple[int, int], flip: str, batch_size: int):
        self._network = network
        self._path = os.path.abspath(path)
        self._options = image_size, flip, batch_size
        self._source: Optional[ImageSource] = None

    def open(self) -> None:
        """Open the source. A folder is not listed again: a run names its files."""
        if not os.path.isdir(self._path):
            self._source = image_source(self._path)

    def __call__(self, run: ImageRun) -> EmbeddedRun:
        """Embed a run.

        Raises
        ------
        InsightError
            An image cannot be used, or the source has changed.
        """
        image_size, flip, batch_size = self._options
        images = self._images(run)
        batches = [rows_of(self._network, batch, flip) for batch in decoded(images, image_size, batch_size)]
        return EmbeddedRun(batches, [(run.first + i, warning) for i, warning in images.damage.items()])

    def _images(self, run: ImageRun) -> ImageSource:
        if self._source is None:
            return of_files(self._path, run.keys, np.full(len(run.keys), UNKNOWN, np.int64))
        images = self._source.part(run.first, run.first + len(run.keys))
        if list(images.keys) != run.keys:
            raise InsightError(f"{printable(self._path)}: was changed during the run; run again")
        return images


def embedded_by(
    cluster: Cluster,
    network: Callable,
    source: ImageSource,
    image_size: Tuple[int, int],
    flip: str,
    batch_size: int,
    start: int,
) -> Iterator[np.ndarray]:
    """Embed with the workers of a cluster; yields batches as :func:`insight.faces.embed.stream` does."""
    task = EmbedTask(network, source.path, image_size, flip, batch_size)
    runs = (
        ImageRun(first, [source.keys[i] for i in range(first, min(first + BATCHES * batch_size, len(source)))])
        for first in range(start, len(source), BATCHES * batch_size)
    )
    with Workers(task, cluster, prepare=task.open, paths=source.files) as pool:
        for run in pool.in_order(runs):
            for position, warning in run.damage:
                source.damage.add(position, warning)
            yield from run.batches
    source.warn_of_damage()
