"""Base class of the kinds of workers: a pool that takes items and settles their tickets with the results."""

from __future__ import annotations

import abc
import pickle
import threading
from typing import Any, Callable, NamedTuple, Optional, Sequence, Union


class Cluster(NamedTuple):
    """A Dask cluster, which can be given in place of a number of workers. One of the two attributes is set.

    Attributes
    ----------
    address : str
        Address of the scheduler, such as ``tcp://host:8786``.
    scheduler_file : str
        Path of the file that the scheduler wrote.
    """

    address: str = ""
    scheduler_file: str = ""

    def __str__(self) -> str:
        return f"--scheduler-file {self.scheduler_file}" if self.scheduler_file else f"--cluster {self.address}"


SHARED = "all workers must see the files of a run under the same path, on a shared file system"
Workforce = Union[int, Cluster]  # a number of workers of this machine, or a cluster


class Ticket:
    """The future result of a task."""

    __slots__ = ("_error", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: Any = None
        self._error: Optional[BaseException] = None

    @classmethod
    def done_with(cls, value: Any) -> Ticket:
        """Return a ticket that has its result already."""
        ticket = cls()
        ticket.settle(value)
        return ticket

    def settle(self, value: Any, error: Optional[BaseException] = None) -> None:
        """Set the result of the task, or its error."""
        self._value, self._error, self.done = value, error, True

    def settle_pickled(self, answer: Any) -> None:
        """Set the result or error from another process, given the bytes of :func:`pickled_answer`."""
        value, error, trace = pickle.loads(answer)
        if trace:
            error.__cause__ = WorkerTraceback(trace)
        self.settle(value, error)

    def get(self) -> Any:
        """Return the result of a task that is done, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._value


class Pool(abc.ABC):
    """Base class of the workers of one kind; see :mod:`insight.executor` for the rules.

    Parameters
    ----------
    task : callable
        Called by the workers with one item.
    count : int or Cluster
        Number of workers, at least 1; or the cluster.
    prepare : callable
        Called before the first task. If it raises, every task raises its error.
    paths : sequence of str
        Files and folders that tasks read or write.

    Attributes
    ----------
    count : int
        Number of tasks that can run at the same time.
    """

    count: int

    @abc.abstractmethod
    def __init__(
        self, task: Callable[[Any], Any], count: Workforce, prepare: Callable[[], None], paths: Sequence[str] = ()
    ): ...

    @abc.abstractmethod
    def submit(self, item: Any) -> Ticket:
        """Submit an item without waiting. The caller limits the number of pending items."""

    @abc.abstractmethod
    def take_in(self) -> None:
        """Settle the tickets of results that are ready, and send items to workers, without waiting."""

    @abc.abstractmethod
    def wait(self, ticket: Ticket) -> None:
        """Wait until a ticket is settled."""

    @abc.abstractmethod
    def close(self, at_once: bool) -> None:
        """Stop the workers; see :meth:`insight.executor.Workers.close`."""


class WorkerTraceback(Exception):
    """The traceback of an error in a worker process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def pickled_answer(task: Callable[[Any], Any], item: Any) -> bytes:
    """Run a task; return its pickled result or error, for :meth:`Ticket.settle_pickled` in another process."""
    try:
        return pickle.dumps((task(item), None, ""), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        import traceback  # imported here, as it is rarely needed

        return pickle.dumps((None, _portable(error), traceback.format_exc()), pickle.HIGHEST_PROTOCOL)


def _portable(error: BaseException) -> BaseException:
    """Return the error if it can be pickled, otherwise a RuntimeError with its class name and message."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


class RunEnded(Exception):
    """The run that submitted a task has ended."""


_CURRENT = threading.local()


def stop_if_unwanted() -> None:
    """Raise :class:`RunEnded` if the result of the current task is not needed any more. For use within long tasks."""
    wanted = getattr(_CURRENT, "wanted", None)
    if wanted is not None and not wanted():
        raise RunEnded


def bind_wanted(wanted: Callable[[], bool]) -> None:
    """Set the function that tells whether the results of the calling thread's tasks are needed. For use by pools."""
    _CURRENT.wanted = wanted
