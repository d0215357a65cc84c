"""REC -> BATCH: worker threads decode records into a ring of batch buffers that MXNet reads without a copy.

OpenCV releases the GIL while it decodes, so threads are enough, and they share one memory map of the records. The
sampler chooses the images of each batch; the augmentation of an image depends only on (seed, epoch, image).
"""

from __future__ import annotations

import itertools
import queue
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import numpy as np

from .._mxnet import mx
from ..errors import InsightError
from ..formats import remedies, shards
from ..images.damage import Damage
from ..images.pixels import decode_bgr
from ..ranks.group import Ranks
from ..ranks.single import ALONE
from .ahead import ReadAhead
from .augment import Augmentation, Change, write_planes
from .ring import Job, Ring
from .samplers.sampler import Mined
from .samplers.shuffled import Shuffled
from .selection import enough_images

MIRROR_ONLY = Augmentation()
DTYPES = ("float32", "uint8")
EXACT = 1 << 24  # integers up to here are exact in float32


class Batch(NamedTuple):
    """One batch, or a rank's share of it; ``data`` is valid until the second-next batch is read."""

    data: object  # NDArray (B, 3, H, W) of the loader's dtype, RGB, 0..255, on the CPU
    label: object  # NDArray (B,) float32, or int32 where a label is too large for float32 to be exact
    indices: np.ndarray  # (B,) int64 positions in the face set
    keys: np.ndarray  # (B,) int64 keys of the records
    mirrored: Optional[np.ndarray] = None  # (B,) bool: flipped horizontally


@dataclass(frozen=True)
class _Plan:
    """The content of a buffer. ``damage`` is filled while decoding: row to the decoder's warning."""

    indices: np.ndarray
    changes: List[Change]
    damage: Dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.changes)


@dataclass(frozen=True)
class _BatchPlan(_Plan):
    """A batch to train on."""

    label: object = None
    sampler_state: dict = field(default_factory=dict)  # after this batch
    mined: List[Mined] = field(default_factory=list)  # the mining rounds that preceded it


@dataclass(frozen=True)
class _LookPlan(_Plan):
    """Images to embed for the sampler; ``last`` marks the last part of a request."""

    last: bool = False


