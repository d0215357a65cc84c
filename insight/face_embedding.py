"""Images of faces -> unit embeddings: the class for use in services.

    from insight.face_embedding import FaceEmbedding

    faces = FaceEmbedding("y1.onnx")
    one, other = faces.embed("a.jpg", landmarks=five_points), faces.embed(aligned_bgr)
    same = faces.similarity(one, other) > threshold       # of `insight verification`, for that model

Embeddings are those of verification: image and mirror image are embedded, added and normalised, so its thresholds
apply here.
"""

from __future__ import annotations

import os
from itertools import islice, repeat
from pathlib import Path
from typing import Iterable, Iterator, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

from . import engines
from .errors import InsightError
from .faces import alignment
from .faces.flip import both_passes
from .images.pixels import upright_bgr

Image = Union[np.ndarray, str, "os.PathLike[str]", bytes]

AT_ONCE = 64  # images that are decoded at a time


class FaceEmbedding:
    """A network with its pre- and postprocessing: decoding, alignment, colour order, mirror image, unit length.

    Thread-safe; create one per process. An instance that was created before a fork must not be used after it.

    Parameters
    ----------
    model : str
        ``prefix,epoch`` of a checkpoint, or a file that an engine takes: .onnx, OpenVINO's .xml, ncnn's .param.
    engine : str
        The runtime; ``auto`` is the fastest installed one that reads the model.
    threads : int, optional
        CPU threads; by default the runtime's own choice.
    dtype : str
        ``float32``, or ``bfloat16`` if the runtime and the CPU support it.
    flip : bool
        Add the embedding of the mirror image, as in verification. Without it a call takes half the time, and thresholds
        are different.
    image_size : (int, int), optional
        Height and width of the images, if the model's file does not state them.

    Attributes
    ----------
    image_size : (int, int)
        Height and width of an aligned face.
    dimension : int
        Length E of an embedding.
    notes : list of str
        Assumptions about properties that the file does not state, such as the image size.

    Raises
    ------
    InsightError
        The model is missing or damaged, the size of its images is not known, or the runtime is not installed.
    """

    def __init__(
        self,
        model: str,
        engine: str = "auto",
        threads: Optional[int] = None,
        dtype: str = "float32",
        flip: bool = True,
        image_size: Optional[Tuple[int, int]] = None,
    ):
        options = {"threads": threads, "engine": engine, "dtype": dtype, "image_size": image_size}
        self._network = engines.load(os.fspath(model), **options)
        self._flip = flip
        self.notes = self._network.notes
        self.image_size: Tuple[int, int] = self._network.image_size
        self.dimension: int = self._network.dimension

    def describe(self) -> str:
        """One line: runtime, version, device, type."""
        return self._network.describe()

    def embed(self, image: Image, landmarks=None) -> np.ndarray:
        """Embed one face.

        Parameters
        ----------
        image : np.ndarray, path or bytes
            Pixels, uint8 (H, W, 3) in BGR, as from ``cv2.imread``, or (H, W) grey; or an image file, by its path or its
            content, which is rotated by its Exif orientation.
        landmarks : array_like, optional
            (5, 2) x, y in pixels of the upright image: left eye, right eye, nose, left and right mouth corner, from the
            viewer's perspective. The face is aligned by them. Without landmarks, the image must be an aligned face of
            the network's size.

        Returns
        -------
        np.ndarray
            (E,) float32 of length 1.

        Raises
        ------
        InsightError
            The image is missing, damaged, of another kind or another size; landmarks are invalid; or the embedding is
            zero or not finite.
        """
        return self.embed_many([image], [landmarks])[0]

    def embed_many(self, images: Iterable[Image], landmarks: Optional[Iterable] = None) -> np.ndarray:
        """Embed faces, (N, E) float32 in their order; see :meth:`embed`.

        Parameters
        ----------
        images : iterable
            May be a generator: only one batch of images is in memory at a time.
        landmarks : iterable, optional
            (5, 2) or None for each image.
        """
        if isinstance(images, (str, os.PathLike, bytes)):
            raise InsightError(f"embed_many wants a list of images, got a {type(images).__name__}; embed takes one")
        points = repeat(None) if landmarks is None else landmarks
        pairs = enumerate(_pairs(images, points))
        faces = (self._face(image, image_points, _name(image, i)) for i, (image, image_points) in pairs)
        blocks = [np.empty((0, self.dimension), np.float32)]
        while chunk := list(islice(faces, AT_ONCE)):
            names, pixels = zip(*chunk)
            blocks.append(self._embed(names, np.stack(pixels)))
        return np.concatenate(blocks)

    @staticmethod
    def similarity(a, b) -> Union[float, np.ndarray]:
        """Cosine of embeddings: -1 to 1, higher is more similar.

        Parameters
        ----------
        a, b : array_like
            (E,) or (N, E) and (E,) or (M, E).

        Returns
        -------
        float or np.ndarray
            A float for two embeddings; otherwise (N,), (M,) or (N, M).
        """
        a, b = (np.asarray(rows, np.float64) for rows in (a, b))
        if a.ndim not in (1, 2) or b.ndim not in (1, 2) or a.shape[-1] != b.shape[-1]:
            raise InsightError(f"similarity: want embeddings (E,) or (N, E); got {a.shape} and {b.shape}")
        a, b = (rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in (a, b))
        cosine = a @ b.T
        return float(cosine) if cosine.ndim == 0 else cosine

    def _embed(self, names: Sequence[str], images: np.ndarray) -> np.ndarray:
        """Unit embeddings (N, E) of images (N, 3, H, W) uint8, RGB."""
        rows = np.add(*both_passes(self._network, images, together=True)) if self._flip else self._network(images)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        invalid = np.flatnonzero(~((lengths > 0) & np.isfinite(lengths)))
        if invalid.size:
            raise InsightError(
                f"{names[invalid[0]]}: {self._network.spec} gives an embedding of length {lengths[invalid[0], 0]}; "
                "want a finite one above 0: the model is damaged, or overflows"
            )
        return rows / lengths

    def _face(self, image: Image, landmarks, name: str) -> Tuple[str, np.ndarray]:
        """The name, and the aligned face (3, H, W) uint8, RGB, of the network's size."""
        pixels = _pixels(image, name)
        if landmarks is not None:
            pixels = self._aligned(pixels, landmarks, name)
        elif pixels.shape[:2] != tuple(self.image_size):
            raise InsightError(
                f"{name}: is {_by(pixels.shape)} (height x width), the network takes {_by(self.image_size)}; give the "
                "five landmarks, or a face aligned to that size"
            )
        return name, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)

    def _aligned(self, pixels: np.ndarray, landmarks, name: str) -> np.ndarray:
        if tuple(self.image_size) not in alignment.SIZES:
            known = " and ".join(map(_by, alignment.SIZES))
            raise InsightError(
                f"{name}: the network takes {_by(self.image_size)}, but alignment by landmarks is defined for {known}; "
                "give an aligned face"
            )
        try:
            points = np.asarray(landmarks, np.float32)
        except (TypeError, ValueError):
            points = np.empty(0, np.float32)
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise InsightError(f"{name}: landmarks must be five x, y in pixels, (5, 2); got {points.shape}")
        if points.min() >= 0 and points.max() <= 1 and np.ptp(points, axis=0).any():
            raise InsightError(f"{name}: landmarks are all from 0 to 1; want pixels, not fractions of width and height")
        try:
            return alignment.warp(pixels, points.T.ravel(), self.image_size)
        except InsightError as error:
            raise InsightError(f"{name}: {error}") from None


