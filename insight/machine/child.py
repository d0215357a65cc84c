"""A Python child process for code that may crash or hang or needs its own settings; facts are printed as JSON lines."""

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
    """Result of a child process.

    Attributes
    ----------
    facts : list of dict
        The JSON objects that it printed.
    status : int or None
        Its exit status, -N if signal N killed it; None if it ran out of time.
    death : str
        The cause of its failure; empty if it ended with status 0.
    last_line : str
        The last line of stderr; empty if there is none.
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
    timeout : float, optional
        Seconds; None: no limit.
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
    except BaseException:  # Ctrl-C must not leave a hanging child
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
