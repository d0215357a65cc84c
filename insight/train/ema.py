"""``--ema``: exponential moving averages of the network's weights, verified and saved beside the weights.

    average = d average + (1 - d) weight,    d = min(decay, (1 + n) / (10 + n)) in update n = 0, 1, ...

Source: Polyak and Juditsky, 1992, with the warm-up of TensorFlow's ``ExponentialMovingAverage(num_updates)``. The
running statistics of batch norm are averaged too, first over the devices. The objective's weights, such as fc7's, are
not averaged: they are not shipped, and they may be larger than the network.
"""

from __future__ import annotations

from typing import Callable, Dict

import numpy as np

from .. import checkpoint
from .._mxnet import mx
from ..runs.jsonl import AVERAGES, AveragesSavedRow
from .evaluation import Evaluation
from .model import Model, inference

AT_ONCE = 50  # arrays per call of multi_sgd_update
WARM_UP = 10  # updates until the decay is about a half


def decay_at(most: float, updates: int) -> float:
    """Decay of an update after ``updates`` earlier ones: the share of the average that it keeps."""
    return min(most, (1 + updates) / (WARM_UP + updates))


class Averages:
    """Averages of a model's network, on its first device. They start as the network's own values.

    Parameters
    ----------
    model : Model
    decay : float
        Above 0 and below 1.

    Attributes
    ----------
    updates : int
        Updates done so far. Together with :meth:`arrays`, it is the whole state.
    """

    def __init__(self, model: Model, decay: float):
        self.model = model
        self.decay = decay
        self.updates = 0
        self._averages: Dict[str, mx.nd.NDArray] = {name: array.copy() for name, array in self._current().items()}
        mx.nd.waitall()

    @property
    def image_size(self) -> tuple:
        """(height, width) in pixels."""
        return self.model.image_size

    def update(self) -> None:
        """Update the averages with the model's values after a step."""
        keep = decay_at(self.decay, self.updates)
        current = self._current()
        names = list(current)
        for first in range(0, len(names), AT_ONCE):
            group = names[first : first + AT_ONCE]
            # SGD with gradient -w and weight decay 1 gives a - (1 - d)(a - w), in one operator without temporaries
            pairs = [array for name in group for array in (self._averages[name], current[name])]
            rates = {"lrs": (1 - keep,) * len(group), "wds": (1.0,) * len(group), "rescale_grad": -1.0}
            out = [self._averages[name] for name in group]
            mx.nd.multi_sgd_update(*pairs, num_weights=len(group), out=out, **rates)
        mx.nd.waitall()  # the next forward pass writes running statistics without telling the engine
        self.updates += 1

    def _current(self) -> dict:
        """The network's arrays on the first device, running statistics as the mean over all devices."""
        mx.nd.waitall()
        statistics = self.model.statistics.mean()
        kept = self.model.network.kept()
        return {name: statistics[name] if name in statistics else p.list_data()[0] for name, p in kept.items()}

    def checkpoint(self) -> checkpoint.Checkpoint:
        """As :meth:`insight.train.model.Model.checkpoint`, with the averages as the network's arrays."""
        return self._averaged(self.model.checkpoint())

    def embedder(self, name: str, check: Callable[[], None] = lambda: None) -> Callable[[np.ndarray], np.ndarray]:
        """As :meth:`insight.train.model.Model.embedder`, with the averages as the network's arrays."""
        return inference(self._averaged(self.model.network_checkpoint()), name, self.model.devices[0], check)

    def _averaged(self, of: checkpoint.Checkpoint) -> checkpoint.Checkpoint:
        averages = {name: array.as_in_context(mx.cpu()) for name, array in self._averages.items()}
        args, aux = ({name: averages.get(name, array) for name, array in group.items()} for group in of[1:])
        return checkpoint.Checkpoint(of.symbol, args, aux)

    def arrays(self) -> dict:
        """Name to a list of the one array of its average, which may be read and written between two steps."""
        return {name: [array] for name, array in self._averages.items()}


class AveragedEvaluation(Evaluation):
    """Verifies and saves the averages, with a best of their own; not at step 0, where they equal the network."""

    SUFFIX, TITLE, ROW = AVERAGES, "averages ", AveragesSavedRow

    def verify(self, step: int) -> None:
        """As :meth:`insight.train.evaluation.Evaluation.verify`."""
        if step:
            super().verify(step)
        self.last_verified = step
