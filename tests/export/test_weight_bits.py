"""Weights of 7 bits: sums that are exact on every x86 processor, shown by a reference that saturates as old ones do."""

import os
import platform
import subprocess
import sys

import cv2
import numpy as np
import onnx
import pytest
from integer_sums import Evaluation, exact, saturating, stored_weights, worst_pair
from small_networks import filled, mobile, residual

from insight import checkpoint, engines
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.engines import onnx_engine
from insight.engines.onnxruntime import OnnxRuntimeEngine
from insight.errors import CheckFailed, InsightError
from insight.export import parity, quantize
from insight.faces.sources import image_source
from insight.graph import cut
from insight.graph.nodes import GraphModel

SIZE = (112, 112)
IS_X86 = platform.machine() in ("x86_64", "AMD64")


def quantized(network, graph, bits, faces=None):
    model = cut.cut(GraphModel.from_mxnet(*filled(network())))
    return quantize.quantize(model, graph, parity.random_faces(16, SIZE) if faces is None else faces, weight_bits=bits)


class TestReference:
    @pytest.mark.parametrize(
        ("left", "right", "total", "clipped"),
        [
            ([255, 255], [127, 127], 32767, 1),
            ([255, 255], [-127, -127], -32768, 1),
            ([255, 255], [64, 64], 32640, 0),
            ([255, 255], [-128, 127], -255, 0),
            ([255, 255, 255, 255], [127, 127, 127, 127], 2 * 32767, 2),  # of pairs, the sum has 32 bits
            ([255, 1, 255, 1], [127, 127, 127, 127], 2 * 32512, 0),
            ([1, 255, 255, 1], [127, 127, 127, 127], 2 * 32512, 0),
            ([255, 255, 255], [127, 127, 127], 32767 + 255 * 127, 1),  # the last has no neighbour
        ],
    )
    def test_pairs_saturate(self, left, right, total, clipped):
        found, count = saturating(np.array([left], np.uint8), np.array([right], np.int8).T)
        assert (found.tolist(), count) == ([[total]], clipped)

    def test_without_saturation_it_is_the_product(self):
        draw = np.random.default_rng(0)
        for k in (1, 2, 9, 64):
            left = draw.integers(0, 256, (5, k), np.uint8)
            right = draw.integers(-64, 65, (k, 7)).astype(np.int8)
            want = [[sum(int(a) * int(b) for a, b in zip(row, column)) for column in right.T] for row in left]
            assert exact(left, right).tolist() == want
            assert saturating(left, right)[0].tolist() == want


@pytest.mark.parametrize("graph", engines.GRAPHS)
@pytest.mark.parametrize("network", [mobile, residual])
def test_no_pair_of_products_exceeds_16_bits_whatever_the_image(network, graph):
    faces = parity.random_faces(4, SIZE)
    seven, eight = (quantized(network, graph, bits, faces) for bits in (7, 8))
    assert worst_pair(seven) <= 2 * 255 * 64 < 32767
    assert worst_pair(eight) > 60000
    for model, largest in ((seven, 64), (eight, 127)):
        weights = stored_weights(model)
        assert len(weights) == len([node for node in model.graph.node if node.op_type in ("Conv", "Gemm")])
        assert {int(np.abs(array.astype(int)).max()) for array in weights.values()} == {largest}


def judge(seven, eight, faces):
    """Check that saturation changes no sum of the 7-bit file, and some of the other.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Embeddings of the 8-bit file: exact, and with sums that saturate.
    """
    old = Evaluation(seven, saturate=True)
    embeddings = old(faces)
    assert len(old.differing) > 5
    assert set(old.differing.values()) == {0}
    runtime = OnnxRuntimeEngine("m", content=seven.SerializeToString())
    assert parity.compare(embeddings, runtime(faces)).lowest > 0.99  # ties that round the other way spread
    new, old = (Evaluation(eight, saturate) for saturate in (False, True))
    embeddings = new(faces), old(faces)
    assert sum(old.differing.values()) > 100
    return embeddings


def test_7_bits_are_the_same_on_old_processors_where_8_are_not():
    seven, eight = (quantized(mobile, "fast", bits) for bits in (7, 8))
    faces = parity.random_faces(8, SIZE, seed=9)
    assert parity.compare(*judge(seven, eight, faces)).mean < 0.9


def test_the_same_of_the_real_network(model_y1, real_data):
    faces = image_source(real_data / "data/lfw_dev.bin").spread(9, SIZE)
    model = cut.cut(GraphModel.from_mxnet(*checkpoint.load(*model_y1)))
    seven, eight = (quantize.quantize(model, "fast", faces[1:], weight_bits=bits) for bits in (7, 8))
    assert worst_pair(seven) <= 32767
    assert parity.compare(*judge(seven, eight, faces[:1])).mean < 0.995


