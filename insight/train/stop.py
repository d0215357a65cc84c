"""Stopping by Ctrl-C and SIGTERM: the run ends between two steps, where parameters and momentum are consistent."""

from __future__ import annotations

import os
import signal
import threading

from ..errors import InsightError

ASKED = b"stopping when this step is done; once more to stop at once\n"


class Stopped(InsightError):
    """The run was asked to stop; the message says how to resume it."""

    exit_status = 130


class StopRequest:
    """Context manager in which SIGINT and SIGTERM only set :attr:`signal`; a second signal acts at once.

    Attributes
    ----------
    signal : int
        Number of the signal received; 0: none.
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
        os.write(2, ASKED)  # not print, which is not reentrant: the signal may interrupt another print


def stopped_by(number: int, message: str) -> Stopped:
    """Error for a run stopped by a signal, with the exit status that shells use for that signal."""
    error = Stopped(message)
    error.exit_status = 128 + number
    return error
