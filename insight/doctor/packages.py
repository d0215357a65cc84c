"""Checks of Python packages against their pins, and of the shared libraries that they need from the system."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Callable, Iterator, Optional

from .. import _cuda
from .findings import FAIL, OK, WARN, Check

# Debian's and Ubuntu's packages for the libraries that the wheels of OpenCV and MXNet do not include.
SYSTEM_LIBRARIES = {
    "libGL.so.1": ("libgl1", "OpenCV"),
    "libgthread-2.0.so.0": ("libglib2.0-0", "OpenCV"),
    "libgomp.so.1": ("libgomp1", "MXNet"),
    "libquadmath.so.0": ("libquadmath0", "MXNet"),
    "libstdc++.so.6": ("libstdc++6", "MXNet"),
}
CUDNN_LIBRARIES = {"libz.so.1": ("zlib1g", "cuDNN")}

BUILDS = re.compile(r"mxnet(-cu\d+(mkl)?|-mkl|-native)?")  # packages that own the folder mxnet/


def requirements() -> list[str]:
    """The requirement lines of the installed ``insight``; [] in a checkout that is not installed."""
    try:
        return importlib.metadata.requires("insight") or []
    except importlib.metadata.PackageNotFoundError:
        return []


def installed_version(package: str) -> Optional[str]:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_packages(lines: list[str], version_of: Callable[[str], Optional[str]]) -> Iterator[Check]:
    """Check each installed package against its pin. Packages of extras are checked only if installed."""
    if not lines:
        yield Check("packages", "insight", WARN, "not installed, so pins are unknown", "run: pip install -e '.[cpu]'")
        return
    from packaging.requirements import Requirement

    seen = set()
    for requirement in map(Requirement, lines):
        name, version, pin = requirement.name, version_of(requirement.name), str(requirement.specifier)
        optional = requirement.marker is not None and "extra" in str(requirement.marker)
        if name in seen or (version is None and optional):
            continue
        seen.add(name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            yield Check("packages", name, OK, f"{version} ({pin})")
            continue
        status = WARN if optional else FAIL
        yield Check("packages", name, status, f"{version or 'missing'}, needs {pin}", f"run: pip install '{name}{pin}'")


def installed_builds() -> list[str]:
    """Installed packages that own the folder ``mxnet/``: there must be exactly one."""
    names = {str(d.metadata["Name"]).lower() for d in importlib.metadata.distributions()}
    return sorted(filter(BUILDS.fullmatch, names))


def check_builds(builds: list[str]) -> Iterator[Check]:
    if not builds:
        remedy = "in insight's checkout run: pip install -e '.[cpu]', or '.[cu112]' for an NVIDIA GPU"
        yield Check("packages", "MXNet build", FAIL, "none", remedy)
    elif len(builds) > 1:
        remedy = f"run: pip uninstall -y {' '.join(builds)}, then pip install -e '.[cpu]' or '.[cu112]'"
        yield Check("packages", "MXNet build", FAIL, f"{' and '.join(builds)} overwrote each other's files", remedy)
    else:
        yield Check("packages", "MXNet build", OK, builds[0])


def check_libraries(cuda: bool, opens: Callable[[str], bool] = _cuda.opens) -> Iterator[Check]:
    """Check shared libraries that the linker must find, by soname; NVIDIA's only with the CUDA build."""
    wanted = {**SYSTEM_LIBRARIES, **(CUDNN_LIBRARIES if cuda else {})}
    missing = []
    for soname, (package, user) in wanted.items():
        if not opens(soname):
            missing.append(Check("libraries", soname, FAIL, f"missing; {user} needs it", f"apt-get install {package}"))
    if cuda:
        for library in _cuda.missing(opens):
            remedy = _cuda.remedy(f"{library.soname}: cannot open shared object file")
            missing.append(Check("libraries", library.soname, FAIL, "missing; MXNet's CUDA build needs it", remedy))
    yield from missing
    if not missing:
        count = len(wanted) + (len(_cuda.LIBRARIES) if cuda else 0)
        yield Check("libraries", "shared libraries", OK, f"all {count} found")
