"""OpenVINO's own files, threads and types."""

import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_networks import far
from test_engines import linear, pixels

from insight import engines
from insight.engines.openvino import OpenVINOEngine, _import
from insight.errors import InsightError

openvino = _import()


@pytest.mark.parametrize("normalise", [False, True])
def test_its_own_format(tmp_path, normalise):
    path, weight = linear(tmp_path / "m.onnx", "batch", normalise)
    openvino.save_model(openvino.Core().read_model(path), str(tmp_path / "m.xml"), compress_to_fp16=False)
    engine = engines.load(str(tmp_path / "m.xml"))
    x = pixels(5, 4)
    assert (engine.name, engine.normalises) == ("openvino", normalise)
    want = (x.reshape(5, -1) - 127.5) * (2 if normalise else 1 / 127.5) @ weight.T
    assert far(want, engine(x)) < 1e-6


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(InsightError, match="m.xml: no such file"):
        engines.load(str(tmp_path / "m.xml"))
    (tmp_path / "m.xml").write_text("<net>")
    with pytest.raises(InsightError, match="m.bin: no such file; want the weights of m.xml in it"):
        engines.load(str(tmp_path / "m.xml"))
    (tmp_path / "m.bin").write_bytes(b"")
    with pytest.raises(InsightError, match="m.xml: OpenVINO does not load it: .*[a-z]"):
        engines.load(str(tmp_path / "m.xml"))


@pytest.mark.parametrize(
    "suffix, reason", [("xml", "not a network in its format"), ("onnx", "not an ONNX network, or cut short")]
)
def test_openvinos_guesses_at_a_foreign_file_are_not_printed(tmp_path, capfd, suffix, reason):
    (tmp_path / f"m.{suffix}").write_text("hello there\n")
    with pytest.raises(InsightError, match=f"m.{suffix}: OpenVINO does not load it: {reason}"):
        engines.load(str(tmp_path / f"m.{suffix}"), engine="openvino")
    assert capfd.readouterr() == ("", "")


def test_threads_may_share_it(tmp_path):
    engine = OpenVINOEngine(linear(tmp_path / "m.onnx", "batch")[0], batch_size=2)
    x = pixels(16, 4)
    alone = engine(x)
    inside, request = [], engine._request

    class OneAtATime:
        def infer(self, *arguments, **options):
            inside.append(1)
            time.sleep(0.005)
            assert len(inside) == 1
            inside.pop()
            return request.infer(*arguments, **options)

    engine._request = OneAtATime()
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda i: engine(x[i : i + 2]), range(0, 16, 2)))
    assert (np.concatenate(parts) == alone).all()


def test_it_uses_as_many_threads_as_mxnet(tmp_path, monkeypatch):
    from insight.engines import openvino as module

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert module._options(None, "float32")["INFERENCE_NUM_THREADS"] == 3
    assert module._options(1, "float32")["INFERENCE_NUM_THREADS"] == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert 1 <= module._options(None, "float32")["INFERENCE_NUM_THREADS"] <= os.cpu_count()


def test_a_cpu_without_bfloat16_is_an_error(tmp_path, monkeypatch):
    path, _ = linear(tmp_path / "m.onnx", "batch")
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(InsightError, match="--dtype bfloat16: this CPU does not compute in it"):
        OpenVINOEngine(path, dtype="bfloat16")
    assert OpenVINOEngine(path).dtype == "float32"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN can be held to fewer features on x86 only")
def test_bfloat16_is_tried(tmp_path):
    """Limited to an older processor's features, OpenVINO still lists it, and a whole network would crash."""
    path, _ = linear(tmp_path / "m.onnx", "batch")
    code = f"from insight import engines; engines.load({path!r}, engine='openvino', dtype='bfloat16')"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "InsightError: --dtype bfloat16: this CPU does not compute in it" in done.stderr.splitlines()[-1]


def test_it_sends_no_telemetry(tmp_path):
    """With its telemetry, an import starts a thread that forks, which sometimes deadlocks the process."""
    path = linear(tmp_path / "m.onnx", "batch")[0]
    code = (
        "import sys, threading; started = []; begin = threading.Thread.start\n"
        "threading.Thread.start = lambda thread: (started.append(thread), begin(thread))\n"
        f"from insight import engines; engines.load({path!r}, engine='openvino')\n"
        "sys.exit(bool(started) or 'openvino_telemetry' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
