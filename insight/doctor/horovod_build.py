"""Whether this installation can train as several ranks, and how Horovod connects them."""

from __future__ import annotations

from typing import Iterator, Optional

from ..machine.child import run_child
from .findings import OK, WARN, Check

BUILD = ". recipes/environment.sh && make_environment distributed"
SECONDS = 120.0
CODE = "import json; from insight.ranks.horovod import describe_build; print(json.dumps(describe_build()))"


def check_horovod(version: Optional[str]) -> Iterator[Check]:
    """Load Horovod in a child process, where it is installed."""
    if version is None:
        found = f"not installed: training runs as one process; to build it (minutes, once): {BUILD}"
        yield Check("packages", "Horovod", OK, found)
        return
    child = run_child(CODE, SECONDS)
    if not child.facts:
        remedy = f"pip uninstall -y horovod, remove its wheel in ~/.cache/insight/horovod, then {BUILD}"
        yield Check("packages", "Horovod", WARN, f"{version}, does not load: {child.death}", remedy)
        return
    about = child.facts[-1]
    controllers, sums = " and ".join(about["controllers"]), "GPUs by NCCL" if about["nccl"] else "the CPU"
    yield Check("packages", "Horovod", OK, f"{version}, ranks are connected by {controllers}, and add up on {sums}")
