"""NVIDIA's requirements of MXNet's cu112 build: libraries, a driver, and a GPU that its code supports.

``libmxnet.so`` of mxnet-cu112 1.9.1 needs the CUDA 11 libraries by soname and does not include them. The extra
``cu112`` installs NVIDIA's wheels, whose libraries are in ``site-packages/nvidia/*/lib``, where the dynamic linker does
not search. ``load`` opens them by path before MXNet is imported, so that the linker finds each soname already loaded in
the process. No environment variable is set and no CUDA toolkit is needed.

Only the driver must be installed on the machine, because ``libcuda.so.1`` is tied to the kernel module.

This module does not import MXNet. Facts about the build were read from the wheel with ``readelf -d`` (sonames) and from
the headers of its ``.nv_fatbin`` section (GPU code).
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

from .errors import InsightError

BUILD = "mxnet-cu112"
DRIVER = "libcuda.so.1"


@dataclass(frozen=True)
class Library:
    """A shared library and the wheel that contains it, as ``nvidia/<folder>/lib/<soname>``."""

    soname: str
    wheel: str
    folder: str

    def path(self) -> Optional[Path]:
        """Path of the library in the wheel; None if the wheel is not installed."""
        try:
            path = importlib.metadata.distribution(self.wheel).locate_file(f"nvidia/{self.folder}/lib/{self.soname}")
        except importlib.metadata.PackageNotFoundError:
            return None
        return Path(str(path)) if Path(str(path)).is_file() else None


_CUDNN = ("ops_infer", "ops_train", "cnn_infer", "cnn_train", "adv_infer", "adv_train")

# Each library comes after those that it needs. libcudnn.so.8 opens its six parts by soname at the first convolution,
# and libnvrtc.so.11.2 finds its built-ins in its own folder. None of them needs cuSPARSE.
LIBRARIES = (
    Library("libcudart.so.11.0", "nvidia-cuda-runtime-cu11", "cuda_runtime"),
    Library("libcublasLt.so.11", "nvidia-cublas-cu11", "cublas"),
    Library("libcublas.so.11", "nvidia-cublas-cu11", "cublas"),
    Library("libcufft.so.10", "nvidia-cufft-cu11", "cufft"),
    Library("libcurand.so.10", "nvidia-curand-cu11", "curand"),
    Library("libcusolver.so.11", "nvidia-cusolver-cu11", "cusolver"),
    Library("libnvrtc.so.11.2", "nvidia-cuda-nvrtc-cu11", "cuda_nvrtc"),
    Library("libnvToolsExt.so.1", "nvidia-nvtx-cu11", "nvtx"),
    Library("libnccl.so.2", "nvidia-nccl-cu11", "nccl"),
    *(Library(f"libcudnn_{part}.so.8", "nvidia-cudnn-cu11", "cudnn") for part in _CUDNN),
    Library("libcudnn.so.8", "nvidia-cudnn-cu11", "cudnn"),
)

INSTALL_DRIVER = "install NVIDIA's driver (Debian: apt-get install nvidia-driver; containers: docker run --gpus all)"
USE_CPU_BUILD = "or train on the CPU: pip uninstall -y mxnet-cu112, then pip install -e '.[cpu]'"


def is_installed() -> bool:
    """Whether MXNet's CUDA build is installed in this environment."""
    try:
        importlib.metadata.version(BUILD)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def load() -> None:
    """Open NVIDIA's libraries from their wheels. Call it before MXNet is imported; no-op with the CPU build.

    A library without a wheel is left to the dynamic linker, so that a system-wide CUDA 11 works too. The libraries are
    opened with RTLD_LOCAL, like MXNet itself: each names its own dependencies, and another CUDA in the process
    (PyTorch's) is not affected.

    Raises
    ------
    InsightError
        A library of a wheel does not load.
    """
    if not is_installed():
        return
    for library in LIBRARIES:
        path = library.path()
        if path is None:
            continue
        try:
            ctypes.CDLL(str(path), ctypes.RTLD_LOCAL)
        except OSError as error:
            raise InsightError(f"{path} of {library.wheel} does not load: {error}; {remedy(str(error))}") from error


