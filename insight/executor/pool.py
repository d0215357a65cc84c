"""What a kind of worker is: a pool that takes tasks and settles their tickets."""

from __future__ import annotations

import abc
import pickle
import threading
from typing import Any, Callable, NamedTuple, Optional, Sequence, Union


class Cluster(NamedTuple):
    """A Dask cluster, given where a number of workers is: by one of the two.

    Attributes
    ----------
    address : str
        Of its scheduler: ``tcp://host:8786``.
    scheduler_file : str
        The file that the scheduler wrote.
    """

    address: str = ""
    scheduler_file: str = ""

    def __str__(self) -> str:
        return f"--scheduler-file {self.scheduler_file}" if self.scheduler_file else f"--cluster {self.address}"


SHARED = "all workers must see the files of a run under the same path, on a shared file system"
Workforce = Union[int, Cluster]  # a number of workers of this machine, or a cluster


class Ticket:
    """The result of a task, once there is one."""

    __slots__ = ("_error", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: Any = None
        self._error: Optional[BaseException] = None

    @classmethod
    def done_with(cls, value: Any) -> Ticket:
        """The ticket of a task that needs no worker."""
        ticket = cls()
        ticket.settle(value)
        return ticket

    def settle(self, value: Any, error: Optional[BaseException] = None) -> None:
        """Note what became of the task."""
        self._value, self._error, self.done = value, error, True

    def settle_pickled(self, answer: Any) -> None:
        """Note what became of the task in another process: bytes of :func:`pickled_answer`."""
        value, error, trace = pickle.loads(answer)
        if trace:
            error.__cause__ = WorkerTraceback(trace)
        self.settle(value, error)

    def get(self) -> Any:
        """The result of a task that is done; raises what the task raised."""
        if self._error is not None:
            raise self._error
        return self._value


class Pool(abc.ABC):
    """Workers of one kind; see :class:`insight.executor.Workers` for what they promise.

    Parameters
    ----------
    task : callable
        Called with one item by the workers.
    count : int or Cluster
        Number of workers, 1 or more; a cluster for those of a cluster.
    prepare : callable
        Called once before any task; its error becomes that of every task.
    paths : sequence of str
        Files and folders that tasks read or write.

    Attributes
    ----------
    count : int
        Number of tasks that can be worked on at once.
    """

    count: int

    @abc.abstractmethod
    def __init__(
        self, task: Callable[[Any], Any], count: Workforce, prepare: Callable[[], None], paths: Sequence[str] = ()
    ): ...

    @abc.abstractmethod
    def submit(self, item: Any) -> Ticket:
        """Take a task. Does not wait for room: the caller bounds what is under way."""

    @abc.abstractmethod
    def take_in(self) -> None:
        """Settle the tickets of the results that have come, and give out tasks. Does not wait."""

    @abc.abstractmethod
    def wait(self, ticket: Ticket) -> None:
        """Until a ticket is settled."""

    @abc.abstractmethod
    def close(self, at_once: bool) -> None:
        """End the workers and wait until they have ended; ``at_once`` does not wait for tasks that have begun."""


class WorkerTraceback(Exception):
    """Where in a worker process an error came from, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def pickled_answer(task: Callable[[Any], Any], item: Any) -> bytes:
    """What became of a task, for :meth:`Ticket.settle_pickled` in another process: its result, or its error."""
    try:
        return pickle.dumps((task(item), None, ""), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        import traceback  # not worth loading before it is needed

        return pickle.dumps((None, _portable(error), traceback.format_exc()), pickle.HIGHEST_PROTOCOL)


def _portable(error: BaseException) -> BaseException:
    """The error, or one that says the same, where it does not go through a pipe."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


class RunEnded(Exception):
    """The run that wanted a task's result has ended."""


_CURRENT = threading.local()


def stop_if_unwanted() -> None:
    """For a long task, between two steps: raises :class:`RunEnded` where nobody waits for its result any more."""
    wanted = getattr(_CURRENT, "wanted", None)
    if wanted is not None and not wanted():
        raise RunEnded


def bind_wanted(wanted: Callable[[], bool]) -> None:
    """For a pool: let ``wanted`` say whether the results of the calling thread's tasks are wanted."""
    _CURRENT.wanted = wanted
