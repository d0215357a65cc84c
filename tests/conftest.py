"""Paths to real data, where the machine has it, and small sets made on the spot."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_faces import encode, face

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "import sys; from insight.cli import main; sys.exit(main())"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that INSIGHT_TEST_DATA names; tests that need it skip where it is unset."""
    folder = os.environ.get("INSIGHT_TEST_DATA")
    if not folder:
        pytest.skip("INSIGHT_TEST_DATA is unset: no real faces and models here")
    return Path(folder)


@pytest.fixture(scope="session")
def model_y1(real_data) -> tuple:
    """(prefix, epoch) of a real MobileFaceNet that InsightFace trained."""
    return str(real_data / "models/model-y1-test2/model"), 0


@pytest.fixture(scope="session")
def trains_in_bfloat16() -> None:
    """Skips where this processor has no kernels for it, as MXNet finds by trying."""
    from insight._mxnet import mx
    from insight.train import precision
    from insight.train.model import build_network
    from insight.train.train_options import TrainOptions

    options = TrainOptions(data_dir="-", network="y1", emb_size=8, version_output="E", dtype="bfloat16")
    try:
        precision.try_out(lambda: build_network(options, [mx.cpu(0)], (48, 48)), "bfloat16", [mx.cpu(0)])
    except precision.Unsupported as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def openvino_bfloat16() -> None:
    """Skips where OpenVINO does not compute in it on this processor."""
    from insight.engines import openvino

    runtime = openvino._import()
    if not openvino._has_bfloat16(runtime, runtime.Core()):
        pytest.skip("OpenVINO does not compute in bfloat16 on this processor (AVX-512 BF16 or AMX)")


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory):
    """A Dask cluster of two workers of one thread, started by its command line."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[cluster]'")
    from dask_cluster import dask_cluster

    with dask_cluster(tmp_path_factory.mktemp("dask"), fresh=True) as running:
        yield running


@pytest.fixture
def people(tmp_path):
    """Build ``faces/<name>/<i>.jpg`` from counts: ``people({'ann': 3, 'bob': 2})``; returns the folder."""

    def build(counts: dict, folder: str = "faces") -> Path:
        number = 0
        for name, count in counts.items():
            (tmp_path / folder / name).mkdir(parents=True)
            for i in range(count):
                (tmp_path / folder / name / f"{i}.jpg").write_bytes(encode(face(number)))
                number += 1
        return tmp_path / folder

    return build


@pytest.fixture
def insight(tmp_path):
    """Run a command in a process of its own, in ``tmp_path``; returns (status, stdout, stderr)."""

    def run(*arguments, **options):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            **options,
        )
        return done.returncode, done.stdout, done.stderr

    return run
