"""Ctrl-C and SIGTERM ask; the loop answers at the end of a step, when parameters and momentum belong together."""

from __future__ import annotations

import os
import signal
import threading

from ..errors import InsightError

ASKED = b"stopping when this step is done; once more to stop at once\n"


class Stopped(InsightError):
    """A run that was asked to stop; the message says how to go on."""

    exit_status = 130


class StopRequest:
    """While it is entered, SIGINT and SIGTERM only set :attr:`signal`; a second one acts at once.

    Attributes
    ----------
    signal : int
        What was asked with; 0: nothing was.
    """

    def __init__(self):
        self.signal = 0
        self._former: dict = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, background shells
                    self._former[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}

    def _ask(self, number: int, frame) -> None:
        self.signal = number
        self.__exit__()
        os.write(2, ASKED)  # not print: the signal may have come within another print, which takes no second one


def stopped_by(number: int, message: str) -> Stopped:
    """The error of a run that a signal stopped, with the exit status that shells give the signal."""
    error = Stopped(message)
    error.exit_status = 128 + number
    return error