def opens(soname: str) -> bool:
    """Whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def missing(system: Callable[[str], bool] = opens) -> Iterator[Library]:
    """NVIDIA's libraries that are neither in a wheel nor on the system.

    Parameters
    ----------
    system : callable soname -> bool
        Whether the dynamic linker finds a library.
    """
    return (library for library in LIBRARIES if library.path() is None and not system(library.soname))


def soname_in(error: str) -> Optional[str]:
    """The missing library in a linker's message: ``libx.so.1: cannot open shared object file``."""
    match = re.search(r"(lib[^\s:/]+\.so[.\d]*): cannot open shared object", error)
    return match.group(1) if match else None


def remedy(error: str) -> str:
    """The remedy for a linker's error message."""
    soname = soname_in(error)
    if soname == DRIVER:
        return f"{INSTALL_DRIVER}, {USE_CPU_BUILD}"
    for library in LIBRARIES:
        if library.soname == soname:
            return f"run: pip install -e '.[cu112]', which installs {library.wheel}"
    return "run: insight doctor"


# --- the driver and its GPUs ---------------------------------------------------------------------

# libmxnet.so contains machine code for these compute capabilities and no PTX. Code for x.y runs on all x.z with z >= y,
# and on no other x.
CODE_FOR = ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6))

# CUDA 11 libraries run on any driver from 11.0 (450.80.02); code from their run-time compiler, which MXNet's pointwise
# fusion uses, needs a driver of the same version, 11.8 (520.61.05).
OLDEST_DRIVER, FULL_DRIVER = (11, 0), (11, 8)

_NAME_BYTES = 128
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


def runs_on(capability: tuple[int, int]) -> bool:
    """Whether the wheel contains code for a GPU of this compute capability."""
    return any(major == capability[0] and minor <= capability[1] for major, minor in CODE_FOR)


def why_not(capability: tuple[int, int]) -> str:
    """Why the wheel does not support a GPU, and what to do."""
    if capability < CODE_FOR[0]:
        return "too old: the last MXNet has GPU code for 5.0 (Maxwell, GTX 900) and newer; train on the CPU"
    return (
        "too new: the last MXNet has GPU code for capability 5.0 to 8.9 and none that a driver could translate"
        " (H100, B200 and RTX 50 are 9.0 and newer); train on an A100, A10, L4, RTX 20, 30 or 40, or on the CPU"
    )


def query_driver() -> dict[str, Any]:
    """Query the driver directly, as MXNet does, so that CUDA_VISIBLE_DEVICES and containers are respected.

    May hang with a broken driver: call it in a child process.

    Returns
    -------
    dict
        ``driver``: its version, "535.129.03", or None; ``cuda``: the newest CUDA that it supports, [12, 2]; ``gpus``:
        list of ``name``, ``capability`` [8, 6] and ``memory`` in bytes, in MXNet's order. On failure ``error``, and no
        GPUs.
    """
    try:
        cuda = ctypes.CDLL(DRIVER)
    except OSError as error:
        return {"error": str(error), "gpus": []}
    number = ctypes.c_int()
    status = cuda.cuInit(0)
    if status == 100:  # CUDA_ERROR_NO_DEVICE
        return {"error": "the driver sees no GPU", "gpus": []}
    if status:
        return {"error": f"cuInit failed with CUDA error {status}", "gpus": []}
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version = [number.value // 1000, number.value % 1000 // 10]
    cuda.cuDeviceGetCount(ctypes.byref(number))
    gpus = [_query_gpu(cuda, index) for index in range(number.value)]
    return {"driver": _driver_version(), "cuda": version, "gpus": gpus}


def _driver_version() -> Optional[str]:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    match = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)\s", text)
    return match.group(1) if match else None


def _query_gpu(cuda: ctypes.CDLL, index: int) -> dict[str, Any]:
    device, number = ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_size_t()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, _NAME_BYTES, device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability.append(number.value)
    return {"name": name.value.decode(errors="replace"), "capability": capability, "memory": memory.value}
