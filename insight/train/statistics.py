"""Running statistics of batch norm on several devices and ranks: each has its own; checkpoints save their mean."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np

from .._mxnet import mx
from ..ranks.flat import sum_in_place
from ..ranks.group import Ranks


class Statistics:
    """Running means and variances of batch norm.

    Parameters
    ----------
    network : insight.nets.network.Network
        Initialised.
    devices : list of mxnet.Context
        Devices of this rank. All ranks have the same number of devices.
    ranks : Ranks

    Attributes
    ----------
    count : int
        Number of devices of all ranks.
    first : int
        Index among them of this rank's first device.
    """

    def __init__(self, network, devices: list, ranks: Ranks):
        self._network, self._devices, self._ranks = network, devices, ranks
        self.count, self.first = ranks.size * len(devices), ranks.rank * len(devices)

    def own(self) -> Dict[str, List[Any]]:
        """Name to the arrays of this rank's devices, in order, not copies."""
        mx.nd.waitall()  # a static CachedOp writes them without telling the engine
        return {name: p.list_data() for name, p in self._network.kept().items() if p.grad_req == "null"}

    def mean(self) -> Dict[str, Any]:
        """Name to the mean over all devices of all ranks, on the first device. All ranks call it together.

        If there is only one device in all, these are its arrays, not copies.
        """
        if self.count == 1:
            return {name: arrays[0] for name, arrays in self.own().items()}
        first = self._devices[0]
        sums = {
            name: mx.nd.add_n(*(array.as_in_context(first) for array in arrays)) for name, arrays in self.own().items()
        }
        sum_in_place(self._ranks, "statistics", list(sums.values()))
        return {name: total / self.count for name, total in sums.items()}

    def numbered(self) -> Dict[str, List[Any]]:
        """``NAME@i`` to a list of the one array of device i, for this rank's devices; i counts those of all ranks."""
        arrays = self.own().items()
        return {f"{name}@{self.first + i}": [array] for name, copies in arrays for i, array in enumerate(copies)}

    def everyones(self) -> Dict[str, List[np.ndarray]]:
        """As :meth:`numbered` for the devices of all ranks, copied to the host. All ranks call it together."""
        own = self.own()
        if not own:
            return {}
        rows = [
            np.concatenate([arrays[i].asnumpy().ravel() for arrays in own.values()]) for i in range(len(self._devices))
        ]
        ends = np.cumsum([arrays[0].size for arrays in own.values()])[:-1]
        return {
            f"{name}@{i}": [part.reshape(arrays[0].shape)]
            for i, row in enumerate(self._ranks.gather("state/statistics", np.stack(rows)))
            for (name, arrays), part in zip(own.items(), np.split(row, ends))
        }

    def take_mean(self, saved: Dict[str, np.ndarray]) -> None:
        """Set the statistics of every device to the mean of those of a run on another number of devices.

        Parameters
        ----------
        saved : dict
            ``NAME@i`` to the array of device i of that run.
        """
        for name, arrays in self.own().items():
            values = [array for key, array in saved.items() if key.rpartition("@")[0] == name]
            mean = np.mean(np.stack(values).astype(np.float64), axis=0)
            for array in arrays:
                array[:] = mean
