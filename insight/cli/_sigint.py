"""A SIGINT handler that does not lose Ctrl-C.

Python raises KeyboardInterrupt wherever the main thread is at that moment, and prints and drops an exception raised
in a ``__del__``. MXNet's arrays have a ``__del__``, and hundreds are deleted each second, so a training run would
occasionally ignore Ctrl-C.
"""

import os
import signal
import threading

AGAIN = 0.01  # seconds until the signal is sent again; longer than a destructor takes


def never_lose() -> None:
    """Install the handler, unless the parent process set another one or ignores SIGINT (``nohup``, background jobs)."""
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number, frame) -> None:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            timer = threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGINT))
            timer.daemon = True
            timer.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
