"""NVIDIA's side of the cu112 build, without a GPU: supported cards, queries of the driver, the wheels."""

import ast
import ctypes
import importlib.metadata
from pathlib import Path

import pytest

from insight import _cuda
from insight.errors import InsightError

ROOT = Path(__file__).resolve().parent.parent


class TestGpuCode:
    @pytest.mark.parametrize("capability", [(5, 0), (5, 2), (6, 0), (6, 1), (7, 0), (7, 5), (8, 0), (8, 6), (8, 9)])
    def test_runs_on(self, capability):
        assert _cuda.runs_on(capability)

    def test_code_runs_on_later_minors_of_its_major_only(self, monkeypatch):
        monkeypatch.setattr(_cuda, "CODE_FOR", ((8, 6),))
        assert [c for c in ((7, 5), (8, 0), (8, 6), (8, 9), (9, 0)) if _cuda.runs_on(c)] == [(8, 6), (8, 9)]

    @pytest.mark.parametrize(
        ("capability", "why"),
        [((3, 5), "too old"), ((3, 7), "too old"), ((9, 0), "too new"), ((10, 0), "too new"), ((12, 0), "too new")],
    )
    def test_does_not_run_on(self, capability, why):
        assert not _cuda.runs_on(capability)
        assert _cuda.why_not(capability).startswith(why)
        assert "CPU" in _cuda.why_not(capability)


def card(name, *capability):
    return {"name": name, "capability": list(capability), "memory": 24 << 30}


class TestQueryDriver:
    class Driver:
        """Fake libcuda.so.1."""

        def __init__(self, status=0, cards=((b"A10", 8, 6), (b"L4", 8, 9))):
            self.status, self.cards = status, cards

        def cuInit(self, flags):
            return self.status

        def cuDriverGetVersion(self, out):
            out._obj.value = 12020

        def cuDeviceGetCount(self, out):
            out._obj.value = len(self.cards)

        def cuDeviceGet(self, out, index):
            out._obj.value = 100 + index  # a handle is not the index

        def cuDeviceGetName(self, name, size, device):
            name.value = self.cards[device.value - 100][0]

        def cuDeviceTotalMem_v2(self, out, device):
            out._obj.value = 24 << 30

        def cuDeviceGetAttribute(self, out, attribute, device):
            out._obj.value = self.cards[device.value - 100][{75: 1, 76: 2}[attribute]]

    def test_names_cards(self, monkeypatch):
        monkeypatch.setattr(ctypes, "CDLL", lambda name: self.Driver())
        answer = _cuda.query_driver()
        assert answer["cuda"] == [12, 2]
        assert answer["gpus"] == [card("A10", 8, 6), card("L4", 8, 9)]

    @pytest.mark.parametrize(("status", "says"), [(100, "sees no GPU"), (34, "CUDA error 34"), (999, "CUDA error 999")])
    def test_refusals(self, monkeypatch, status, says):
        monkeypatch.setattr(ctypes, "CDLL", lambda name: self.Driver(status))
        answer = _cuda.query_driver()
        assert says in answer["error"]
        assert answer["gpus"] == []

    def test_no_driver(self, monkeypatch):
        def missing(name):
            raise OSError(f"{name}: cannot open shared object file")

        monkeypatch.setattr(ctypes, "CDLL", missing)
        assert _cuda.query_driver()["error"].startswith("libcuda.so.1")


class TestCudaLibraries:
    def test_come_from_the_wheels_that_setup_py_pins(self):
        for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == "CU112":
                pinned = {line.split("==")[0] for line in ast.literal_eval(node.value)}
        assert {library.wheel for library in _cuda.LIBRARIES} | {_cuda.BUILD} == pinned

    @pytest.mark.parametrize(
        ("first", "then"),
        [
            ("libcublasLt.so.11", "libcublas.so.11"),
            ("libcublas.so.11", "libcusolver.so.11"),
            ("libcudnn_ops_infer.so.8", "libcudnn_cnn_infer.so.8"),
            ("libcudnn_cnn_infer.so.8", "libcudnn_cnn_train.so.8"),
            ("libcudnn_ops_train.so.8", "libcudnn_cnn_train.so.8"),
            ("libcudnn_adv_infer.so.8", "libcudnn_adv_train.so.8"),
        ],
    )
    def test_are_loaded_after_what_they_need(self, first, then):
        order = [library.soname for library in _cuda.LIBRARIES]
        assert order.index(first) < order.index(then)

    @pytest.fixture
    def wheels(self, monkeypatch, tmp_path):
        """All wheels except NCCL's, installed under tmp_path; CDLL records its arguments."""
        for library in _cuda.LIBRARIES:
            path = tmp_path / f"nvidia/{library.folder}/lib/{library.soname}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

        class Distribution:
            locate_file = staticmethod(lambda path: tmp_path / path)

        def distribution(name):
            if name == "nvidia-nccl-cu11":
                raise importlib.metadata.PackageNotFoundError(name)
            return Distribution

        opened = []
        monkeypatch.setattr(importlib.metadata, "distribution", distribution)
        monkeypatch.setattr(_cuda, "is_installed", lambda: True)
        monkeypatch.setattr(ctypes, "CDLL", lambda path, mode=None: opened.append(path))
        return opened

    def test_are_opened_by_path_in_order(self, wheels, tmp_path):
        _cuda.load()
        names = [library.soname for library in _cuda.LIBRARIES if library.soname != "libnccl.so.2"]
        assert [Path(path).name for path in wheels] == names
        assert all(path.startswith(str(tmp_path)) for path in wheels)

    def test_stay_closed_with_the_cpu_build(self, wheels, monkeypatch):
        monkeypatch.setattr(_cuda, "is_installed", lambda: False)
        _cuda.load()
        assert wheels == []

    def test_missing(self, wheels):
        assert [lib.soname for lib in _cuda.missing(lambda soname: False)] == ["libnccl.so.2"]
        assert list(_cuda.missing(lambda soname: True)) == []

    def test_the_error_names_a_library_that_does_not_load(self, wheels, monkeypatch):
        def broken(path, mode=None):
            raise OSError("libz.so.1: cannot open shared object file")

        monkeypatch.setattr(ctypes, "CDLL", broken)
        with pytest.raises(InsightError, match=r"libcudart\.so\.11\.0 of nvidia-cuda-runtime-cu11 does not load: libz"):
            _cuda.load()
