"""Ctrl-C for child processes."""

import signal


def default_sigint() -> None:
    """For ``preexec_fn``: let SIGINT end the child, also where the tests run in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
