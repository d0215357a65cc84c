"""Embed a source into an .npz; parts beside it allow a killed run to be resumed.

Every half minute, new embeddings are written to ``F.npz.parts/part-<position of the first image>.npy``, beside
``begun.json``, which records input, model and options. At the end the parts are joined and removed. Parts end at the
end of batches, so the file of a resumed run is byte-identical to that of an uninterrupted one. A short run writes no
part.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import sys
import time
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError
from ..executor import Cluster
from ..files import atomic
from .embed import save_blocks, stream
from .sources import ImageSource

PART_SECONDS = 30.0  # a kill loses at most this much work
BEGUN = "begun.json"
# Options that are compared by a digest, which messages do not show.
BY_CONTENT = ("--model", "--input")


def embed_to(
    path,
    engine,
    source: ImageSource,
    flip: str,
    model_files: Sequence[Path],
    part_seconds: float = PART_SECONDS,
    about: Optional[Mapping[str, Any]] = None,
    dtype: str = "float32",
    cluster: Optional[Cluster] = None,
) -> Tuple[int, int]:
    """Embed every image of a source into an .npz, or resume a killed run.

    Parameters
    ----------
    path : path
        The .npz: ``embeddings``, ``keys``, ``labels``, and ``mirrored`` with flip ``both``, as
        :func:`insight.faces.embed.save` writes them.
    engine : insight.engines.engine.Engine
        An engine, or any callable from images to embeddings with ``image_size``, ``batch_size`` and ``describe()``.
    source : ImageSource
    flip : str
        As in :func:`insight.faces.embed.embed`.
    model_files : sequence of path
        The network's files.
    part_seconds : float
        Seconds between two parts.
    about : mapping, optional
        From :func:`about`; stored in the .npz.
    dtype : str
        Dtype of the embeddings in the file: ``float32`` or ``float16``.
    cluster : Cluster, optional
        A cluster, whose workers then decode and embed the images.

    Returns
    -------
    (int, int)
        Number of embeddings and their length.

    Raises
    ------
    InsightError
        An image cannot be used; an embedding is zero or not finite as float16; there are parts of another model, input
        or option; or another run is writing parts.
    """

    def begun() -> Dict[str, object]:
        made_of = {"--model": digest(model_files), "--input": source.digest()}
        options = {"--flip": flip, "--batch-size": engine.batch_size, "--output-dtype": dtype}
        return {**made_of, **options, "engine": engine.describe()}

    path = Path(path)
    with closing(Parts(path.with_name(f"{path.name}.parts"), begun)) as parts:
        if parts.done:
            print(f"{path}: resuming after {parts.done} of {len(source)} images", file=sys.stderr)
        rows: List[np.ndarray] = []
        done, last = parts.done, time.monotonic()
        options = (engine.image_size, flip, engine.batch_size, parts.done, cluster)
        for block in stream(engine, source, *options):
            rows.append(block if dtype == "float32" else _as_float16(block, source, done))
            done += len(block)
            if time.monotonic() - last >= part_seconds:
                parts.add(np.concatenate(rows))
                rows, last = [], time.monotonic()
        keys, labels = source.keys, source.labels
        if flip == "both":
            plain = (block[:, 0] for block in chain(parts.blocks(), rows))
            mirrored = (block[:, 1] for block in chain(parts.blocks(), rows))
            shape = save_blocks(path, plain, keys, labels, about, mirrored)
        else:
            shape = save_blocks(path, chain(parts.blocks(), rows), keys, labels, about)
        parts.remove()
    return shape


def _as_float16(rows: np.ndarray, source: ImageSource, first: int) -> np.ndarray:
    """Convert rows (B, E) or (B, 2, E), of the images from position ``first`` on, to float16."""
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
    sound = np.isfinite(half).all(axis=-1) & half.any(axis=-1)
    if not sound.all():
        name = source.name(first + int(np.argwhere(~sound)[0, 0]))
        raise InsightError(
            f"{name}: its embedding is zero or not finite as float16, so it has no direction; the model is damaged, or "
            "its embeddings need `insight embed --output-dtype float32`"
        )
    return half


def about(engine, flip: str, model_files: Sequence[Path], source: Optional[ImageSource] = None) -> Dict[str, Any]:
    """The model and the options of embeddings, as stored in the .npz; files by name, without their folders.

    The fingerprint of ``source`` is added if it is a record set. Flip ``both`` is recorded as ``none``, since
    ``embeddings`` are then those of the images alone.
    """
    fingerprint = source.fingerprint() if source else None
    return {
        "model": [Path(file).name for file in model_files],
        "model_sha256": digest(model_files),
        "flip": "none" if flip == "both" else flip,
        "image_size": list(engine.image_size),
        "engine": engine.describe(),
        **({"set": fingerprint} if fingerprint else {}),
    }


def digest(files: Sequence[Path]) -> str:
    """SHA-256 of the contents of files, in order."""
    state = hashlib.sha256()
    for file in files:
        with open(file, "rb") as opened:
            while chunk := opened.read(1 << 20):
                state.update(chunk)
    return state.hexdigest()


class Parts:
    """The folder of parts, created with the first part. An existing folder is locked against other processes.

    Parameters
    ----------
    folder : Path
    begun : callable
        Returns input, model and options. It is called if parts exist, or when the first part is written.

    Attributes
    ----------
    done : int
        Number of images with stored embeddings.

    Raises
    ------
    InsightError
        The folder has other content, or another process is writing into it.
    """

    def __init__(self, folder: Path, begun: Callable[[], Dict[str, object]]):
        self.folder = folder
        self.done = 0
        self._begun = begun
        self._files: List[Path] = []
        self._lock: Optional[IO] = None
        if _holds_something(folder):
            try:
                self._resume()
            except BaseException:
                self.close()
                raise

    def add(self, rows: np.ndarray) -> None:
        """Write the next part: rows (B, E) or (B, 2, E)."""
        if self._lock is None:
            if _holds_something(self.folder):
                raise InsightError(f"{self.folder}: another run has created it meanwhile; give another output")
            atomic.write_text(self.folder / BEGUN, json.dumps(self._begun(), indent=1) + "\n")
            self._take_lock()
        file = self._file()
        with atomic.write_beside(file) as out:
            np.save(out, rows, allow_pickle=False)
        self._files.append(file)
        self.done += len(rows)

    def blocks(self) -> Iterator[np.ndarray]:
        """Rows of each part, in order."""
        return (np.load(file, allow_pickle=False) for file in self._files)

    def remove(self) -> None:
        """Remove the parts, last first: if that is killed, the remaining parts can still be resumed."""
        if self._lock is None:
            return
        for file in reversed(self._files):
            file.unlink()
        (self.folder / BEGUN).unlink()
        self.folder.rmdir()

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()

    def _file(self) -> Path:
        return self.folder / f"part-{self.done:012d}.npy"

    def _resume(self) -> None:
        stored = self._read()
        self._take_lock()
        for option, value in self._begun().items():
            if stored.get(option) != value:
                name = option.lstrip("-")  # without dashes: train-softmax --teacher has other options for them
                other = f"another {name}" if option in BY_CONTENT else f"{name} {stored.get(option)}, not {value}"
                raise InsightError(
                    f"{self.folder}: was begun with {other}; give the same again to resume, or remove the folder"
                )
        while self._file().exists():
            self._files.append(self._file())
            self.done += len(np.load(self._files[-1], mmap_mode="r", allow_pickle=False))
        atomic.sweep(self._file())  # the temporary file of a killed run

    def _read(self) -> Dict[str, object]:
        try:
            stored = dict(json.loads((self.folder / BEGUN).read_text(encoding="utf-8")))
            return {"--output-dtype": "float32", **stored}  # earlier versions did not record it
        except (OSError, ValueError, TypeError):
            raise InsightError(
                f"{self.folder}: is not a folder of embed's parts (no valid {BEGUN}); move it away or give "
                "another output"
            ) from None

    def _take_lock(self) -> None:
        self._lock = open(self.folder / BEGUN, "rb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InsightError(
                f"{self.folder}: another run is writing it; wait for that, or give another output"
            ) from None


def _holds_something(folder: Path) -> bool:
    """Whether the folder has more than the temporary files of runs that were killed before their first part."""
    if not folder.is_dir():
        return folder.exists()
    return any(not file.name.startswith(f".{BEGUN}.") for file in folder.iterdir())
