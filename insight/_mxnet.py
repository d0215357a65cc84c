"""The only file that imports mxnet first. Everyone else writes ``from insight._mxnet import mx``.

MXNet 1.9.1 is the last release and predates today's Python and NumPy, so before the
import this file

- brings back what it needs: ``np.bool`` and its kin (gone since NumPy 1.24) and
  ``distutils`` (gone since Python 3.12, kept alive by setuptools);
- sets the engine's defaults, each unless the user has set it (see ``DEFAULTS``);
- loads NVIDIA's libraries from their PyPI wheels, where the cu112 build is installed.
"""

from __future__ import annotations

import importlib.util
import os
import warnings

from .errors import InsightError


def physical_cores() -> int:
    """Cores this process may use, hyper-threads counted once.

    Two threads on one core share its vector units, and MXNet's kernels lose by it.
    """
    allowed = os.sched_getaffinity(0)
    cores = set()
    for cpu in allowed:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as siblings:
                cores.add(siblings.read().strip())
        except OSError:
            return len(allowed)
    return min(max(1, len(cores)), _cpu_quota())


def _cpu_quota() -> int:
    """The container's CPU limit (cgroup v2, then v1), or a number that never binds."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as limit:
            quota, period = limit.read().split()
    except (OSError, ValueError):
        try:
            with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as a, open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as b:
                quota, period = a.read().strip(), b.read().strip()
        except OSError:
            return 1 << 16
    if quota in ("max", "-1"):
        return 1 << 16
    return max(1, int(quota) // int(period))


def engine_defaults() -> dict:
    """Environment that MXNet reads once, at import; each is set only where the user has not."""
    return {
        # Unset, MXNet 1.9.1 keeps a core for itself: on two cores it trains on one.
        "OMP_NUM_THREADS": str(physical_cores()),
        # The fused oneDNN subgraph dies with "Check failed: !IsMKLDNNData()" on real
        # MobileFaceNet checkpoints. insight.graph.fold does the same fusion exactly.
        "MXNET_SUBGRAPH_BACKEND": "NONE",
        # cuDNN's algorithm search hangs on Ampere cards with this build.
        "MXNET_CUDNN_AUTOTUNE_DEFAULT": "0",
    }


def _shim_numpy() -> None:
    import numpy as np

    if int(np.__version__.split(".")[0]) >= 2:
        raise InsightError(
            f"numpy {np.__version__}: MXNet 1.9.1 needs NumPy below 2; run: pip install 'numpy<2' 'opencv-python<4.12'"
        )
    for name, builtin in (("bool", bool), ("int", int), ("float", float), ("object", object), ("complex", complex)):
        if name not in np.__dict__:
            setattr(np, name, np.bool_ if name == "bool" else builtin)


def _shim_distutils() -> None:
    if importlib.util.find_spec("distutils") is None:
        import setuptools  # noqa: F401  (puts its own copy of distutils in place)


def _import():
    if importlib.util.find_spec("mxnet") is None:
        raise InsightError("MXNet is not installed; run: pip install 'insight[cpu]' (or 'insight[cu112]' for NVIDIA GPUs)")
    for name, value in engine_defaults().items():
        os.environ.setdefault(name, value)
    _shim_numpy()
    _shim_distutils()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # distutils' version classes
            import mxnet
    except OSError as error:  # libmxnet.so asks for a library that the machine lacks
        raise InsightError(f"MXNet does not load: {error}; run: insight doctor") from error
    return mxnet


mx = _import()