@pytest.mark.skipif(not IS_X86, reason="ONEDNN_MAX_CPU_ISA is for x86")
@pytest.mark.parametrize("graph", engines.GRAPHS)
@pytest.mark.parametrize("network", [mobile, residual])
def test_openvino_held_to_avx2_gives_the_same_embeddings(network, graph, tmp_path):
    faces = parity.random_faces(8, SIZE, seed=9)
    np.save(tmp_path / "faces.npy", faces)
    (tmp_path / "m.onnx").write_bytes(quantized(network, graph, 7).SerializeToString())
    code = (
        "import sys, numpy as np\n"
        "from insight import engines\n"
        "network = engines.load(sys.argv[1] + '/m.onnx', engine='openvino')\n"
        "np.save(sys.argv[1] + '/held.npy', network(np.load(sys.argv[1] + '/faces.npy')))"
    )
    held = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    subprocess.run([sys.executable, "-c", code, tmp_path], env=held, check=True, timeout=120)
    here = engines.load(str(tmp_path / "m.onnx"), engine="openvino")(faces)
    assert parity.compare(here, np.load(tmp_path / "held.npy")).lowest > 0.999


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint net,3 and a folder of 24 faces."""
    folder = tmp_path_factory.mktemp("bits")
    checkpoint.save(str(folder / "net"), 3, Checkpoint(*filled(mobile())))
    (folder / "faces/one").mkdir(parents=True)
    for i, face in enumerate(parity.random_faces(24, SIZE)):
        cv2.imwrite(str(folder / f"faces/one/{i:02}.png"), face.transpose(1, 2, 0)[..., ::-1])
    return folder


def export(folder, output, **options):
    options = {"num_calibrate": 16, "count": 8, **options}
    return quantize.export_int8(f"{folder}/net,3", str(output), str(folder / "faces"), **options)


@pytest.mark.parametrize("name", ["m.onnx", "m.xml"])
class TestExport:
    @pytest.mark.parametrize("bits", [7, 8])
    def test_the_bits_are_in_the_file(self, folder, tmp_path, name, bits):
        done = export(folder, tmp_path / name, weight_bits=bits, bound=-1)
        engine = engines.load(str(tmp_path / name))
        assert (done.weight_bits, engine.weight_bits) == (bits, bits)
        assert done.overflows == engine.overflows
        assert f"int8 with {bits}-bit weights" in engine.describe()
        if name == "m.onnx":
            model = onnx.load(str(tmp_path / name))
            largest = max(np.abs(array.astype(int)).max() for array in stored_weights(model).values())
            assert largest == {7: 64, 8: 127}[bits]
            held = {p.key: p.value for p in model.metadata_props}
            assert held["quantisation"] == f"int8 weights of {bits} bits per output channel, uint8 feature maps"
            assert held["weight_bits"] == str(bits)

    def test_the_default_is_exact_everywhere(self, folder, tmp_path, name):
        done = export(folder, tmp_path / name)
        assert (done.weight_bits, done.overflows) == (7, False)

    def test_a_processor_that_cannot_compute_it_is_named_as_the_reason(self, folder, tmp_path, name, monkeypatch):
        monkeypatch.setattr(onnx_engine.overflow, "overflows", lambda *_: True)
        with pytest.raises(CheckFailed, match="overflow in (onnxruntime|openvino): export with --weight-bits 7, or on"):
            export(folder, tmp_path / name, weight_bits=8, bound=1.5)
        with pytest.raises(CheckFailed) as caught:
            export(folder, tmp_path / name, weight_bits=7, bound=1.5)
        assert "overflow" not in str(caught.value)
        monkeypatch.setattr(onnx_engine.overflow, "overflows", lambda *_: False)
        with pytest.raises(CheckFailed) as caught:
            export(folder, tmp_path / name, weight_bits=8, bound=1.5)
        assert "overflow" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_other_bits_are_refused(folder, tmp_path):
    with pytest.raises(InsightError, match="--weight-bits 6: want one of 7, 8"):
        export(folder, tmp_path / "m.onnx", weight_bits=6)


@pytest.mark.parametrize("overflows", [True, False])
def test_the_command_says_what_8_bits_need(folder, tmp_path, capsys, monkeypatch, overflows):
    monkeypatch.setattr(onnx_engine.overflow, "overflows", lambda *_: overflows)
    options = ["--model", f"{folder}/net,3", "--output", str(tmp_path / "m.onnx"), "--int8"]
    options += ["--calibrate", str(folder / "faces"), "--num-calibrate", "16", "--num-faces", "8", "--bound", "-1"]
    assert run_command("export-onnx", [*options, "--weight-bits", "8"]) == 0
    first, _, warning = capsys.readouterr().out.splitlines()
    assert first.endswith("int8, fast graph, 8-bit weights")
    assert f"overflow on x86 processors without VNNI, {'also' if overflows else 'not'} on this one" in warning
    assert run_command("export-onnx", [*options, "--overwrite"]) == 0
    first, _ = capsys.readouterr().out.splitlines()
    assert first.endswith("int8, fast graph, 7-bit weights")
