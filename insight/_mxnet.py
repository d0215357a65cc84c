"""The only module that imports mxnet. All others use ``from insight._mxnet import mx``.

MXNet 1.9.1 is the last release and older than current Python and NumPy, so before the import this module

- restores names that it needs: ``np.bool`` and ``np.int`` (removed in NumPy 1.24) and ``distutils`` (removed in
  Python 3.12, still in setuptools);
- sets environment variables of the engine unless the user has set them (``engine_defaults``);
- loads NVIDIA's libraries from their wheels if the cu112 build is installed.

MXNet is imported when ``mx`` is first accessed: ``engine_defaults`` works without it.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
import types
import warnings
from contextlib import contextmanager
from typing import Any, Iterator

from . import _cuda
from .errors import InsightError
from .machine.cores import own_cores

MAX_ELEMENTS = (1 << 31) - 1  # of one array: MXNet 1.9.1's builds count them in 32 bits


def engine_defaults() -> dict[str, str]:
    """Environment variables that MXNet reads once, at import; they are set unless the user has set them."""
    return {
        # By default MXNet 1.9.1 reserves a core: on two cores it would train on one.
        "OMP_NUM_THREADS": str(own_cores()),
        # The fused oneDNN subgraph fails with "Check failed: !IsMKLDNNData()" on real
        # MobileFaceNet checkpoints. insight.graph.fold does the same fusion exactly.
        "MXNET_SUBGRAPH_BACKEND": "NONE",
        # Scratch memory of operators. MXNet's default of four alternating buffers lets operators overlap, which they
        # do not on the CPU: its only worker thread runs them one after the other.
        "MXNET_CPU_TEMP_COPY": "1",
        # cuDNN's algorithm search hangs on Ampere cards with this build.
        "MXNET_CUDNN_AUTOTUNE_DEFAULT": "0",
        # Built against cuDNN 8.1.0, it warns about any other 8.x; all 8.x are binary compatible.
        "MXNET_CUDNN_LIB_CHECKING": "0",
    }


def keep_freed_memory() -> bool:
    """Make glibc keep the memory that MXNet frees and reuse it. Call it before the first operator.

    Imperative code frees and allocates the same large buffers in each step. By default glibc returns them to the
    kernel, and each step pays for zeroed pages again. One arena is used, because the heaps of MXNet's worker threads
    are unmapped when they are empty, whatever the threshold; threads that allocated before the call keep their arenas.
    The process never shrinks below its peak, so this is for trainers, not for programs that import insight.

    Returns
    -------
    bool
        Whether it took effect; always False without glibc.
    """
    mmap_max, trim_threshold, arena_max = -4, -1, -8  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX of <malloc.h>
    try:
        mallopt = ctypes.CDLL(None).mallopt
        ctypes.CDLL(None).gnu_get_libc_version  # noqa: B018  (others export a mallopt of other constants)
    except (AttributeError, OSError, TypeError):
        return False
    never = -1
    return all((mallopt(mmap_max, 0), mallopt(trim_threshold, never), mallopt(arena_max, 1)))


def release_freed_memory() -> None:
    """Return memory kept by :func:`keep_freed_memory` to the kernel; no-op without glibc.

    Call it after freeing much memory that will not be needed again soon.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        pass


def _shim_numpy() -> None:
    try:
        import numpy as np
    except ImportError as error:
        raise InsightError(f"numpy does not load: {error}; run: pip install --force-reinstall 'numpy<2'") from error
    if int(np.__version__.split(".")[0]) >= 2:
        raise InsightError(
            f"numpy {np.__version__}: MXNet 1.9.1 needs NumPy below 2; run: pip install 'numpy<2' 'opencv-python<4.12'"
        )
    for name, scalar in (("bool", np.bool_), ("int", int)):
        if name not in np.__dict__:
            setattr(np, name, scalar)


def _shim_distutils() -> None:
    if importlib.util.find_spec("distutils") is not None:
        return
    try:
        import setuptools  # noqa: F401  (puts its own copy of distutils in place)

        importlib.import_module("distutils.version")
    except ImportError as error:
        raise InsightError(
            "MXNet needs distutils, which was removed in Python 3.12 and is provided by setuptools;"
            " run: pip install setuptools, and unset SETUPTOOLS_USE_DISTUTILS"
        ) from error


def _hush_scipy(mxnet: Any) -> None:
    """Replace ``scipy.sparse.csr.csr_matrix``, which ``nd.array`` uses and which warns, by the current class."""
    sparse = getattr(mxnet.ndarray.utils, "spsp", None)
    if hasattr(sparse, "csr") and hasattr(sparse, "csr_matrix"):
        sparse.csr.csr_matrix = sparse.csr_matrix


class _Deferred(types.ModuleType):
    """Placeholder of a module, which is imported when one of its attributes is first accessed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _deferring(name: str) -> Iterator[None]:
    """Imports in the block get a :class:`_Deferred` of this module; later imports get the module itself."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = _Deferred(name)
    try:
        yield
    finally:
        if isinstance(sys.modules.get(name), _Deferred):
            del sys.modules[name]


def _import() -> Any:
    spec = importlib.util.find_spec("mxnet")
    if spec is None or spec.origin is None:  # not installed, or a folder left over from uninstalling one of two builds
        raise InsightError("MXNet is not installed; run: pip install -e '.[cpu]' (or '.[cu112]' for NVIDIA GPUs)")
    for name, value in engine_defaults().items():
        os.environ.setdefault(name, value)
    _shim_numpy()
    _shim_distutils()
    _cuda.load()
    try:
        # Only MXNet's quantisation and tests need scipy.stats, which takes a third of the import time.
        with warnings.catch_warnings(), _deferring("scipy.stats"):
            warnings.simplefilter("ignore")  # distutils' version classes, invalid escapes
            import mxnet
    except OSError as error:  # libmxnet.so needs a library that is missing
        raise InsightError(f"MXNet does not load: {error}; {_cuda.remedy(str(error))}") from error
    except (ImportError, AttributeError, RuntimeError) as error:
        raise InsightError(f"MXNet does not load: {type(error).__name__}: {error}; run: insight doctor") from error
    _hush_scipy(mxnet)
    return mxnet


def __getattr__(name: str) -> Any:
    if name != "mx":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["mx"] = _import()
    return globals()["mx"]
