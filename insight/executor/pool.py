"""What a kind of worker is: a pool that takes tasks and settles their tickets."""

from __future__ import annotations

import abc
from typing import Any, Callable, Optional


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
    count : int
        Of workers, 1 or more.
    prepare : callable
        Called once before any task; its error becomes that of every task.
    """

    @abc.abstractmethod
    def __init__(self, task: Callable[[Any], Any], count: int, prepare: Callable[[], None]): ...

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
