"""Detection of runtimes whose sums of 8-bit products overflow, and the description of the files concerned."""

import os
import platform
import subprocess
import sys

import numpy as np
import onnx
import pytest

from insight import engines
from insight.engines import metadata, onnx_engine, overflow
from insight.engines.onnxruntime import OnnxRuntimeEngine
from insight.engines.openvino import OpenVINOEngine

RUNTIMES = [OnnxRuntimeEngine, OpenVINOEngine]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_weights_of_7_bits_never_overflow(runtime):
    assert not overflow.overflows(runtime, weight=overflow.WEIGHT_MAX[7])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_network_of_the_test_gives_1_where_sums_are_exact(runtime):
    engine = runtime("m", content=overflow._network(64))
    assert engine.image_size == (3, 3)
    assert engine(np.full((2, 3, 3, 3), 255, np.uint8)) == pytest.approx(1)
    assert engine(np.full((2, 3, 3, 3), 191, np.uint8)) == pytest.approx(0.5, abs=0.01)


class Saturating:
    """An engine whose pairs of products saturate at 32,767, as on x86 without VNNI."""

    def __init__(self, spec, threads, device, content):
        arrays = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load_model_from_string(content).graph.initializer}
        weights = arrays["weight"][0].reshape(-1).astype(int)
        pairs = np.pad(255 * weights, (0, 1)).reshape(-1, 2).sum(axis=1)
        self.result = np.minimum(pairs, 32767).sum() / 255 * arrays["weight_scale"][0]

    def __call__(self, images):
        return np.full((len(images), 8), self.result, np.float32)


def test_saturating_sums_are_detected():
    assert overflow.overflows(Saturating)
    assert not overflow.overflows(Saturating, weight=64)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="ONEDNN_MAX_CPU_ISA is for x86")
def test_openvino_held_to_avx2():
    """Its kernels for processors without VNNI, on any x86: 8 bits overflow, 7 do not."""
    code = (
        "from insight.engines.openvino import OpenVINOEngine as runtime\n"
        "from insight.engines.overflow import overflows\n"
        "print([overflows(runtime, weight=weight) for weight in (127, 64)])"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[0] == "[True, False]", done.stderr


@pytest.mark.parametrize(
    ("entries", "bits"),
    [
        ({}, None),
        ({"weight_bits": "7"}, None),
        ({"quantisation": "int8", "weight_bits": "7"}, 7),
        ({"quantisation": "int8", "weight_bits": "8"}, 8),
        ({"quantisation": "int8 weights per output channel"}, 8),  # written before the entry existed
        ({"quantisation": "int8", "weight_bits": "many"}, None),
    ],
)
def test_bits_of_a_file(entries, bits):
    assert metadata.facts("m.onnx", entries).weight_bits == bits


@pytest.fixture
def recorded(tmp_path):
    """A function from weight bits to the path of an ONNX file with that entry."""

    def write(bits):
        model = onnx.load_model_from_string(overflow._network(64))
        onnx.helper.set_model_props(model, {"quantisation": "int8", **({"weight_bits": str(bits)} if bits else {})})
        onnx.save(model, tmp_path / "m.onnx")
        return str(tmp_path / "m.onnx")

    return write


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
class TestDescription:
    def test_7_bits(self, recorded, name, monkeypatch):
        monkeypatch.setattr(onnx_engine.overflow, "overflows", lambda *_: pytest.fail("nothing to try"))
        engine = engines.load(recorded(7), engine=name)
        assert (engine.weight_bits, engine.overflows) == (7, False)
        assert engine.describe().endswith("outside, int8 with 7-bit weights")

    @pytest.mark.parametrize("bits", [8, None])
    @pytest.mark.parametrize("overflows", [True, False])
    def test_8_bits(self, recorded, name, monkeypatch, overflows, bits):
        tried = []
        monkeypatch.setattr(onnx_engine.overflow, "overflows", lambda *where: tried.append(where) or overflows)
        engine = engines.load(recorded(bits), engine=name)
        assert (engine.weight_bits, engine.overflows) == (8, overflows)
        assert tried == [(type(engine), ("cpu", 0))]
        says = "int8 with 8-bit weights" + ", which overflow on this processor" * overflows
        assert engine.describe().endswith(f"outside, {says}")


@pytest.mark.parametrize("suffix", ["xml", "onnx"])
def test_openvino_reads_the_entry_from_its_own_files_too(recorded, tmp_path, suffix):
    from insight.engines import openvino

    path = recorded(7)
    openvino.save((tmp_path / "m.onnx").read_bytes(), tmp_path / "m.xml")
    assert engines.load(path.replace("onnx", suffix), engine="openvino").weight_bits == 7
