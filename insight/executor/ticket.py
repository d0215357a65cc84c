"""A task's place in the queue."""

from __future__ import annotations

from typing import Any, Optional


class Ticket:
    """The result of a task, once there is one."""

    __slots__ = ("_error", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: Any = None
        self._error: Optional[BaseException] = None

    def settle(self, value: Any, error: Optional[BaseException] = None) -> None:
        """Note what became of the task."""
        self._value, self._error, self.done = value, error, True

    def get(self) -> Any:
        """The result of a task that is done; raises what the task raised."""
        if self._error is not None:
            raise self._error
        return self._value
