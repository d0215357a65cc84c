"""Group of several processes, connected by Horovod over Gloo, MPI or NCCL. Only this module imports horovod.

Source: the operations of horovod/mxnet/mpi_ops.py, horovod/horovod@1d217b59 (0.28.1).
"""

from __future__ import annotations

import importlib
import os
import socket
from typing import Any, Callable, Dict, List

import numpy as np

from .._mxnet import mx
from ..errors import InsightError
from .group import Array, RankFailed, Ranks
from .watch import Watch, start_watch

INSTALL = (
    "in insight's checkout run: . recipes/environment.sh && make_environment distributed; `insight doctor` tells more"
)
DEFAULTS = {
    "HOROVOD_STALL_CHECK_DISABLE": "1",  # insight.ranks.watch reports stalls, in one line
    # The default is 30 s, and importing MXNet may take longer on a busy machine. The watch detects lost ranks.
    "HOROVOD_GLOO_TIMEOUT_SECONDS": "300",
}


class Horovod(Ranks):
    """This process as one of several ranks. The constructor waits until all ranks are connected.

    Each operation waits for its result, so nothing is pending when the next one begins. Horovod therefore never fuses
    several arrays into one; with fusion, the order of additions would depend on timing.

    Parameters
    ----------
    size : int
        Number of processes W, from the environment.

    Raises
    ------
    InsightError
        Horovod is not installed, cannot be loaded, or does not find the other processes.
    """

    def __init__(self, size: int) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        self._hvd = _import()
        try:
            self._hvd.init()
        except Exception as error:  # its class depends on the controller
            reason = (str(error).strip().splitlines() or [""])[-1]
            raise InsightError(f"Horovod: the ranks do not find each other ({reason})") from None
        self.rank, self.size = self._hvd.rank(), self._hvd.size()
        if self.size != size:  # without MPI, each rank of mpirun would train alone and write the same files
            raise InsightError(
                f"{size} processes were started together, and Horovod sees {self.size} of them; start them by "
                "horovodrun, or build Horovod with MPI (HOROVOD_WITH_MPI=1)"
            )
        self._on_gpus = bool(self._hvd.nccl_built())
        self.local_rank, self.local_size = self._hvd.local_rank(), self._hvd.local_size()
        host = os.environ.get("HOROVOD_HOSTNAME") or socket.gethostname()
        self._watch: Watch = start_watch(self, host)

    def sum(self, name: str, array: Array) -> Array:
        # On the CPU, an allreduce adds each part of the array in a different rank order.
        if self.size > 2 and not self._on_gpus and np.dtype(array.dtype).kind == "f":
            return self._run(name, array, lambda nd: self._sum_in_order(name, nd))
        return self._run(name, array, lambda nd: self._hvd.allreduce(nd, name=name, op=self._hvd.Sum))

    def max(self, name: str, array: Array) -> Array:
        return self._run(name, array, lambda nd: self._hvd.allreduce(nd, name=name, op=self._hvd.Max))

    def gather(self, name: str, array: Array) -> Array:
        return self._run(name, array, lambda nd: self._hvd.allgather(nd, name=name))

    def scatter_sum(self, name: str, array: Array) -> Array:
        if len(array) % self.size:
            raise ValueError(f"{name}: {len(array)} rows for {self.size} ranks")
        return self._run(name, array, lambda nd: self._hvd.reducescatter(nd, name=name, op=self._hvd.Sum))

    def broadcast(self, name: str, array: Array, root: int = 0) -> Array:
        return self._run(name, array, lambda nd: self._hvd.broadcast(nd, root, name=name))

    @property
    def hosts(self) -> List[str]:
        return self._watch.hosts

    def close(self) -> None:
        self.barrier("end")
        self._watch.leave()
        self._hvd.shutdown()

    def fail(self, reason: str) -> None:
        self._watch.leave(reason)

    def _sum_in_order(self, name: str, array: Any) -> Any:
        """Sum in rank order, as MXNet sums over devices; it sends as many bytes as an allreduce.

        Each rank receives its part of the array from all ranks, adds them up, and sends the sum to all ranks.
        """
        flat = array.reshape((-1,))
        size = flat.shape[0]
        if size % self.size:
            rest = mx.nd.zeros(self.size - size % self.size, ctx=flat.context, dtype=flat.dtype)
            flat = mx.nd.concat(flat, rest, dim=0)
        parts = self._hvd.alltoall(flat, name=f"{name}/parts").reshape((self.size, -1))
        total = parts[0] + parts[1]
        for rank in range(2, self.size):
            total += parts[rank]
        return self._hvd.allgather(total, name=f"{name}/total")[:size].reshape(array.shape)

    def _run(self, name: str, array: Array, operation: Callable[[Any], Any]) -> Array:
        """Run an operation on a NumPy or MXNet array and wait for the result."""
        with self._watch.operation(name):
            try:
                with mx.util.np_shape(True):  # otherwise an MXNet array cannot have 0 rows
                    if isinstance(array, np.ndarray):
                        return operation(mx.nd.array(array, dtype=array.dtype)).asnumpy()
                    result = operation(array if self._on_gpus else array.as_in_context(mx.cpu()))
                    result.wait_to_read()
                    return result.as_in_context(array.context)
            except mx.MXNetError as error:
                raise RankFailed(self._watch.failure_behind(name, error)) from None


def describe_build() -> Dict[str, Any]:
    """``controllers``: names of the controllers built in, the default first; ``nccl``: whether GPUs sum by NCCL."""
    hvd = _import()
    built = {"MPI": hvd.mpi_built(), "Gloo": hvd.gloo_built()}
    return {"controllers": [name for name, there in built.items() if there], "nccl": bool(hvd.nccl_built())}


def _import() -> Any:
    try:
        return importlib.import_module("horovod.mxnet")
    except ImportError as error:
        raise InsightError(
            f"this process was started as one of several ranks, and Horovod does not load ({error}); {INSTALL}"
        ) from None
