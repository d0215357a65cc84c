"""Base class of engines, which map images to embeddings."""

from __future__ import annotations

import abc
from typing import Callable, ClassVar, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import InsightError


class Unable(InsightError):
    """The runtime cannot evaluate the network, but another runtime may be able to."""


class Settings(NamedTuple):
    """Options of an engine; see :func:`insight.engines.load`."""

    threads: Optional[int] = None
    device: object = None
    graph: str = "fast"
    batch_size: Optional[int] = None
    dtype: str = "float32"
    image_size: Optional[Tuple[int, int]] = None


def is_checkpoint(spec: str) -> bool:
    """Whether a specification is ``prefix,epoch``."""
    return spec.rpartition(",")[2].strip().isdecimal() and "," in spec


def stated_or_given(
    spec: str, stated: Optional[Tuple[int, int]], given: Optional[Tuple[int, int]]
) -> Optional[Tuple[int, int]]:
    """Image size (height, width) that the file states, else the one that the user gives; None if there is neither.

    Raises
    ------
    InsightError
        The two sizes differ.
    """
    if stated is not None and given is not None and tuple(stated) != tuple(given):
        raise InsightError(
            f"{spec}: --image-size {given[0]}x{given[1]}: the file states {stated[0]}x{stated[1]}; leave the option out"
        )
    known = given if stated is None else stated
    return None if known is None else (known[0], known[1])


class Engine(abc.ABC):
    """A network loaded in a runtime. It is called with images and returns embeddings.

    Attributes
    ----------
    name : str
        Name of the runtime: ``mxnet``, ``ncnn``, ``onnxruntime`` or ``openvino``.
    spec : str
        Model specification as given by the user.
    image_size : (int, int)
        Height and width of the images.
    dimension : int
        Embedding size E.
    batch_size : int
        Maximum number of images per batch.
    notes : list of str
        Assumptions about properties that the file does not state, for commands to print.
    opened_by : callable or None
        The call of :func:`insight.engines.load` that opened the engine, with absolute paths. An engine is pickled as
        this call. The process that unpickles it raises InsightError if its description (:meth:`describe`) differs.
    """

    opened_by: Optional[Callable[[], Engine]] = None

    name: ClassVar[str]
    SPEC: ClassVar[str]  # description of the specifications that the engine takes
    DTYPES: ClassVar[Tuple[str, ...]] = ("float32",)  # supported data types of the computation

    def __init__(
        self, spec: str, image_size: Tuple[int, int], dimension: int, batch_size: int, notes: Sequence[str] = ()
    ):
        self.spec = spec
        self.image_size = image_size
        self.dimension = dimension
        self.batch_size = batch_size
        self.notes = list(notes)

    def __reduce__(self):
        if self.opened_by is None:
            raise TypeError(f"{self.spec}: not opened by insight.engines.load, so another process cannot open it")
        return _opened_again, (self.opened_by, self.describe())

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Embed images.

        Parameters
        ----------
        images : numpy.ndarray
            (N, 3, H, W), RGB, 0..255, uint8 or float32, for any N.

        Returns
        -------
        numpy.ndarray
            (N, E) float32 embeddings as computed by the network, not normalised.

        Raises
        ------
        InsightError
            The array has another shape or dtype.
        """
        shape = (3, *self.image_size)
        if images.ndim != 4 or images.shape[1:] != shape or images.dtype not in (np.uint8, np.float32):
            raise InsightError(
                f"{self.spec}: takes uint8 or float32 images (N, {', '.join(map(str, shape))}), "
                f"got {images.dtype} {images.shape}"
            )
        embeddings = np.empty((len(images), self.dimension), np.float32)
        done = 0
        while done < len(images):
            count = self._next(len(images) - done)
            embeddings[done : done + count] = self._run(np.ascontiguousarray(images[done : done + count], np.float32))
            done += count
        return embeddings

    def _next(self, left: int) -> int:
        """Size of the next batch if ``left`` images remain."""
        return min(left, self.batch_size)

    @abc.abstractmethod
    def _run(self, images: np.ndarray) -> np.ndarray:
        """Embed a batch whose size was returned by :meth:`_next`: (B, 3, H, W) float32 to (B, E) float32."""

    @abc.abstractmethod
    def describe(self) -> str:
        """One line: runtime, version, device, graph. Engines with the same description give the same embeddings."""

    @staticmethod
    @abc.abstractmethod
    def takes(spec: str) -> bool:
        """Whether this runtime evaluates a specification of this kind."""

    @staticmethod
    @abc.abstractmethod
    def installed() -> bool:
        """Whether the runtime is installed."""

    @classmethod
    @abc.abstractmethod
    def open(cls, spec: str, settings: Settings) -> Engine:
        """Load the model of a specification that the engine takes.

        Raises
        ------
        InsightError
            A file is missing or damaged, or an option is not supported.
        Unable
            The runtime is not installed, or does not support the network.
        """


def _opened_again(opened_by: Callable[[], Engine], described: str) -> Engine:
    """Open an engine that was pickled by another process."""
    engine = opened_by()
    if engine.describe() != described:
        raise InsightError(
            f"{engine.spec}: is evaluated by {engine.describe()} here, and by {described} where the run began, so "
            "embeddings would differ; install the same packages"
        )
    return engine
