"""MXNet 1.9.1 on today's Python and NumPy: what is mended before the import, and what is said where it cannot be."""

import builtins
import ctypes
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from insight import _cuda, _mxnet
from insight.errors import InsightError

ROOT = Path(__file__).resolve().parent.parent


def python(code, *flags, **environment):
    """Run code in a fresh process; its output, or its stderr as an error."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MXNET_", "MALLOC_"))}
    done = subprocess.run(
        [sys.executable, *flags, "-c", dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**kept, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestImport:
    def test_shims_hold_with_every_warning_an_error(self):
        code = """
            import os
            from insight._mxnet import mx, engine_defaults
            assert all(os.environ[name] == value for name, value in engine_defaults().items())
            import numpy as np
            array = mx.nd.array(np.arange(6).reshape(2, 3))       # looks at scipy.sparse
            chosen = mx.np.array([1, 2, 3])[mx.np.array([1, 2, 3]) > 1]   # np.bool
            print(int(array.sum().asscalar()), len(chosen), np.dtype(np.bool), np.bool is np.bool_)
        """
        assert python(code, "-W", "error") == "15 2 bool True"

    def test_is_lazy(self):
        code = """
            import sys
            from insight._mxnet import engine_defaults, keep_freed_memory
            print("mxnet" in sys.modules, "numpy" in sys.modules)
        """
        assert python(code) == "False False"

    def test_scipy_stats_comes_when_it_is_used(self):
        code = """
            import sys
            from insight._mxnet import mx
            mx.nd
            before = "scipy.stats" in sys.modules
            entropy = mx.contrib.quantization.stats.entropy([0.5, 0.5])
            from scipy import stats
            print(before, round(float(entropy), 4), stats is sys.modules["scipy.stats"], stats.__spec__.name)
        """
        assert python(code) == "False 0.6931 True scipy.stats"

    def test_leaves_what_the_user_has_set(self):
        code = """
            import os
            from insight._mxnet import mx
            print(os.environ["OMP_NUM_THREADS"], os.environ["MXNET_SUBGRAPH_BACKEND"])
        """
        assert python(code, OMP_NUM_THREADS="7", MXNET_SUBGRAPH_BACKEND="MKLDNN") == "7 MKLDNN"

    def test_other_names_are_unknown(self):
        with pytest.raises(AttributeError, match="no attribute 'cpu'"):
            _ = _mxnet.cpu


class TestRefusals:
    def test_no_mxnet(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InsightError, match=r"MXNet is not installed; run: pip install -e '\.\[cpu\]'"):
            _mxnet._import()

    def test_a_folder_that_uninstalling_left_behind(self, monkeypatch, tmp_path):
        (tmp_path / "mxnet").mkdir()
        monkeypatch.syspath_prepend(tmp_path)
        namespace = importlib.machinery.ModuleSpec("mxnet", None, is_package=True)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: namespace)
        with pytest.raises(InsightError, match="MXNet is not installed"):
            _mxnet._import()

    @pytest.mark.parametrize("version", ["2.0.0", "2.4.6", "3.0.0rc1"])
    def test_numpy_2(self, monkeypatch, version):
        monkeypatch.setattr(np, "__version__", version)
        with pytest.raises(InsightError, match=f"numpy {version}: .* pip install 'numpy<2'"):
            _mxnet._shim_numpy()

    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (
                OSError("libquadmath.so.0: cannot open shared object file: No such file or directory"),
                "run: insight doctor",
            ),
            (OSError("libcudnn.so.8: cannot open shared object file"), "which brings nvidia-cudnn-cu11"),
            (OSError("libcuda.so.1: cannot open shared object file"), "install NVIDIA's driver"),
            (AttributeError("module 'numpy' has no attribute 'PZERO'"), "AttributeError: module 'numpy'"),
            (RuntimeError("Cannot find the MXNet library"), "RuntimeError: Cannot find"),
            (ImportError("No module named 'graphviz'"), "No module named 'graphviz'"),
        ],
    )
    def test_an_import_that_fails_becomes_one_line(self, monkeypatch, error, says):
        real_import = builtins.__import__

        def failing(name, *args, **kwargs):
            if name == "mxnet":
                raise error
            return real_import(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", failing)
        monkeypatch.setattr(_cuda, "load", lambda: None)
        with pytest.raises(InsightError) as raised:
            _mxnet._import()
        assert says in str(raised.value)
        assert str(raised.value).startswith("MXNet does not load: ")

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has its own distutils")
    def test_distutils_switched_off(self):
        code = """
            from insight.errors import InsightError
            try:
                from insight._mxnet import mx
            except InsightError as error:
                print(error)
        """
        assert "unset SETUPTOOLS_USE_DISTUTILS" in python(code, SETUPTOOLS_USE_DISTUTILS="stdlib")


class TestKeepFreedMemory:
    # 64 MB are 16384 pages, or 32 where the kernel hands out huge ones.
    FAULTS = """
        import ctypes, resource
        from insight._mxnet import keep_freed_memory
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        def faults(rounds):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(rounds):
                buffer = ctypes.c_void_p(libc.malloc(64 << 20))
                libc.memset(buffer, 1, 64 << 20)
                libc.free(buffer)
            return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / rounds
        before = faults(5)
        kept = keep_freed_memory()
        faults(1)
        print(kept, before >= 30, faults(5) < 5)
    """

    @pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="not glibc")
    def test_large_buffers_keep_their_pages(self):
        assert python(self.FAULTS) == "True True True"

    RELEASE = """
        import numpy as np
        from insight._mxnet import keep_freed_memory, release_freed_memory
        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) >> 8  # MiB
        keep_freed_memory()
        held = [np.ones(8 << 20) for _ in range(3)]  # 64 MiB each
        below, last = held[:2], held[2]
        start = resident()
        del held, below
        kept = resident()
        release_freed_memory()
        print(start - kept < 8, 120 < start - resident() < 140, last[0])
    """

    @pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="not glibc")
    def test_what_is_kept_can_be_given_back(self):
        """Even from below what is still in use."""
        assert python(self.RELEASE) == "True True 1.0"

    def test_elsewhere_nothing_is_done(self, monkeypatch):
        monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
        assert _mxnet.keep_freed_memory() is False
        _mxnet.release_freed_memory()