def _pixels(image: Image, name: str) -> np.ndarray:
    """uint8 (H, W, 3), BGR."""
    if isinstance(image, (str, os.PathLike)):
        try:
            image = Path(image).read_bytes()
        except OSError as error:
            raise InsightError(f"{name}: {error.strerror}; want an image file") from None
    if isinstance(image, (bytes, bytearray, memoryview)):
        return upright_bgr(image, name)[0]
    if not isinstance(image, np.ndarray):
        raise InsightError(f"{name}: is a {type(image).__name__}; want BGR pixels, uint8 (H, W, 3), or an image file")
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise InsightError(
            f"{name}: is {image.dtype} {image.shape}; want BGR pixels, uint8 0..255, (H, W, 3), or (H, W) grey"
        )
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _pairs(images: Iterable, points: Iterable) -> Iterator[tuple]:
    """zip that raises InsightError if the lengths differ."""
    end = object()
    points = iter(points)
    for image in images:
        landmarks = next(points, end)
        if landmarks is end:
            raise InsightError("fewer landmarks than images; give (5, 2) or None for each")
        yield image, landmarks
    if not isinstance(points, repeat) and next(points, end) is not end:
        raise InsightError("more landmarks than images; give (5, 2) or None for each")


def _name(image: Image, i: int) -> str:
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {i}"


def _by(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"
