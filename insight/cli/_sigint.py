"""Ctrl-C that is never lost.

Python turns SIGINT into KeyboardInterrupt wherever the main thread happens to be, and an exception in a
``__del__`` is printed and dropped. MXNet's arrays have one and die by the hundred each second, so a training
run would now and then go on as if nothing had been pressed.
"""

import os
import signal
import threading

AGAIN = 0.01  # seconds; a destructor is over long before


def never_lose() -> None:
    """Install the handler, unless the program that started us chose another, or none (``nohup``, background shells)."""
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
