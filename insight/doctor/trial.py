"""Trials: each device is tried in a child process, with a time limit."""

from __future__ import annotations

from typing import Any, Iterator

from .. import _cuda
from ..machine.child import run_child
from .findings import FAIL, OK, Check
from .packages import SYSTEM_LIBRARIES


def probe(device: str, timeout: float) -> dict[str, Any]:
    """Try a device in a child process; returns facts by stage, with ``death`` if the child did not complete."""
    child = run_child(f"from insight.doctor.attempt import run; run({device!r})", timeout)
    stages = {fact.pop("stage"): fact for fact in child.facts if "stage" in fact}
    return stages if "end" in stages else {**stages, "death": child.death or "stopped without a message"}


def trains(stages: dict[str, Any]) -> bool:
    """Whether a trial shows that training works: images decode and a network learns."""
    return all(stage in stages and "error" not in stages[stage] for stage in ("opencv", "train"))


def check_trial(device: str, stages: dict[str, Any], timeout: float) -> Iterator[Check]:
    """Yield the lines for a trial of one device: successful stages, then the failure."""
    for stage, facts in stages.items():
        if stage in ("death", "end") or (device != "cpu" and stage == "opencv"):
            continue
        error = facts.get("error")
        if error:
            yield Check("trial", f"{device} {stage}", FAIL, error, _remedy_of_error(device, error))
        else:
            yield Check("trial", f"{device} {stage}", OK, facts["found"])
    death = stages.get("death")
    if death:
        after = ", ".join(stage for stage in stages if stage != "death") or "nothing"
        yield Check("trial", device, FAIL, f"{death}, after: {after}", _remedy_of_death(device, death, timeout))


def _remedy_of_error(device: str, error: str) -> str:
    soname = _cuda.soname_in(error)
    if soname in SYSTEM_LIBRARIES:
        return f"apt-get install {SYSTEM_LIBRARIES[soname][0]}"
    if "run: pip" in error or _cuda.INSTALL_DRIVER in error:  # an InsightError already has the remedy
        return ""
    if soname:
        return f"find its package: apt-file search {soname}"
    if "No module named" in error:
        return "in insight's checkout run: pip install -e '.[cpu]'"
    if device == "cpu":
        return "reinstall MXNet: pip install --force-reinstall --no-deps mxnet==1.9.1"
    return "update NVIDIA's driver; until then CUDA_VISIBLE_DEVICES= hides the GPUs and training uses the CPU"


def _remedy_of_death(device: str, death: str, timeout: float) -> str:
    if "SIGILL" in death:
        return "the wheel was built for a newer processor (one with AVX); use another machine"
    if "SIGKILL" in death:
        return "most likely out of memory: see memory above"
    if "no answer" in death and device == "cpu":
        return f"a busy machine is slow: try --timeout {4 * timeout:g}"
    if "no answer" in death:
        return (
            f"a first GPU operator can take minutes: try --timeout {4 * timeout:g}; if it hangs again, update the"
            " driver and check that MXNET_CUDNN_AUTOTUNE_DEFAULT is unset or 0 (settings, above)"
        )
    return _remedy_of_error(device, death)
