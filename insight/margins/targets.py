"""Input of a margin: the target cosines of one device's samples in one step."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

import numpy as np

STREAM = 0xD3  # last word of the generators' seeds; insight.feed.draws lists those of others


class Targets:
    """(B,) samples, each with its own class.

    Parameters
    ----------
    F : module
        ``mx.nd``.
    cos_B : (B,) array
        Cosine between the embedding and the centre of its class, -1..1 up to rounding. For softmax: the logit.
    length : callable, optional
        () -> (B,) array, the embeddings' lengths; called at most once, and only if a margin needs them.
    step : int
        0-based, counted over the whole run.
    seed : int
        The run's seed.
    first : int
        Index of the first sample in the batch of all devices.
    state : mapping of str to array
        The margin's state (:meth:`insight.margins.margin.Margin.initial_state`), on the samples' device.
    everyone : callable, optional
        () -> (N,) array, the cosines of the samples of all devices, on this device. None: there are no other samples.
    """

    def __init__(
        self,
        F,
        cos_B,
        length: Optional[Callable[[], Any]] = None,
        step: int = 0,
        seed: int = 0,
        first: int = 0,
        state: Optional[Mapping[str, Any]] = None,
        everyone: Optional[Callable[[], Any]] = None,
    ):
        self.F = F
        self.cos_B = cos_B
        self.step = step
        self.state = state or {}
        self._length = length
        self._length_B: Any = None
        self._seed, self._first, self._everyone = seed, first, everyone

    @property
    def length_B(self):
        """(B,) lengths of the embeddings, above 0."""
        if self._length_B is None:
            if self._length is None:
                raise ValueError("these targets were made without lengths")
            self._length_B = self._length()
        return self._length_B

    @property
    def whole(self) -> Targets:
        """The samples of all devices, (N,), without lengths, for margins that depend on the whole batch."""
        if self._everyone is None:
            return self
        return Targets(self.F, self._everyone(), None, self.step, self._seed, 0, self.state)

    def rows(self, begin: int, end: int) -> Targets:
        """Samples begin..end-1; they keep their indices in the batch of all devices."""
        return Targets(
            self.F,
            self.cos_B[begin:end],
            lambda: self.length_B[begin:end],
            self.step,
            self._seed,
            self._first + begin,
            self.state,
            self._everyone or (lambda: self.cos_B),
        )

    def own(self, values_N):
        """Select the (B,) values of these samples from (N,) values of :attr:`whole`."""
        if self._everyone is None:
            return values_N
        return values_N[self._first : self._first + self.cos_B.shape[0]]

    def normal(self, stream: int = 0):
        """(B,) standard normal numbers, on the samples' device.

        Each is a function of the seed, the step, the sample's index in the batch of all devices, and ``stream``. Use
        different streams to draw several numbers per sample.
        """
        return self._drawn(np.random.Generator.standard_normal, stream)

    def uniform(self, stream: int = 0):
        """(B,) uniform numbers in [0, 1); see :meth:`normal`."""
        return self._drawn(np.random.Generator.random, stream)

    def _drawn(self, draw: Callable, stream: int):
        generator = np.random.default_rng([self._seed, self.step, stream, STREAM])
        numbers = draw(generator, self._first + self.cos_B.shape[0])[self._first :]
        return self.F.array(numbers, ctx=self.cos_B.context, dtype="float32")
