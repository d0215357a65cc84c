"""Diagnosis of this machine and the installation, with remedies.

MXNet 1.9.1 can fail to import, crash, or hang on the first GPU operator, so it is not imported here: child
processes try it, each with a time limit, and report stage by stage (``attempt.py``). An exception in a check
becomes a line of the report.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator

from .. import _cuda
from .findings import WARN, Check, DoctorReport
from .gpus import check_gpus, devices_to_try, nvidia_on_bus, query_gpus
from .hardware import check_machine, check_resources
from .horovod_build import check_horovod
from .packages import check_builds, check_libraries, check_packages, installed_builds, installed_version, requirements
from .trial import check_trial, probe, trains


def examine(timeout: float = 300.0, say: Callable[[str], None] = lambda text: None) -> DoctorReport:
    """Run all checks.

    Parameters
    ----------
    timeout : float
        Time limit of the trial of one device, in seconds.
    say : callable str -> None
        Called with the name of each trial before it starts.
    """
    report = DoctorReport([], [])
    builds: list[str] = []
    gpus: dict[str, Any] = {"gpus": []}

    def look_at_builds() -> Iterator[Check]:
        builds.extend(installed_builds())
        return check_builds(builds)

    def look_at_gpus() -> Iterator[Check]:
        gpus.update(query_gpus())
        return check_gpus(gpus, builds, nvidia_on_bus())

    def try_devices() -> Iterator[Check]:
        for device in ["cpu", *devices_to_try(gpus, builds)]:
            say(f"trying {device}: import, one operator, training steps")
            stages = probe(device, timeout)
            if trains(stages):
                report.trains_on.append(device)
            yield from check_trial(device, stages, timeout)

    for section, check in (
        ("machine", check_machine),
        ("machine", check_resources),
        ("packages", lambda: check_packages(requirements(), installed_version)),
        ("packages", look_at_builds),
        ("packages", lambda: check_horovod(installed_version("horovod"))),
        ("libraries", lambda: check_libraries(_cuda.is_installed())),
        ("GPU", look_at_gpus),
        ("trial", try_devices),
    ):
        try:
            report.checks.extend(check())
        except Exception as error:  # an incomplete report is better than none
            report.checks.append(Check(section, "check", WARN, f"failed: {type(error).__name__}: {error}"))
    return report
