"""ncnn files: equal to MXNet for each network, with the names of mxnet2ncnn, both written or neither."""

import importlib.util
import re
import sys

import numpy as np
import pytest
from small_networks import S, evaluate, far, filled, images, mobile, pixels, residual, training
from whole_networks import write_log

from insight import checkpoint, engines
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.errors import InsightError
from insight.export import ncnn as exporting
from insight.export import parity
from insight.export.ncnn import export_ncnn
from insight.export.onnx import export_onnx
from insight.export.slim import slim
from insight.formats import ncnnparam
from insight.runs import lineage

pytest.importorskip("ncnn")
if importlib.util.find_spec("pnnx") is None:
    pytest.skip("pnnx is not installed", allow_module_level=True)

NETWORKS = {"mobile": mobile, "residual": residual, "training": lambda: training(mobile())}


def saved(folder, symbol, **labels):
    stored = Checkpoint(*filled(symbol, **labels))
    checkpoint.save(str(folder / "net"), 7, stored)
    return stored, f"{folder}/net,7"


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request, tmp_path_factory):
    """(the checkpoint, its spec, folder with m.param and m.bin)."""
    folder = tmp_path_factory.mktemp(request.param)
    stored, spec = saved(
        folder, NETWORKS[request.param](), **({"softmax_label": (1,)} if "train" in request.param else {})
    )
    export_ncnn(spec, str(folder / "m"), count=4)
    return stored, spec, folder


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("spec"), mobile())[1]


def reference(stored, x):
    symbol = stored.symbol.get_internals()["fc1_output"]
    names = set(symbol.list_inputs())
    return evaluate(symbol, {k: v for k, v in stored.arg_params.items() if k in names}, stored.aux_params, x)


@pytest.mark.parametrize("count", [1, 3, 64])
def test_it_embeds_as_mxnet(exported, count):
    stored, _, folder = exported
    x = images(count)
    assert far(reference(stored, x), engines.load(str(folder / "m.param"))(x)) < 2e-5


def test_the_file_is_what_readers_expect(exported):
    layers = ncnnparam.read(exported[2] / "m.param")
    assert layers[0] == ncnnparam.NcnnLayer("Input", "data", [], ["data"], {0: "112", 1: "112", 2: "3"})
    assert ncnnparam.outputs(layers) == ["fc1"]
    assert not [layer for layer in layers if '"' in "".join(layer.params.values())]  # expressions: new ncnn only
    kinds = [layer.kind for layer in layers]
    assert "Dropout" not in kinds
    assert kinds.count("BatchNorm") == (3 if "residual" in exported[2].name else 0)  # only before padding or pixels


def test_there_are_no_other_files(exported):
    names = sorted(path.name for path in exported[2].iterdir())
    assert names == ["m.bin", "m.param", "net-0007.params", "net-symbol.json"]


def test_float16_halves_the_weights(exported, tmp_path):
    _, spec, folder = exported
    done = export_ncnn(spec, str(tmp_path / "half"), "float16", count=8)
    assert done.weights.stat().st_size < 0.7 * (folder / "m.bin").stat().st_size
    assert 0.999 < done.parity.lowest < 0.9999999
    assert (done.image_size, done.dimension) == ((112, 112), 6)


FIRST = {
    "nothing": lambda x: x,
    "batch norm": lambda x: S.BatchNorm(x, fix_gamma=True, eps=2e-5, name="bn_data"),
    "another": lambda x: (x + 1) / 128,
    "only a scale": lambda x: x * 0.01,
}


@pytest.mark.parametrize("first", FIRST)
def test_raw_pixels_for_any_first_operator(first, tmp_path):
    stored, spec = saved(tmp_path, S.FullyConnected(FIRST[first](S.Variable("data")), num_hidden=4, name="fc1"))
    export_ncnn(spec, str(tmp_path / "m"), count=2)
    engine = engines.load(str(tmp_path / "m.param"))
    assert engine.normalises
    assert far(evaluate(*stored, images()), engine(images())) < 2e-5


