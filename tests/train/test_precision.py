"""Whether this processor computes in bfloat16 is tried before anything is written."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from insight._mxnet import mx
from insight.train import precision
from insight.train.model import build_network
from insight.train.precision import Trial
from insight.train.train_options import TrainOptions

X86 = platform.machine() == "x86_64"


def build(**more):
    options = TrainOptions(data_dir="-", **{"network": "y1", "emb_size": 8, "version_output": "E", **more})
    return lambda: build_network(options, [mx.cpu(0)], (48, 48))


def train(set_dir, prefix, isa, **more):
    options = {"data-dir": set_dir, "prefix": prefix, "network": "y1", "emb-size": 8, "per-batch-size": 4, **more}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "insight.cli", "train-softmax", *words]
    environment = {**os.environ, "DNNL_MAX_CPU_ISA": isa}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.skipif(not X86, reason="oneDNN can be held to fewer features on x86 only")
def test_a_processor_without_it_is_one_line(set_dir, tmp_path):
    run = train(set_dir, tmp_path / "m/model", "AVX2", dtype="bfloat16")
    assert run.returncode == 2 and run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert line.startswith("error: --dtype bfloat16: MXNet cannot train this network in it on this processor (")
    assert line.endswith("use --dtype float32")
    assert not list(tmp_path.iterdir())


def test_a_processor_with_it_passes():
    """With all of AVX-512's parts that its kernels use, MXNet computes in it, if slowly; the trial must not refuse."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    if not {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= set(flags) or "DNNL_MAX_CPU_ISA" in os.environ:
        pytest.skip("this processor has no AVX-512, or oneDNN is held to less")
    found = precision.try_out(build(), "bfloat16", [mx.cpu(0)])
    assert found.float32 > 0 and found.lowered > 0


def test_another_fault_is_no_lack_of_the_processor():
    def broken():
        raise ValueError("a fault of ours")

    with pytest.raises(ValueError, match="of ours"):
        precision.try_out(broken, "bfloat16", [mx.cpu(0)])


def test_stderr_is_given_back(capfd):
    def noisy():
        os.write(2, b"noise")
        raise KeyError

    with pytest.raises(KeyError):
        precision.try_out(noisy, "bfloat16", [mx.cpu(0)])
    os.write(2, b"words")
    assert capfd.readouterr().err == "words"


def test_where_it_does_not_pay_it_is_noted():
    assert Trial(1.0, 1.05).note == "" and Trial(1.0, 0.6).note == ""
    assert Trial(0.5, 0.8).note.startswith("bfloat16 takes 1.6 times as long as float32 on this processor")
