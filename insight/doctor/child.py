"""A Python child process whose stdout is a line of JSON per fact, and how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping, Optional


def run_child(
    code: str, timeout: Optional[float], environment: Optional[Mapping[str, str]] = None
) -> tuple[list[dict[str, Any]], str]:
    """The JSON lines that a Python child printed, and how it died if it did not end by itself.

    ``environment`` is added to this process's; without a timeout, in seconds, the child has all the time it takes.
    """
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(filter(None, path))},
        text=True,
        errors="replace",
    )
    death = ""
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        death = f"gave no answer within {timeout:g} s"
    except BaseException:  # Ctrl-C must not leave a hung child behind
        child.kill()
        raise
    else:
        if child.returncode < 0:
            death = f"died of {signal.Signals(-child.returncode).name}"
        elif child.returncode:
            death = f"failed: {(err.strip().splitlines() or ['no message'])[-1]}"
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")], death