def test_images_that_are_not_square(tmp_path):
    body = S.Convolution(pixels(S.Variable("data", shape=(0, 3, 112, 96))), num_filter=4, kernel=(7, 7), stride=(7, 7))
    symbol = S.FullyConnected(body, num_hidden=4, name="fc1")
    draw = np.random.default_rng(1)
    shapes, _, _ = symbol.infer_shape(data=(1, 3, 112, 96))
    from insight._mxnet import mx

    arrays = {n: mx.nd.array(draw.normal(size=s)) for n, s in zip(symbol.list_arguments(), shapes) if n != "data"}
    checkpoint.save(str(tmp_path / "net"), 0, Checkpoint(symbol, arrays, {}))
    done = export_ncnn(f"{tmp_path}/net,0", str(tmp_path / "m"), count=2)
    assert done.image_size == engines.load(str(done.param)).image_size == (112, 96)


UNTRANSLATED = {
    "operator sin at node 'wave' has no ONNX translation": lambda x: S.sin(x, name="wave"),
    "pnnx has no translation for ncnn: mean along batch axis": lambda x: S.broadcast_mul(x, S.mean(x)),
}


@pytest.mark.parametrize("message", UNTRANSLATED)
def test_an_operator_without_translation_is_named(message, tmp_path, capsys):
    x = S.Pooling(pixels(S.Variable("data")), kernel=(8, 8), stride=(8, 8), pool_type="max")
    _, spec = saved(tmp_path, S.FullyConnected(UNTRANSLATED[message](x), num_hidden=4, name="fc1"))
    assert run_command("export-ncnn", ["--model", spec, "--output", str(tmp_path / "out/m")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"net,7: {message}" in line
    assert not (tmp_path / "out").exists()


def test_a_changed_parameter_does_not_pass(spec, tmp_path, monkeypatch, capsys):
    convert = exporting._convert

    def nudge(*arguments):
        made = convert(*arguments)
        file = ncnnparam.weights_path(made)
        weights = np.frombuffer(file.read_bytes(), np.float32).copy()
        weights[-48:] += np.linspace(0, 1, 48, dtype=np.float32)
        file.write_bytes(weights.tobytes())
        return made

    monkeypatch.setattr(exporting, "_convert", nudge)
    (tmp_path / "m.bin").write_bytes(b"an older export")
    assert run_command("export-ncnn", ["--model", spec, "--output", str(tmp_path / "m"), "--overwrite"]) == 1
    assert "its embeddings differ from MXNet's" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["m.bin"]
    assert (tmp_path / "m.bin").read_bytes() == b"an older export"


def test_the_command(spec, tmp_path, capsys):
    arguments = ["--model", spec, "--output", str(tmp_path / "new/m"), "--num-faces", "2"]
    assert run_command("export-ncnn", arguments) == 0
    printed = capsys.readouterr().out
    assert "new/m.param, m.bin: 0.01 MB, float32 weights\ninput data: 112x112 RGB, 0..255; output fc1: 6\n" in printed
    assert "over 2 faces" in printed
    before = [path.read_bytes() for path in sorted((tmp_path / "new").iterdir())]
    (tmp_path / "new/m.param").unlink()
    assert run_command("export-ncnn", arguments) == 2  # one of the two is enough to be asked
    assert "m.bin: already exists; give another output, or --overwrite" in capsys.readouterr().err
    assert run_command("export-ncnn", [*arguments[:3], f"{tmp_path}/new/m.param", "--overwrite"]) == 0
    assert [path.read_bytes() for path in sorted((tmp_path / "new").iterdir())] == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", ""], "--output '': want the prefix of two files"),
        (["--output", "y1/"], "--output 'y1/': want the prefix of two files"),
        (["--output", "x", "--model", "nothing,3"], "nothing-0003.params: no such checkpoint"),
        (["--output", "x", "--dtype", "int8"], "invalid choice: 'int8'"),
        (["--output", "x", "--num-faces", "0"], "--num-faces 0: must be at least 1"),
    ],
)
def test_bad_usage(spec, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command("export-ncnn", ["--model", spec, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_pnnx_the_error_has_the_remedy(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        InsightError, match="pnnx, which writes ncnn's files, is not installed; run: pip install --no-deps"
    ):
        export_ncnn(spec, str(tmp_path / "m"))


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("sys.exit('out of luck')", "net,7: pnnx could not convert it (status 1): out of luck"),
        ("print('almost')", "net,7: pnnx could not convert it (status 0): almost"),
        (
            "print('ignore torch.tile tile_2 param dims=2', file=sys.stderr)",
            "net,7: pnnx has no translation for ncnn: ignore torch.tile tile_2 param dims=2",
        ),
    ],
)
def test_the_error_of_a_program_that_fails_has_its_last_line(spec, tmp_path, monkeypatch, last, message):
    script = tmp_path / "pnnx"
    script.write_text(f"#!{sys.executable}\nimport sys\nprint('first', flush=True)\n{last}\n")
    script.chmod(0o755)
    monkeypatch.setattr(exporting, "_program", lambda: str(script))
    with pytest.raises(InsightError, match=re.escape(message)):
        export_ncnn(spec, str(tmp_path / "m"))
    assert list(tmp_path.iterdir()) == [script]


def test_it_does_not_import_pnnx(spec, tmp_path):
    """Its package imports PyTorch if that is installed."""
    export_ncnn(spec, str(tmp_path / "m"), count=1)
    assert not {"pnnx", "torch"} & set(sys.modules)


@pytest.mark.parametrize("network", ["y1", "y1 version_se=1", "y1 version_eca=1", "r50", "real"])
def test_whole_networks(shipped, network, tmp_path):
    made = shipped(network)
    engine = engines.load(str(export_ncnn(made.spec, str(tmp_path / "m"), count=1).param))
    count = max(made.batches)
    want, got = made.embeddings[:count], engine(made.faces[:count])
    assert parity.compare(want, got).lowest >= 0.99999
    assert far(want, got) < 5e-5  # random networks see all faces alike, so a cosine alone says little


@pytest.mark.parametrize("dtype", exporting.BOUNDS)
def test_the_real_network_on_real_faces(model_y1, real_data, tmp_path, dtype):
    from insight.faces.sources import image_source

    spec = f"{model_y1[0]},{model_y1[1]}"
    faces = image_source(real_data / "data/lfw_dev.bin").spread
    done = export_ncnn(spec, str(tmp_path / "m"), dtype, faces, 16, bound=0.99999)
    x = faces(3, (112, 112))
    assert far(engines.load(spec, graph="plain")(x), engines.load(str(done.param))(x)) < (
        1e-5 if dtype == "float32" else 5e-3
    )


def test_lineage_is_written(tmp_path):
    write_log(tmp_path / "run/net", 7)
    _, spec = saved(tmp_path / "run", mobile())
    export_ncnn(spec, str(tmp_path / "ship/m"), count=1)
    assert [stage.name for stage in lineage.stages(f"{tmp_path}/ship/m")] == ["run/net"]


def test_the_lineage_of_another_model_is_replaced_with_overwrite_only(tmp_path):
    for name in ("run", "other"):
        write_log(tmp_path / name / "net", 7)
    specs = [saved(tmp_path / name, mobile())[1] for name in ("run", "other")]
    ship = f"{tmp_path}/ship/net"
    before = slim(specs[0], ship, count=1) and lineage.stages(ship, 0)
    with pytest.raises(InsightError, match="net-lineage.json: already exists; .*--overwrite"):
        export_ncnn(specs[1], ship, count=1)
    assert (lineage.stages(ship, 0), sorted(tmp_path.glob("ship/*.param"))) == (before, [])
    export_ncnn(specs[0], ship, count=1)
    assert lineage.stages(ship, 0) == before
    export_ncnn(specs[1], ship, count=1, overwrite=True)
    assert [stage.name for stage in lineage.stages(ship)] == ["other/net"]


def test_the_weights_of_openvinos_file_are_not_replaced(tmp_path):
    """Its .bin has the same name, and OpenVINO computes with any .bin that is long enough."""
    _, spec = saved(tmp_path, mobile())
    for name, refused in (("v.1.xml", "v.1"), ("w.1.param", "w.1.xml")):
        (tmp_path / name).touch()
        (tmp_path / name).with_suffix(".bin").write_bytes(b"its")
        export = export_onnx if refused.endswith("xml") else export_ncnn
        message = f"{name[:3]}.bin: contains the weights of {name}; give another --output"
        with pytest.raises(InsightError, match=message):
            export(spec, f"{tmp_path}/{refused}", count=1, overwrite=True)
        assert (tmp_path / name).with_suffix(".bin").read_bytes() == b"its"
