"""Commands on a Dask cluster give the bytes that they give without it."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from dask_cluster import dask_cluster, environment
from interrupts import default_sigint
from made_faces import encode, face
from onnx import TensorProto, helper, numpy_helper
from raw_folders import RawFolder, contents

from insight import progress
from insight.check import image_faults
from insight.cli import main
from insight.formats import evalbin

LocalCluster = pytest.importorskip("distributed", reason="Dask is not installed: pip install '.[cluster]'").LocalCluster

ROOT = Path(__file__).resolve().parents[2]
PEOPLE, IMAGES = 7, 40


@pytest.fixture
def run(work, monkeypatch, capfd):
    """Run a command in the folder of the work; returns (status, stdout, stderr)."""
    monkeypatch.chdir(work)
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 1e9)

    def run(*arguments):
        capfd.readouterr()
        status = main([str(word) for word in arguments])
        return (status, *capfd.readouterr())

    return run


def write_network(path):
    """Pixels -> embeddings (N, 8), linear."""
    weight = np.random.default_rng(0).normal(size=(8, 3 * 112 * 112)).astype(np.float32) / 1000
    nodes = [
        helper.make_node("Flatten", ["data"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["out"], transB=1),
    ]
    images = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["batch", 3, 112, 112])
    rows = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 8])
    graph = helper.make_graph(nodes, "g", [images], [rows], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Raw photos, aligned faces, sets, a .bin, a network; in folders of one, to which all paths are relative."""
    folder = tmp_path_factory.mktemp("work")
    raw = RawFolder(folder / "raw")
    for person in range(PEOPLE):
        for photo in range(6):
            raw.photo(f"{person}/{photo}.jpg", [(person, 50, 40, 150), (photo, 250, 40, 100)])
    raw.table()
    number = 0
    for person in range(PEOPLE):
        (folder / f"faces/{person}").mkdir(parents=True)
        for i in range(IMAGES):
            number += 1
            size = (140, 112) if i == 7 else (112, 112)  # one of each is converted
            (folder / f"faces/{person}/{i:02d}.jpg").write_bytes(encode(face(number, *size)))
    damaged = folder / "faces/3/11.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-300] + b"\xff\xd9")
    write_network(folder / "net.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["dir2lst", "faces", "all.lst"]) == 0
        for name in ("a", "b"):
            assert main(["face2rec", "all.lst", "--output", name, "--damaged", "keep"]) == 0
    evalbin.write_bin(folder / "val.bin", [encode(face(number)) for number in range(3, 43)], [True, False] * 10)
    with open(folder / "all.lst", "a", encoding="utf-8") as listed:
        listed.write("1\tfaces/none.jpg\t6\n")
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask")) as running:
        yield running


def to_far(arguments):
    return [word.replace("near", "far") for word in arguments]


def assert_same(run, work, running, arguments, status=0):
    """A command that writes into ``near`` gives the same files and the same report in ``far`` on the cluster."""
    near = run(*arguments)
    far = run(*to_far(arguments), "--scheduler-file", running.file)
    assert near[0] == far[0] == status, (near, far)
    assert tuple(re.sub(r"\bfar(?=[/.:])", "near", text) for text in far[1:]) == near[1:]
    assert_same_files(work)


def assert_same_files(work):
    paths = sorted(work.glob("near*"))
    assert paths
    for path in paths:
        other = path.with_name(path.name.replace("near", "far"))
        assert (contents(other) == contents(path)) if path.is_dir() else (other.read_bytes() == path.read_bytes()), path


def remove_results(work):
    subprocess.run(["bash", "-c", "rm -rf near* far*"], cwd=work, check=True)


@pytest.fixture(autouse=True)
def without_results(work):
    yield
    remove_results(work)


ALIGN = ["align-faces", "raw", "near", "--landmarks", "raw.csv"]
AT_999 = ["--param1", "0.999", "--param2", "0.999"]
EMBED = ["embed", "--model", "net.onnx", "--output", "near.npz", "--input"]
COMMANDS = {
    "align-faces": [*ALIGN, "--model", "net.onnx"],
    "align-faces --flat": [*ALIGN, "--flat"],
    "face2rec": ["face2rec", "all.lst", "--output", "near", "--damaged", "keep"],
    "face2rec headers": ["face2rec", "all.lst", "--output", "near", "--check-images", "headers", "--layout", "plain"],
    "embed a .rec": [*EMBED, "a/train.rec", "--flip", "both"],
    "embed a .bin": [*EMBED, "val.bin", "--batch-size", "3"],
    "merge": [*"dataset-merge --include a,b --exclude val.bin --output near --model".split(), "net.onnx", *AT_999],
    "clean": "dataset-clean a --output near --model net.onnx --threshold -1".split(),
    "check": "dataset-check a --deep --exclude val.bin,b --json near.json --html near.html".split(),
    "make-bin": ["make-bin", "faces", "near.bin", "--pairs", "60", "--folds", "3", "--pairs-output", "near.csv"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_same_bytes(run, work, running, name):
    """A damaged image is an error of the check."""
    assert_same(run, work, running, COMMANDS[name], status=int(name == "check"))


def test_embed_a_folder(run, work, running):
    for person in range(3):
        (work / f"near/{person}").mkdir(parents=True)
        for i in range(30):
            (work / f"near/{person}/{i}.jpg").write_bytes(encode(face(100 * person + i)))
    shutil.copytree(work / "near", work / "far")
    assert_same(run, work, running, [*EMBED, "near"])


def test_a_local_cluster(run, work):
    """Of Dask's own class, by its address."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as local:
        for name in ("align-faces", "embed a .rec"):
            assert run(*COMMANDS[name])[0] == run(*to_far(COMMANDS[name]), "--cluster", local.scheduler_address)[0]
            assert_same_files(work)
            remove_results(work)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("align-faces", ALIGN),
        ("embed", [*COMMANDS["embed a .rec"], "--batch-size", "1"]),
        ("merge", [*COMMANDS["merge"], "--batch-size", "1"]),
        ("check", COMMANDS["check"]),
    ],
)
def test_a_worker_is_killed_half_way(run, work, running, monkeypatch, name, arguments):
    """A third one, in the middle of its second task."""
    monkeypatch.setattr(image_faults, "CLUSTER_CHUNK", 16)
    doomed = running.worker("--preload", str(ROOT / "tests/dying_worker.py"), INSIGHT_TEST_TASKS="1")
    status = int(name == "check")
    assert run(*arguments)[0] == status
    status_far, _, err = run(*to_far(arguments), "--scheduler-file", running.file)
    assert status_far == status, err
    assert doomed.wait(10) == -signal.SIGKILL
    assert_same_files(work)


def test_ctrl_c_drops_the_queue_and_the_same_command_resumes(run, work, running):
    raw = RawFolder(work / "near_raw")
    for person in range(120):
        raw.photo(f"{person:03d}/0.jpg", [(person, 50, 40, 150)])
    raw.table()
    arguments = ["align-faces", "near_raw", "far", "--landmarks", "near_raw.csv"]
    on_cluster = [*arguments, "--scheduler-file", str(running.file)]
    code = "import sys; from insight.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *on_cluster],
        cwd=work,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_sigint,
    )
    while not (work / "far/005/0.jpg").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("error: interrupted\n") and "Traceback" not in err
    done = len(list((work / "far").glob("*/0.jpg")))
    time.sleep(1)
    assert len(list((work / "far").glob("*/0.jpg"))) <= done + 3 < 120
    assert run(*on_cluster)[0] == run(*arguments[:2], "near", *arguments[3:])[0] == 0
    assert contents(work / "far") == contents(work / "near")


class TestRefused:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_no_scheduler(self, run, work, name):
        """Before any work; every command."""
        status, out, err = run(*COMMANDS[name], "--scheduler-file", "none.json")
        assert (status, out) == (2, "")
        assert err.startswith("error: --scheduler-file none.json: no such file; want") and err.count("\n") == 1
        assert not list(work.glob("near*"))

    def test_workers_of_this_machine(self, run):
        _, _, err = run(*ALIGN, "--cluster", "tcp://a:1", "--num-workers", "2")
        assert err == "error: --num-workers: is for the workers of this machine; leave it out with a cluster\n"

    def test_both_options(self, run):
        status, _, err = run(*ALIGN, "--cluster", "tcp://a:1", "--scheduler-file", "f")
        assert status == 2 and "not allowed with argument" in err and err.count("\n") == 1

    def test_a_merge_that_embeds_nothing(self, run):
        words = "dataset-merge --include a,b --output near --param1 0 --cluster tcp://a:1".split()
        assert run(*words)[2].startswith("error: --cluster tcp://a:1: embeds for --model only")

    def test_folders_that_a_worker_does_not_see(self, run, work, tmp_path):
        """Nothing is mounted there, so they are empty."""
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
            pytest.skip("this user may not make a mount namespace")
        hide = " && ".join(f"mount -t tmpfs none {work / name}" for name in ("raw", "faces", "a"))
        with dask_cluster(tmp_path, workers=0) as own:
            own.worker(prefix=["unshare", "--mount", "sh", "-c", f'{hide} && exec "$0" "$@"'])
            for name, message in (
                ("align-faces", "worker tcp://.*: does not see .*/raw; all workers must see"),
                ("face2rec", "a worker on .* cannot read .*/faces/0/00.jpg; all workers must see"),
                ("embed a .rec", "worker tcp://.*: does not see .*/a/train.rec; all workers must see"),
                ("merge", "worker tcp://.*: does not see .*/a/train.rec; all workers must see"),
            ):
                status, _, err = run(*COMMANDS[name], "--scheduler-file", own.file)
                assert status == 2
                assert re.fullmatch(f"error: {message}.*\n", err)
                assert not list(work.glob("near*"))


def test_nothing_of_dask_is_imported_without_the_option(work):
    code = """
import json, sys
from insight.cli import main
for arguments in json.loads(sys.argv[1]):
    assert main(arguments) < 2, arguments
print(sorted({name.split(".")[0] for name in sys.modules} & {"dask", "distributed", "tornado", "cloudpickle"}))
"""
    own = [[word.replace("near", f"near{i}") for word in words] for i, words in enumerate(COMMANDS.values())]
    process = subprocess.run(
        [sys.executable, "-c", code, json.dumps(own)], cwd=work, env=environment(), capture_output=True, text=True
    )
    assert process.stdout.splitlines()[-1:] == ["[]"], process.stderr
