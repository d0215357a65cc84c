"""Running code that may crash or hang, or needs its own environment, in a Python child process.

The child prints its results as lines of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

ROOT = Path(__file__).parents[2]  # the child imports insight from here


class Ended(NamedTuple):
    """The result of a child process.

    Attributes
    ----------
    facts : list of dict
        JSON objects that the child printed.
    status : int or None
        Exit status, or -N if signal N killed the child; None after a timeout.
    death : str
        Cause of the failure; "" for status 0.
    last_line : str
        Last non-empty line of stderr; "" if there is none.
    """

    facts: List[Dict[str, Any]]
    status: Optional[int]
    death: str
    last_line: str


def run_child(
    code: str,
    timeout: Optional[float] = None,
    environment: Optional[Mapping[str, str]] = None,
    arguments: Sequence[str] = (),
) -> Ended:
    """Run code in a separate Python process, which can import this package.

    Parameters
    ----------
    code : str
        Python source.
    timeout : float, optional
        In seconds; None for no limit.
    environment : mapping, optional
        Environment variables, added to those of this process.
    arguments : sequence of str
        ``sys.argv[1:]`` of the child.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {}), "PYTHONPATH": path},
        text=True,
        errors="replace",
    )
    status: Optional[int] = None
    try:
        out, err = child.communicate(timeout=timeout)
        status = child.returncode
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
    except BaseException:  # do not leave the child running after Ctrl-C
        child.kill()
        raise
    facts = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    last_line = next((line.strip() for line in reversed(err.splitlines()) if line.strip()), "")
    return Ended(facts, status, _death(status, timeout, last_line), last_line)


def _death(status: Optional[int], timeout: Optional[float], last_line: str) -> str:
    if status is None:
        return f"gave no answer within {timeout:g} s"
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"failed: {last_line or 'no message'}" if status else ""
