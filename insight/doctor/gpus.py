"""NVIDIA GPUs: whether there is a driver, and whether MXNet's last build has code for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

from .. import _cuda
from ..machine.child import run_child
from .findings import FAIL, GIB, OK, WARN, Check

QUERY_SECONDS = 60.0  # for the driver to list its GPUs; without nvidia-persistenced a large machine needs half of that


def nvidia_on_bus() -> bool:
    """Whether there is an NVIDIA display controller on the PCI bus, with or without a driver."""
    devices = Path("/sys/bus/pci/devices").glob("*")
    try:
        return any(
            (device / "vendor").read_text().strip() == "0x10de" and (device / "class").read_text().startswith("0x03")
            for device in devices
        )
    except OSError:
        return False


def query_gpus() -> dict[str, Any]:
    """The result of ``_cuda.query_driver``, called in a child process."""
    code = "import json; from insight._cuda import query_driver; print(json.dumps(query_driver()))"
    child = run_child(code, QUERY_SECONDS)
    return child.facts[-1] if child.facts else {"error": f"asking the driver {child.death}", "gpus": []}


def _has_cuda(builds: list[str]) -> bool:
    return any("-cu" in build for build in builds)


def devices_to_try(gpus: dict[str, Any], builds: list[str]) -> list[str]:
    """MXNet's names of the GPUs that its build has code for."""
    if not _has_cuda(builds):
        return []
    return [f"gpu({i})" for i, gpu in enumerate(gpus["gpus"]) if _cuda.runs_on(tuple(gpu["capability"]))]


def check_gpus(gpus: dict[str, Any], builds: list[str], on_bus: bool) -> Iterator[Check]:
    if not gpus["gpus"]:
        if _has_cuda(builds):
            remedy = f"{_cuda.INSTALL_DRIVER}, {_cuda.USE_CPU_BUILD}"
            yield Check("GPU", "NVIDIA", WARN, gpus.get("error", "none"), remedy)
        elif on_bus:
            yield Check("GPU", "NVIDIA", WARN, f"there is one, but: {gpus.get('error')}", _cuda.INSTALL_DRIVER)
        else:
            yield Check("GPU", "NVIDIA", OK, "none")
        return
    driver = tuple(gpus["cuda"])
    found = "{}, for CUDA up to {}.{}".format(gpus.get("driver") or "version unknown", *driver)
    if driver < _cuda.OLDEST_DRIVER:
        yield Check("GPU", "driver", FAIL, found, "CUDA 11 needs driver 450.80.02 or newer: update it")
    elif driver < _cuda.FULL_DRIVER:
        remedy = "fused operators are compiled for CUDA 11.8: update to 520.61.05 or newer, or set MXNET_USE_FUSION=0"
        yield Check("GPU", "driver", WARN, found, remedy)
    else:
        yield Check("GPU", "driver", OK, found)
    for index, gpu in enumerate(gpus["gpus"]):
        capability = tuple(gpu["capability"])
        found = "{}, {:.0f} GiB, compute capability {}.{}".format(gpu["name"], gpu["memory"] / GIB, *capability)
        if not _cuda.runs_on(capability):
            yield Check("GPU", f"gpu({index})", FAIL, found, _cuda.why_not(capability))
        elif not _has_cuda(builds):
            remedy = f"run: pip uninstall -y {' '.join(builds) or 'mxnet'}, then pip install -e '.[cu112]'"
            yield Check("GPU", f"gpu({index})", WARN, f"{found}; MXNet's CPU build does not use it", remedy)
        else:
            yield Check("GPU", f"gpu({index})", OK, found)
