"""ncnn as an engine, on networks written by hand, against the same arithmetic in NumPy."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_networks import far
from test_engines import pixels

from insight import engines
from insight.engines import ncnn_trial
from insight.errors import InsightError

ncnn = pytest.importorskip("ncnn")

SIDE = 4
WEIGHT = np.random.default_rng(0).normal(size=(5, 3 * SIDE * SIDE)).astype(np.float32)
INPUT = f"Input data 0 1 data 0={SIDE} 1={SIDE} 2=3"
FC = f"InnerProduct fc 1 1 flat fc1 0=5 1=0 2={WEIGHT.size}"
FLOAT32 = bytes(4)  # the mark in front of a layer's weights: stored as they are
STORED = FLOAT32 + WEIGHT.tobytes()


def write(path, *lines, weights=STORED):
    blobs = {line.split()[4 + int(line.split()[2])] for line in lines}
    path.with_suffix(".bin").write_bytes(weights)
    path.write_text("\n".join(["7767517", f"{len(lines)} {len(blobs)}", *lines]) + "\n")
    return str(path)


def linear(path, *normalisation, **options):
    """[minus 127.5, times 2] -> flatten -> fully connected: y = W x."""
    last = normalisation[-1].split()[5] if normalisation else "data"
    return write(path, INPUT, *normalisation, f"Flatten flat 1 1 {last} flat", FC, **options)


MINUS = "BinaryOp minus 1 1 data m 0=1 1=1 2=127.5"
TIMES = "BinaryOp times 1 1 m t 0=2 1=1 2=2.0"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.param"


def test_raw_pixels_for_a_network_that_normalises(path):
    engine = engines.load(linear(path, MINUS, TIMES), threads=1)
    x = pixels(5, SIDE)
    assert (engine.name, engine.image_size, engine.dimension, engine.normalises) == ("ncnn", (4, 4), 5, True)
    assert engine.describe() == f"ncnn {ncnn.__version__} on CPU, float32, normalisation inside"
    found = engine(x)
    assert found.dtype == np.float32
    assert far((x.reshape(5, -1) - 127.5) * 2 @ WEIGHT.T, found) < 1e-6
    floats = x.astype(np.float32)
    assert (engine(floats) == found).all()
    assert (floats == x).all()  # the first layers work in place, and not in the caller's array


@pytest.mark.parametrize(
    ("line", "inside"),
    [
        ("BinaryOp a 1 1 data m 0=0 1=1 2=-127.5", True),
        ("BinaryOp a 1 1 data m 0=7 1=1 2=127.5", True),  # number - x
        ("BinaryOp a 1 1 data m 0=2 1=1 2=0.1", False),  # a scale may belong to pixels that are normalised outside
        ("ReLU a 1 1 data m", False),
    ],
)
def test_layers_that_normalise_are_recognised(path, line, inside):
    assert engines.load(linear(path, line)).normalises == inside


def test_a_batch_norm_before_the_weights_normalises_and_one_after_them_does_not(path):
    norm = "BatchNorm bn 1 1 {} {} 0={}"
    floats = [np.float32([a] * 3) for a in (1, 0, 1, 0)]  # slope, mean, variance, bias
    weights = b"".join(f.tobytes() for f in floats) + STORED
    assert engines.load(linear(path, norm.format("data", "m", 3), weights=weights)).normalises
    behind = [np.float32([a] * 5) for a in (1, 0, 1, 0)]
    weights = STORED + b"".join(f.tobytes() for f in behind)
    lines = [INPUT, "Flatten flat 1 1 data flat", FC, norm.format("fc1", "out", 5)]
    assert not engines.load(write(path, *lines, weights=weights)).normalises


def test_normalised_pixels_as_in_insightface_for_other_networks(path):
    engine = engines.load(linear(path))
    x = pixels(3, SIDE)
    assert "normalisation (x - 127.5) / 127.5 outside" in engine.describe()
    assert far((x.reshape(3, -1) - 127.5) / 127.5 @ WEIGHT.T, engine(x)) < 1e-6


def test_size_is_112_if_the_file_leaves_it_open(path):
    weight = np.ones((1, 3 * 112 * 112), np.float32)
    lines = ["Input in0 0 1 in0", MINUS.replace("data", "in0"), "Flatten f 1 1 m flat", FC]
    lines[3] = f"InnerProduct fc 1 1 flat out0 0=1 1=0 2={weight.size}"
    engine = engines.load(write(path, *lines, weights=FLOAT32 + weight.tobytes()))
    assert (engine.image_size, engine.dimension) == ((112, 112), 1)


def test_float16_weights_and_bfloat16_arithmetic(path):
    half = np.uint32(0x01306B47).tobytes() + WEIGHT.astype(np.float16).tobytes()
    x = pixels(4, SIDE)
    want = (x.reshape(4, -1) - 127.5) * 2 @ WEIGHT.T
    rounded = (x.reshape(4, -1) - 127.5) * 2 @ WEIGHT.astype(np.float16).astype(np.float32).T
    found = engines.load(linear(path, MINUS, TIMES, weights=half))(x)
    assert far(rounded, found) < 1e-6 < far(want, found)
    rough = engines.load(linear(path, MINUS, TIMES), dtype="bfloat16")
    assert "bfloat16" in rough.describe()
    assert 1e-4 < far(want, rough(x)) < 2e-2


def test_float32_uses_nothing_below_float32(path):
    options = engines.load(linear(path))._net.opt
    assert not any((options.use_fp16_packed, options.use_fp16_storage, options.use_fp16_arithmetic))
    assert not options.use_bf16_storage
    assert engines.load(linear(path), threads=3)._net.opt.num_threads == 3


def test_threads_may_share_it(path):
    engine = engines.load(linear(path, MINUS), batch_size=2)
    x = pixels(64, SIDE)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda i: engine(x[i : i + 4]), range(0, 64, 4)))
    assert (np.concatenate(parts) == engine(x)).all()


def test_auto_and_others(path):
    spec = linear(path)
    assert engines.load(spec, engine="auto").name == engines.load(spec, engine="ncnn").name == "ncnn"
    with pytest.raises(InsightError, match="--engine openvino: does not take --model .*m.param; these do: ncnn"):
        engines.load(spec, engine="openvino")
    with pytest.raises(InsightError, match=r"--device gpu:0: ncnn evaluates on the CPU"):
        engines.load(spec, device="gpu")


def bad_size(lines):
    return [INPUT.replace(f"1={SIDE}", f"1={SIDE + 1}"), *lines[1:]]


CONV = "Convolution c 1 1 data flat 0=5 1=1 6={} 5=0"
DAMAGE = {
    "no weights file": (None, None, "m.bin: no such file; want the weights of m.param in it"),
    "empty weights": (
        None,
        b"",
        "ncnn does not load m.bin, which is damaged or of another network: .*failed",
    ),
    "truncated weights": (None, STORED[:-4], "ncnn does not load m.bin, which is damaged.*failed"),
    "too many weights": (
        None,
        bytes(2000),
        "m.bin has 2000 bytes, but the network reads 964; are both from the same export",
    ),
    "unknown layer": (lambda lines: [*lines[:1], "FooLU f 1 1 data flat", FC], ..., "layer FooLU not exists"),
    "images of another size": (
        bad_size,
        ...,
        "not a network for 5x4 RGB images: layer fc takes 48 values, but gets 60",
    ),
    "images of a size that is none": (
        lambda lines: [INPUT.replace("=4", "=99999"), *lines[1:]],
        ...,
        "99999x99999 images",
    ),
    "more memory than there is": (
        lambda lines: [INPUT, "Interp i 1 1 data big 0=1 3=22400 4=22400", "Flatten f 1 1 big flat", FC],
        ...,
        r"the input of layer fc cannot be computed \(status -100\)",
    ),
    "grey images": (
        lambda lines: [INPUT, CONV.format(5)],
        FLOAT32 + bytes(20),
        "not a network for 4x4 RGB images: layer c takes 1 channels, but gets 3",
    ),
    "a feature map": (
        lambda lines: [INPUT, CONV.format(15)],
        FLOAT32 + bytes(60),
        r"gives one vector, but this one gives \(5, 1, 4, 4\)",
    ),
    "two inputs": (
        lambda lines: [INPUT, "Input b 0 1 b", "BinaryOp p 2 1 data b flat", FC],
        ...,
        "this one takes data, b and gives fc1",
    ),
    "two outputs": (lambda lines: [*lines, "ReLU r 1 1 data r"], ..., "this one takes data and gives fc1, r"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_and_foreign_files(path, case):
    change, weights, message = DAMAGE[case]
    lines = [INPUT, "Flatten flat 1 1 data flat", FC]
    write(path, *(change(lines) if change else lines))
    if weights is None:
        path.with_suffix(".bin").unlink()
    elif weights is not ...:
        path.with_suffix(".bin").write_bytes(weights)
    with pytest.raises(InsightError, match=message):
        engines.load(str(path))


def test_a_file_that_ncnn_crashes_on(path, monkeypatch):
    """The release of October 2026 crashes on a BinaryOp without its second operand, which it reads from any memory."""
    monkeypatch.setattr(ncnn_trial, "CHILD", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(InsightError, match=r"m.param: ncnn crashes on it \(SIGSEGV\); it is damaged, or not for 4x4"):
        engines.load(linear(path))


def test_a_file_with_a_name_that_is_not_utf8(path):
    """ncnn quotes the bytes of the layer's name."""
    linear(path)
    path.write_bytes(path.read_bytes().replace(b"Flatten", b"Fl\xff\xfeten"))
    with pytest.raises(InsightError, match="m.param: ncnn does not load it: layer Fl.*ten not exists"):
        engines.load(str(path))


def test_a_file_that_never_ends(path, monkeypatch):
    monkeypatch.setattr(ncnn_trial, "SECONDS", 0.01)
    with pytest.raises(InsightError, match="needs more than 0.01 s for one image"):
        engines.load(linear(path))


def test_without_ncnn_the_error_has_the_remedy(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(InsightError, match=r"ncnn is not installed.*pip install -e '\.\[deploy\]'"):
        engines.load(linear(path))


def test_it_needs_no_mxnet(path):
    code = f"import sys; from insight import engines; engines.load({linear(path)!r}); sys.exit('mxnet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
