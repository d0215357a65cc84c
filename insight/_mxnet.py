"""The only file that imports mxnet. Everyone else writes ``from insight._mxnet import mx``.

MXNet 1.9.1 is the last release and predates today's Python and NumPy, so before the import this file

- brings back what it needs: ``np.bool`` and ``np.int`` (gone since NumPy 1.24) and ``distutils`` (gone since
  Python 3.12, kept alive by setuptools);
- sets the engine's defaults, each unless the user has set it (``engine_defaults``);
- loads NVIDIA's libraries from their wheels, where the cu112 build is installed.

MXNet is imported when ``mx`` is first asked for: ``engine_defaults`` works without it.
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
from .machine.cores import physical_cores

MAX_ELEMENTS = (1 << 31) - 1  # of one array: MXNet 1.9.1's builds count them in 32 bits


def engine_defaults() -> dict[str, str]:
    """Environment that MXNet reads once, at import; each is set only where the user has not."""
    return {
        # Unset, MXNet 1.9.1 keeps a core for itself: on two cores it trains on one.
        "OMP_NUM_THREADS": str(physical_cores()),
        # The fused oneDNN subgraph dies with "Check failed: !IsMKLDNNData()" on real
        # MobileFaceNet checkpoints. insight.graph.fold does the same fusion exactly.
        "MXNET_SUBGRAPH_BACKEND": "NONE",
        # Scratch memory of operators. MXNet's default of four spaces, used in turn, lets operators overlap, which on
        # the CPU they do not: its one worker thread runs one after the other.
        "MXNET_CPU_TEMP_COPY": "1",
        # cuDNN's algorithm search hangs on Ampere cards with this build.
        "MXNET_CUDNN_AUTOTUNE_DEFAULT": "0",
        # Built against cuDNN 8.1.0, it warns of every other 8.x; 8.x keeps one binary interface.
        "MXNET_CUDNN_LIB_CHECKING": "0",
    }


def keep_freed_memory() -> bool:
    """Tell glibc to keep what MXNet frees and hand it out again. Call it before the first operator.

    Imperative code frees and asks for the same large buffers at each step. By default glibc gives them back to the
    kernel, and each step pays for zeroed pages again. One arena, because the heaps of MXNet's worker threads are
    unmapped when they empty, whatever the threshold; threads that allocated before the call keep theirs. The
    process never shrinks below its peak, so this is for trainers, not for programs that import insight.

    Returns
    -------
    bool
        Whether it took effect: False off glibc, where nothing is done.
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
    """Give the kernel back what :func:`keep_freed_memory` has kept. Call it where much was freed that is not asked for
    again soon; does nothing off glibc.
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
            "MXNet needs distutils, which Python 3.12 dropped and setuptools brings back;"
            " run: pip install setuptools, and unset SETUPTOOLS_USE_DISTUTILS"
        ) from error


def _hush_scipy(mxnet: Any) -> None:
    """``nd.array`` looks up ``scipy.sparse.csr.csr_matrix``, which warns at each call; give it the present one."""
    sparse = getattr(mxnet.ndarray.utils, "spsp", None)
    if hasattr(sparse, "csr") and hasattr(sparse, "csr_matrix"):
        sparse.csr.csr_matrix = sparse.csr_matrix


class _Deferred(types.ModuleType):
    """Stands for a module, which is imported when an attribute of it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _deferring(name: str) -> Iterator[None]:
    """What is imported within gets a :class:`_Deferred` of this module; later imports get the module itself."""
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
    if spec is None or spec.origin is None:  # not there, or a folder that uninstalling one of two builds left behind
        raise InsightError("MXNet is not installed; run: pip install -e '.[cpu]' (or '.[cu112]' for NVIDIA GPUs)")
    for name, value in engine_defaults().items():
        os.environ.setdefault(name, value)
    _shim_numpy()
    _shim_distutils()
    _cuda.load()
    try:
        # scipy.stats is for MXNet's quantisation and tests alone, and takes a third of the time.
        with warnings.catch_warnings(), _deferring("scipy.stats"):
            warnings.simplefilter("ignore")  # distutils' version classes, invalid escapes
            import mxnet
    except OSError as error:  # libmxnet.so asks for a library that the machine lacks
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
