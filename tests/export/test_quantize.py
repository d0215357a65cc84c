"""8-bit files: rounded where it is meant, close to MXNet, and only with equalised channels."""

import sys

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_networks import S, evaluate, far, filled, images, mobile, pixels, residual

from insight import checkpoint, engines
from insight._mxnet import mx
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.errors import CheckFailed, InsightError
from insight.export import equalise, parity, qdq, quantize
from insight.export.onnx import export_onnx
from insight.faces.sources import image_source
from insight.formats.evalbin import write_bin
from insight.graph import cut, fold
from insight.graph.nodes import GraphModel
from insight.graph.onnx_model import to_onnx
from insight.images.pixels import encode_bgr

SIZE = (112, 112)
FACES = 28


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint net,3 and a folder of FACES faces."""
    folder = tmp_path_factory.mktemp("int8")
    checkpoint.save(str(folder / "net"), 3, Checkpoint(*filled(mobile())))
    (folder / "faces/one").mkdir(parents=True)
    for i, face in enumerate(parity.random_faces(FACES, SIZE)):
        cv2.imwrite(str(folder / f"faces/one/{i:02}.png"), face.transpose(1, 2, 0)[..., ::-1])
    return folder


def export(folder, output, **options):
    return quantize.export_int8(
        f"{folder}/net,3", str(output), str(folder / "faces"), **{"num_calibrate": 20, "count": 8, **options}
    )


def cut_model(symbol, **options):
    return cut.cut(GraphModel.from_mxnet(*filled(symbol, **options)))


def layers_of(model):
    return [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]


def initializers(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def uneven(seed=3):
    """A network whose first feature map has channels of very different ranges, which the next layer makes up for."""
    draw = np.random.default_rng(seed)
    x = pixels(S.Variable("data"))
    x = S.Convolution(x, num_filter=16, kernel=(8, 8), stride=(8, 8), name="wide")
    x = S.LeakyReLU(x, act_type="prelu", name="slopes")
    x = S.Convolution(x, num_filter=16, num_group=16, kernel=(3, 3), pad=(1, 1), name="depthwise")
    x = S.LeakyReLU(x, act_type="prelu", name="more_slopes")
    symbol, arrays, auxiliary = filled(S.FullyConnected(x, num_hidden=8, name="fc1"))
    ranges = np.float32(10) ** draw.uniform(-1.5, 1.5, (16, 1, 1, 1)).astype(np.float32)
    for name, factor in (("wide_weight", ranges), ("wide_bias", ranges[:, 0, 0, 0]), ("depthwise_weight", 1 / ranges)):
        arrays[name] = arrays[name] * mx.nd.array(factor)
    return Checkpoint(symbol, arrays, auxiliary)


class TestArithmetic:
    """Against the definitions of QuantizeLinear and DequantizeLinear, written out in NumPy."""

    def test_a_layer(self):
        x = S.Pooling(pixels(S.Variable("data")), kernel=(28, 28), stride=(28, 28), pool_type="avg")
        model = cut_model(S.FullyConnected(x, num_hidden=5, name="fc1"))
        network = to_onnx(model)
        (flat,) = [name for name in qdq.rounded(network) if "flat" in name]
        assert qdq.rounded(network) == [flat]
        low, high = -0.3, 0.2
        rounded = qdq.to_qdq(network, {flat: (low, high)})
        faces = images(6)
        x = faces.reshape(6, 3, 4, 28, 4, 28).mean(axis=(3, 5)).reshape(6, -1)
        x = (x - 127.5) * 0.0078125
        scale = (high - low) / 255
        zero = round(-low / scale)
        stored = np.clip(np.rint(x / scale) + zero, 0, 255)
        weight, bias = (model.params[f"fc1_{part}"].astype(np.float64) for part in ("weight", "bias"))
        unit = np.abs(weight).max(axis=1) / 64
        weight = np.rint(weight / unit[:, None]) * unit[:, None]
        bias = np.rint(bias / (unit * scale)) * unit * scale
        want = (stored - zero) * scale @ weight.T + bias
        assert len(np.unique(stored)) > 20
        engine = engines.onnxruntime.OnnxRuntimeEngine("m", content=rounded.SerializeToString())
        assert far(want, engine(faces)) < 1e-5
        assert far((x @ model.params["fc1_weight"].T + model.params["fc1_bias"]), engine(faces)) > 1e-4

    @pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 6), (0.5, 3), (-4, -1), (-0.001, 7), (-1e-30, 0)])
    def test_zero_is_a_number_of_every_scale_and_the_range_is_covered(self, low, high):
        scale, zero = qdq.scale_of(low, high)
        first, last = (float(scale) * (end - float(zero)) for end in (0, 255))
        assert first <= 0 <= last
        assert first <= low + 0.51 * float(scale)
        assert last >= high - 0.51 * float(scale)

    def test_an_empty_range(self):
        assert qdq.scale_of(0.0, 0.0) == (1, 0)


def test_single_wild_faces_do_not_widen_a_range_at_either_end():
    x = S.Pooling(pixels(S.Variable("data")), kernel=(28, 28), stride=(28, 28), pool_type="avg", name="mean")
    network = to_onnx(cut_model(S.FullyConnected(x, num_hidden=5, name="fc1")))
    values = np.array([0, *range(120, 139), 255], np.uint8)  # of 21 plain faces
    faces = np.ascontiguousarray(np.broadcast_to(values[:, None, None, None], (21, 3, *SIZE)))
    seen = quantize.look(network, faces, ["mean"], "looking")["mean"]
    assert (seen.low, seen.high) == pytest.approx(((121 - 127.5) / 128, (137 - 127.5) / 128))
    assert seen.peaks == pytest.approx([127.5 / 128] * 3)


@pytest.mark.parametrize("graph", engines.GRAPHS)
@pytest.mark.parametrize("network", [mobile, residual])
def test_every_layer_is_rounded(network, graph):
    rounded = quantize.quantize(cut_model(network()), graph, parity.random_faces(4, SIZE))
    made = {node.output[0]: node for node in rounded.graph.node}
    arrays = initializers(rounded)
    layers = layers_of(rounded)
    assert len(layers) == len(layers_of(to_onnx(cut_model(network()), graph)))
    for node in layers:
        sources = [made[name] for name in node.input]
        assert {source.op_type for source in sources} == {"DequantizeLinear"}
        data, *stored = [arrays.get(source.input[0]) for source in sources]
        assert data is None
        assert [array.dtype for array in stored] == [np.int8, np.int32][: len(stored)]
        rows = np.abs(stored[0].astype(int)).reshape(len(stored[0]), -1).max(axis=1)
        assert set(rows.tolist()) <= {64, 0}  # 0: a slope of exactly 1 leaves nothing to the rectified branch
        assert rows.any()
    if graph == "fast" and network is mobile:  # between layers, ONNX Runtime computes nothing in float
        assert not {"PRelu", "Relu"} & {node.op_type for node in rounded.graph.node}


class TestEqualising:
    @pytest.mark.parametrize("network", [mobile, residual, lambda: residual(squeeze=False)])
    def test_computes_the_same(self, network):
        folded = fold.fold(cut_model(network()))
        draw = np.random.default_rng(0)
        peaks = {}
        for group in equalise.groups(folded):
            makers = [node for node in group if node.op in ("Convolution", "FullyConnected")]
            (width,) = {len(folded.array(node.inputs[1])) for node in makers}
            peaks.update({node.name: 10 ** draw.uniform(-2, 2, width) for node in group})
        even = equalise.equalise(folded, peaks)
        changed = [name for name in folded.params if (folded.params[name] != even.params[name]).any()]
        assert len(changed) > 5
        assert far(evaluate(*folded.to_mxnet(), images()), evaluate(*even.to_mxnet(), images())) < 1e-5

    def test_a_feature_map_that_depthwise_layers_read_becomes_even(self):
        folded = fold.fold(cut.cut(GraphModel.from_mxnet(*uneven())))
        faces = parity.random_faces(8, SIZE)

        def peaks(model):
            return quantize.look(to_onnx(model), faces, ["wide", "slopes", "depthwise", "more_slopes"], "looking")

        before = peaks(folded)
        even = equalise.equalise(folded, {name: seen.peaks for name, seen in before.items()})
        largest = [np.maximum(seen["wide"].peaks, seen["slopes"].peaks) for seen in (before, peaks(even))]
        assert largest[0].max() / largest[0].min() > 100
        assert np.allclose(largest[1], 1, rtol=1e-4)

    def test_without_it_the_network_is_lost(self, monkeypatch):
        model = cut.cut(GraphModel.from_mxnet(*uneven()))
        faces = parity.random_faces(24, SIZE)
        want = evaluate(*model.to_mxnet(), faces[16:].astype(np.float32))

        def cosine():
            content = quantize.quantize(model, "fast", faces[:16]).SerializeToString()
            return parity.compare(want, engines.onnxruntime.OnnxRuntimeEngine("m", content=content)(faces[16:])).mean

        with_it = cosine()
        monkeypatch.setattr(equalise, "equalise", lambda model, peaks: model)
        assert with_it > 0.999
        assert cosine() < with_it - 0.005

    @pytest.mark.parametrize(
        "between", [lambda x: S.sigmoid(x), lambda x: x + 1, lambda x: S.LeakyReLU(x, act_type="elu"), lambda x: x * x]
    )
    def test_leaves_what_does_not_pass_factors_on(self, between):
        x = S.Convolution(pixels(S.Variable("data")), num_filter=4, kernel=(8, 8), stride=(8, 8), name="first")
        model = cut_model(S.FullyConnected(between(x), num_hidden=4, name="fc1"))
        assert equalise.groups(model) == []


@pytest.fixture(scope="module", params=["m.onnx", "m.xml"])
def exported(request, folder, tmp_path_factory):
    return export(folder, tmp_path_factory.mktemp("files") / request.param)


def test_faces_to_compare_on_are_not_those_it_is_calibrated_on(folder):
    seen, unseen = quantize._faces(image_source(folder / "faces"), 16, 4, SIZE)
    assert (len(seen), len(unseen)) == (16, 4)
    assert len({face.tobytes() for face in (*seen, *unseen)}) == 20


class TestFiles:
    def test_it_embeds_almost_as_mxnet(self, folder, exported):
        want = engines.load(f"{folder}/net,3", graph="plain")(parity.random_faces(40, SIZE, seed=9))
        for engine in ("openvino", None):
            if engine or exported.path.suffix == ".onnx":
                network = engines.load(str(exported.path), engine=engine)
                found = parity.compare(want, network(parity.random_faces(40, SIZE, seed=9)))
                assert 0.97 < found.mean < 0.99999, network.name
                assert network.normalises
        assert exported.parity.count == 8
        assert exported.calibrated == 20

    def test_sizes(self, exported):
        assert exported.size == sum(path.stat().st_size for path in engines.model_files(str(exported.path)))
        assert exported.graph == ("fast" if exported.path.suffix == ".onnx" else "plain")

    def test_the_same_bytes_twice(self, folder, exported, tmp_path):
        if exported.path.suffix == ".onnx":
            export(folder, tmp_path / "m.onnx")
            assert (tmp_path / "m.onnx").read_bytes() == exported.path.read_bytes()

    def test_metadata(self, exported):
        if exported.path.suffix == ".onnx":
            held = {p.key: p.value for p in onnx.load(str(exported.path)).metadata_props}
            assert held["calibration"] == "20 faces of faces"
            assert (held["source"], held["graph"], held["quantisation"][:4]) == ("net,3", "fast", "int8")
        else:
            text = exported.path.read_text()
            assert '<calibration value="20 faces of faces" />' in text
            assert '<source value="net,3" />' in text
            assert '<weight_bits value="7" />' in text

    def test_float32_for_openvino(self, folder, tmp_path):
        done = export_onnx(f"{folder}/net,3", str(tmp_path / "m.xml"), count=4)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bin", "m.xml"]
        want = engines.load(f"{folder}/net,3", graph="plain")(images(5))
        assert far(want, engines.load(str(done.path))(images(5))) < 2e-5
        assert done.size == sum(path.stat().st_size for path in tmp_path.iterdir())
        assert "openvino_telemetry" not in sys.modules

    @pytest.mark.parametrize("standing", ["m.xml", "m.bin"])
    def test_neither_file_is_replaced_unasked(self, folder, tmp_path, standing):
        (tmp_path / standing).write_text("mine")
        with pytest.raises(InsightError, match=f"{standing}: is there already; give another --output, or --overwrite"):
            export(folder, tmp_path / "m.xml")
        assert (tmp_path / standing).read_text() == "mine"
        export(folder, tmp_path / "m.xml", overwrite=True)
        assert engines.load(str(tmp_path / "m.xml")).dimension == 6

    @pytest.mark.parametrize("name", ["m.onnx", "m.xml"])
    def test_below_the_bound_there_is_no_file(self, folder, tmp_path, name):
        with pytest.raises(CheckFailed, match="embeds unlike MXNet .* the mean must be 1.5"):
            export(folder, tmp_path / name, bound=1.5)
        with pytest.raises(CheckFailed):
            export_onnx(f"{folder}/net,3", str(tmp_path / name), bound=1.5, count=2)
        assert list(tmp_path.iterdir()) == []

    def test_a_broken_network_is_named(self, folder, tmp_path):
        symbol, arrays, auxiliary = filled(mobile())
        arrays["conv_1_conv2d_weight"][0] = np.inf
        checkpoint.save(str(tmp_path / "net"), 3, Checkpoint(symbol, arrays, auxiliary))
        with pytest.raises(InsightError, match="net,3: its layer .* gives NaN or infinity on a face"):
            quantize.export_int8(f"{tmp_path}/net,3", str(tmp_path / "m.onnx"), str(folder / "faces"), 4, count=2)
        assert not (tmp_path / "m.onnx").exists()


class TestCommand:
    def run(self, folder, output, *more):
        return run_command("export-onnx", ["--model", f"{folder}/net,3", "--output", str(output), *more])

    def test_it_says_size_cosine_and_drop(self, folder, tmp_path, capsys):
        faces = [encode_bgr(face.transpose(1, 2, 0)[..., ::-1], ".png", 1) for face in parity.random_faces(12, SIZE, 5)]
        pairs = [faces[0], faces[0], faces[1], faces[2], faces[3], faces[3], faces[4], faces[5]]
        write_bin(tmp_path / "set.bin", pairs, [True, False, True, False])
        options = ["--int8", "--calibrate", str(folder / "faces"), "--num-calibrate", "20", "--num-faces", "8"]
        assert self.run(folder, tmp_path / "m.onnx", *options, "--target-bin", str(tmp_path / "set.bin")) == 0
        size, parity_line, drop = capsys.readouterr().out.splitlines()
        assert "x float32 ONNX, int8, fast graph" in size
        assert "calibrated on 20 faces; parity with MXNet on others: cosine 0.9" in parity_line
        assert "over 8 faces" in parity_line
        assert "set.bin: accuracy 1.00000 in float32, 1.00000 in int8; drop 0.00000" in drop

    def test_faces_to_compare_with_may_be_others(self, folder, tmp_path, capsys):
        options = ["--int8", "--calibrate", str(folder / "faces"), "--num-calibrate", str(FACES)]
        assert self.run(folder, tmp_path / "m.onnx", *options, "--faces", str(folder / "faces")) == 0
        assert f"over {FACES} faces" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("output", "options", "says"),
        [
            ("m.tflite", [], "m.tflite: must end in .onnx, or in .xml for OpenVINO"),
            ("m.tflite", ["--int8", "--calibrate", "FACES"], "m.tflite: must end in .onnx, or in .xml for OpenVINO"),
            ("m.onnx", ["--calibrate", "FACES"], "--calibrate: is for --int8; add it, or leave this out"),
            ("m.onnx", ["--num-calibrate", "9"], "--num-calibrate: is for --int8; add it, or leave this out"),
            ("m.onnx", ["--weight-bits", "8"], "--weight-bits: is for --int8; add it, or leave this out"),
            ("m.onnx", ["--target-bin", "x.bin"], "--target-bin: is for --int8; add it, or leave this out"),
            ("m.onnx", ["--int8"], "--int8: needs --calibrate PATH"),
            ("m.onnx", ["--int8", "--calibrate", "EMPTY"], "want a folder that holds a folder of images per person"),
            ("m.onnx", ["--int8", "--calibrate", "EMPTY/no"], "no: no such file or folder"),
            (
                "m.onnx",
                ["--int8", "--calibrate", "FACES"],
                "28 faces, and --num-calibrate 200 and 32 more to compare on",
            ),
            (
                "m.onnx",
                ["--int8", "--calibrate", "FACES", "--num-calibrate", "0"],
                "--num-calibrate 0: must be at least 1",
            ),
            ("m.onnx", ["--int8", "--calibrate", "FACES", "--num-faces", "0"], "--num-faces 0: must be at least 1"),
            ("m.onnx", ["--int8", "--calibrate", "FACES", "--target-bin", "no.bin"], "no.bin: no such file"),
        ],
    )
    def test_what_is_wrong(self, folder, tmp_path, capsys, output, options, says):
        (tmp_path / "empty").mkdir()
        places = {"FACES": str(folder / "faces"), "EMPTY": str(tmp_path / "empty"), "EMPTY/no": str(tmp_path / "no")}
        assert self.run(folder, tmp_path / output, *[places.get(option, option) for option in options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert says in line
        assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("name", ["m.onnx", "m.xml"])
def test_the_real_network_on_real_faces(model_y1, real_data, tmp_path, name):
    spec, faces = f"{model_y1[0]},{model_y1[1]}", str(real_data / "data/lfw_dev.bin")
    done = quantize.export_int8(spec, str(tmp_path / name), faces, num_calibrate=64)
    assert done.parity.count == 32
    assert done.parity.mean > 0.99
    assert done.parity.lowest > 0.97
    assert done.size < 0.4 * done.float32_size