class Loader:
    """Endless batches of a face set, in the order of a sampler.

    Parameters
    ----------
    faces : FaceSet
    batch_size : int
        Images per batch of all ranks, at most those of the set. B is the share of one rank, the same for all.
    seed : int
    augmentation : Augmentation
    workers : int
        Number of decoding threads; the batches do not depend on it.
    images_filter : int
        Leave out identities with fewer images than this (``--images-filter``). Labels are not renumbered.
    dtype : str
        Type of the pixels: ``float32``, or ``uint8``, which is a quarter of the size, for devices that convert it.
    on_damage : callable (key, warning), optional
        Called once per damaged record, with its key and the decoder's warning, in the consumer's thread.
    sampler : callable (labels, positions, batch_size, seed) -> Sampler
        A class of :mod:`insight.feed.samplers`, or a partial of one; it chooses the images of all ranks.
    ranks : Ranks
        The processes that share each batch and the images to embed for the sampler.

    Attributes
    ----------
    batches_per_epoch : int
    positions : np.ndarray
        (M,) integers: positions of the images that are used.
    waited : float
        Total time that the consumer has waited for data, in seconds.
    on_damage : callable or None
        As the parameter; may be set later.
    on_mined : callable or None
        Called with the :class:`Mined` of each mining round, in the consumer's thread.
    mining : float
        Total time of the mining rounds, in seconds.
    mined_batches : int
        Number of batches that the mining rounds produced.
    damage : Damage
        Images that decoded with a warning, by position in the set. They are used as decoded.

    Raises
    ------
    InsightError
        The set has fewer images than a batch. Raised by :meth:`batches` if a record cannot be read, is not an image,
        or does not have the set's image size; the message names the .rec and the record.
    """

    def __init__(
        self,
        faces,
        batch_size: int,
        seed: int = 0,
        augmentation: Augmentation = MIRROR_ONLY,
        workers: int = 2,
        images_filter: int = 0,
        dtype: str = "float32",
        on_damage: Optional[Callable[[int, str], None]] = None,
        sampler: Callable[..., Any] = Shuffled,
        ranks: Ranks = ALONE,
    ):
        if dtype not in DTYPES:
            raise InsightError(f"pixels as {dtype!r}: want one of {', '.join(DTYPES)}")
        self.positions = enough_images(faces.labels, images_filter)
        if batch_size > len(self.positions):
            left = f" of identities with {images_filter} or more (--images-filter)" if images_filter > 1 else ""
            raise InsightError(
                f"--per-batch-size {batch_size}: {faces.rec_path} holds only {len(self.positions)} images{left}; "
                "use at most that many"
            )
        self.faces = faces
        self.batch_size = batch_size
        self.ranks = ranks
        self.seed = seed
        self.augmentation = augmentation
        self.workers = max(1, workers)
        self.dtype = dtype
        self.sampler = sampler(faces.labels, self.positions, batch_size, seed)
        self.batches_per_epoch = self.sampler.batches_per_epoch
        self._sampler_state = self.sampler.state()
        self.waited = 0.0
        self.damage = Damage()
        self.on_damage = on_damage
        self.on_mined: Optional[Callable[[Mined], None]] = None
        self.mining = 0.0
        self.mined_batches = 0
        self._sound = bytearray(len(faces))  # 1: decoded without a warning before

    def state(self) -> dict:
        """The sampler's state, which JSON can hold; with the seed and the step it determines the next batch."""
        return self._sampler_state

    def restore(self, state: dict) -> None:
        """Restore what :meth:`state` returned."""
        self._sampler_state = state

    def batches(self, step: int = 0, embedder: Optional[Callable[[], Callable]] = None) -> Iterator[Batch]:
        """Iterate over batches, endlessly, starting from global step ``step`` (0-based).

        Parameters
        ----------
        step : int
        embedder : callable, optional
            () -> function from (N, 3, H, W) pixels to (N, E) embeddings, with the network's present weights. Needed by
            samplers that mine; called in the consumer's thread, while it waits for a batch.
        """
        if self._sampler_state:
            self.sampler.restore(self._sampler_state)
        shape = (self.batch_size // self.ranks.size, 3, *self.faces.image_size)
        embedded: queue.SimpleQueue = queue.SimpleQueue()
        ahead = ReadAhead(self.faces, self.sampler, range(*self.ranks.span(self.batch_size)))
        plans = self._plans(step, embedded.get, ahead)
        ring = Ring(plans, self._fill, shape, self.dtype, self.workers, lambda: (embedded.put(None), ahead.close()))
        try:
            while True:
                job, embed = self._next(ring), None
                while isinstance(job.plan, _LookPlan):
                    start, embed = time.perf_counter(), embed or embedder()
                    embedded.put(self._look(ring, job, embed))
                    job = self._next(ring)
                    self.mining += time.perf_counter() - start
                self._note_mined(job.plan.mined)
                self._sampler_state = job.plan.sampler_state
                indices = job.plan.indices
                mirrored = np.array([change.mirrored for change in job.plan.changes], bool)
                yield Batch(job.slot.data, job.plan.label, indices, self.faces.images[indices], mirrored)
        finally:
            ring.close()

    def _next(self, ring: Ring) -> Job:
        """The ring's next buffer; adds up the waiting time and reports damaged records."""
        start = time.perf_counter()
        job = ring.get()
        self.waited += time.perf_counter() - start
        self._report(job.plan)
        return job

    def _look(self, ring: Ring, job: Job, embed: Callable) -> np.ndarray:
        """Embeddings of all images that the sampler requested; each rank embeds an equal share of them."""
        parts = [embed(job.slot.pixels[: len(job.plan)])]
        while not job.plan.last:
            job = self._next(ring)
            parts.append(embed(job.slot.pixels[: len(job.plan)]))
        return self.ranks.gather("sampler/embeddings", np.concatenate(parts))

    def _note_mined(self, rounds: List[Mined]) -> None:
        for mined in rounds:
            if self.on_mined is not None:
                self.on_mined(mined)
        if rounds:
            self.mined_batches += rounds[-1].queued // self.batch_size

    def _plans(self, step: int, answer: Callable[[], Optional[np.ndarray]], ahead: ReadAhead) -> Iterator[_Plan]:
        """Plans of batches and of images to embed. ``answer`` waits for the embeddings, or returns None when closed."""
        for number in itertools.count(step):
            mined: List[Mined] = []
            wanted = self.sampler.look(number)
            while wanted is not None:
                yield from self._look_plans(wanted)
                embeddings = answer()
                if embeddings is None:
                    return
                mined.append(self.sampler.mine(embeddings))
                wanted = self.sampler.look(number)
            begin, end = self.ranks.span(self.batch_size)
            indices = self._sampled(number)[begin:end]
            ahead.reach(number)
            changes = self.augmentation.draw(self.seed, self.sampler.round(number), indices, self.faces.image_size)
            labels = self.faces.labels[indices]
            label = mx.nd.array(labels, dtype="float32" if self.faces.num_classes <= EXACT else "int32")
            yield _BatchPlan(indices, changes, {}, label, self.sampler.state(), mined)

    def _look_plans(self, wanted: np.ndarray) -> Iterator[_LookPlan]:
        first, last = self.ranks.span(len(wanted))
        share = self.batch_size // self.ranks.size
        for begin in range(first, last, share):
            indices = wanted[begin : min(begin + share, last)]
            yield _LookPlan(indices, [Change()] * len(indices), {}, begin + len(indices) == last)

    def _sampled(self, step: int) -> np.ndarray:
        """The positions of a step's batch, checked: samplers may come from plugins."""
        indices = np.asarray(self.sampler.batch(step))
        well_formed = indices.shape == (self.batch_size,) and indices.dtype.kind in "iu"
        if not well_formed or indices.min() < 0 or indices.max() >= len(self.faces):
            span = f" from {indices.min()} to {indices.max()}" if indices.size else ""
            raise InsightError(
                f"--sampler {self.sampler.name}: step {step}: want {self.batch_size} positions in "
                f"0..{len(self.faces) - 1}, got {indices.dtype} {indices.shape}{span}"
            )
        return indices.astype(np.int64, copy=False)

    def _fill(self, plan: _Plan, pixels: np.ndarray, begin: int, end: int) -> None:
        for row in range(begin, end):
            write_planes(self._decode(int(plan.indices[row]), row, plan.damage), plan.changes[row], pixels[row])

    def _report(self, plan: _Plan) -> None:
        """Report damaged records in the order of the batch, which does not depend on the threads."""
        for row, warning in sorted(plan.damage.items()):
            self.note_damage(int(plan.indices[row]), warning)

    def note_damage(self, index: int, warning: str) -> None:
        """Add the image at position ``index`` to :attr:`damage`; call :attr:`on_damage` if it was not there yet."""
        if self.damage.add(index, warning) and self.on_damage is not None:
            self.on_damage(int(self.faces.images[index]), warning)

    def _decode(self, index: int, row: int, damage: Dict[int, str]) -> np.ndarray:
        name = f"{shards.pattern(self.faces.rec_path)} record {self.faces.images[index]}"

        def note(warning: str) -> None:
            damage[row] = warning

        try:
            bgr = decode_bgr(self.faces.payload(index), name, note, bool(self._sound[index]))
        except InsightError as error:
            repair, reason = remedies.into_new(self.faces.rec_path), str(error).partition("; ")[0]
            raise InsightError(f"{reason}; `{repair} --deep` leaves out what cannot be decoded") from None
        self._sound[index] = row not in damage
        if bgr.shape[:2] != self.faces.image_size:
            height, width = self.faces.image_size
            repair = remedies.into_new(self.faces.rec_path)
            raise InsightError(
                f"{name}: the set says {height}x{width} (property, height x width), the image is "
                f"{bgr.shape[0]}x{bgr.shape[1]}; `{repair}` leaves out images of another size; "
                "rec2image, dir2lst and face2rec --image-size scale them"
            )
        return bgr
