"""Commands on a Dask cluster give the bytes that they give without it."""

import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from interrupts import default_sigint
from made_faces import encode, face
from onnx import TensorProto, helper, numpy_helper
from raw_folders import RawFolder, contents

pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[cluster]'")

from dask_cluster import dask_cluster, dask_config, die_with_the_first_task, environment, hide, wait_for
from distributed import LocalCluster

from insight import progress
from insight.check import image_faults
from insight.cli import main
from insight.executor import dask as executor
from insight.executor import dask_client
from insight.faces import embed_task
from insight.formats import evalbin

PEOPLE, IMAGES = 7, 12
ALIGN = "align-faces raw near --landmarks raw.csv"
EMBED = "embed --model net.onnx --output near.npz --batch-size 4 --input"
MERGE = "dataset-merge --output near --model net.onnx --batch-size 4 --param1 0.999 --param2 0.999"
CLEAN = "dataset-clean shards/train --output near --model net.onnx --threshold -1"
CHECK = "dataset-check shards/train --deep --json near.json --html near.html"
SHARD = "shards/train-00000-of-00003.rec"
COMMANDS = {  # every kind of set; what they write has names that begin with near
    "align-faces": f"{ALIGN} --model net.onnx",
    "align-faces --flat": f"{ALIGN} --flat",
    "face2rec": "face2rec all.lst --output near --damaged keep",
    "face2rec headers": "face2rec all.lst --output near --check-images headers --layout plain --shards 3",
    "embed a folder": f"{EMBED} crops",
    "embed a .rec": f"{EMBED} one/train.rec --flip both",
    "embed shards": f"{EMBED} {SHARD}",
    "embed a .bin": f"{EMBED} val.bin",
    "merge": f"{MERGE} --include one,shards/train --exclude val.bin",
    "merge, exclude shards": f"{MERGE} --include val/train --exclude shards",
    "clean": CLEAN,
    "check": f"{CHECK} --exclude val.bin,one",
    "check, exclude shards": f"dataset-check one/train.rec --exclude {SHARD} --json near.json",
    "make-bin": "make-bin faces near.bin --pairs 60 --folds 3 --pairs-output near.csv",
}
FAULTY = ("check", "check, exclude shards")  # a damaged image; images that are excluded


def words(name, result="near"):
    """The arguments of a command, with another name for its result."""
    return COMMANDS[name].replace("near", result).split()


@pytest.fixture
def run(work, monkeypatch, capfd):
    """Run a command in the folder of the work; returns [status, stdout, stderr]."""
    monkeypatch.chdir(work)
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 1e9)

    def run(*arguments):
        capfd.readouterr()
        status = main([str(word) for word in arguments])
        return [status, *capfd.readouterr()]

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


def write_faces(folder, count, first=0, odd=-1):
    """``count`` faces of each person, with numbers from ``first`` on; the one at ``odd`` is of another size."""
    for person in range(PEOPLE):
        (folder / str(person)).mkdir(parents=True)
        for i in range(count):
            size = (140, 112) if i == odd else (112, 112)
            (folder / f"{person}/{i:02d}.jpg").write_bytes(encode(face(first + IMAGES * person + i, *size)))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Raw photos, aligned faces, sets, a .bin, a network; in folders of one, to which all paths are relative."""
    folder = tmp_path_factory.mktemp("work")
    raw = RawFolder(folder / "raw")
    for person in range(PEOPLE):
        for photo in range(6):
            raw.photo(f"{person}/{photo}.jpg", [(person, 50, 40, 150), (photo, 250, 40, 100)])
    raw.table()
    write_faces(folder / "faces", IMAGES, odd=7)
    write_faces(folder / "crops", 5, first=200)
    for name in ("faces/3/11.jpg", "crops/4/03.jpg"):
        damaged = folder / name
        damaged.write_bytes(damaged.read_bytes()[:-300] + b"\xff\xd9")
    write_network(folder / "net.onnx")
    evalbin.write_bin(folder / "val.bin", [encode(face(number)) for number in range(3, 43)], [True, False] * 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["dir2lst", "faces", "all.lst"]) == 0
        assert main(["dir2lst", "crops", "crops.lst"]) == 0
        for arguments in ("all.lst --output one", "all.lst --output shards --shards 3", "crops.lst --output val"):
            assert main(["face2rec", *arguments.split(), "--damaged", "keep"]) == 0
    with open(folder / "all.lst", "a", encoding="utf-8") as listed:
        listed.write("1\tfaces/none.jpg\t6\n")
    return folder


PLAIN_RUNS = """
import contextlib, io, json, sys
from insight import progress
from insight.cli import main
progress.PLAIN_SECONDS = 1e9
results = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    results.append([status, out.getvalue(), err.getvalue()])
json.dump([results, sorted({name.split(".")[0] for name in sys.modules})], sys.stdout)
"""


@pytest.fixture(scope="module")
def plain(work):
    """All commands without the option, in one process: what each returned and printed, and the packages loaded."""
    own = [words(name, f"near-{i:02d}") for i, name in enumerate(COMMANDS)]
    process = subprocess.run(
        [sys.executable, "-c", PLAIN_RUNS],
        cwd=work,
        env=environment(),
        input=json.dumps(own),
        capture_output=True,
        text=True,
    )
    assert not process.returncode, process.stderr
    results, packages = json.loads(process.stdout)
    return dict(zip(COMMANDS, results)), packages


def test_nothing_of_dask_is_imported_without_the_option(plain):
    results, packages = plain
    assert [status for status, _, _ in results.values()] == [int(name in FAULTY) for name in COMMANDS]
    assert {"insight", "numpy"} < set(packages)
    assert set(packages).isdisjoint({"dask", "distributed", "tornado", "cloudpickle"})


@pytest.fixture
def assert_same(run, work, plain):
    """Run a command on a cluster: it gives the files, the status and the lines that it gives without."""
    made = []

    def assert_same(name, *cluster):
        near = f"near-{list(COMMANDS).index(name):02d}"
        far = near.replace("near", "far")
        made.append(far)
        result = run(*words(name, far), *cluster)
        assert [str(part).replace(far, near) for part in result] == list(map(str, plain[0][name]))
        paths = sorted(work.glob(f"{near}*"))
        assert paths
        for path in paths:
            other = path.with_name(path.name.replace(near, far))
            same = contents(other) == contents(path) if path.is_dir() else other.read_bytes() == path.read_bytes()
            assert same, path

    yield assert_same
    for far in made:
        subprocess.run(["bash", "-c", f"rm -rf {far}*"], cwd=work, check=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_same_bytes(assert_same, two_workers, name):
    assert_same(name, "--scheduler-file", two_workers.file)


def test_a_local_cluster(assert_same):
    """Of Dask's own class, by its address."""
    with dask_config().set({"distributed.worker.multiprocessing-method": "forkserver"}):  # starts faster
        with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as local:
            for name in ("align-faces --flat", "embed a .rec"):
                assert_same(name, "--cluster", local.scheduler_address)


@pytest.mark.parametrize("name", ["align-faces", "embed a .rec", "merge", "check"])
def test_a_worker_is_killed_half_way(assert_same, two_workers, tmp_path, monkeypatch, name):
    """The only one; it has written its crops, but not given its result away when another joins, and it dies."""
    monkeypatch.setattr(image_faults, "CLUSTER_CHUNK", 8)
    monkeypatch.setattr(embed_task, "BATCHES", 1)
    two_workers.keep(0)
    doomed = two_workers.worker(partial(die_with_the_first_task, tmp_path))

    def replace():
        wait_for((tmp_path / "done").exists)
        two_workers.worker()
        (tmp_path / "go").touch()

    with ThreadPoolExecutor(1) as threads:
        replaced = threads.submit(replace)
        assert_same(name, "--scheduler-file", two_workers.file)
        replaced.result()
    doomed.join(10)
    two_workers.keep(2)
    assert doomed.exitcode == -signal.SIGKILL


def test_ctrl_c_drops_the_queue_and_the_same_command_resumes(run, work, two_workers):
    raw = RawFolder(work / "many")
    for person in range(120):
        raw.photo(f"{person:03d}/0.jpg", [(person, 50, 40, 150)])
    raw.table()
    arguments = ["align-faces", "many", "interrupted", "--landmarks", "many.csv"]
    on_cluster = [*arguments, "--scheduler-file", str(two_workers.file)]
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
    while not (work / "interrupted/005/0.jpg").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("error: interrupted\n") and "Traceback" not in err
    done = len(list((work / "interrupted").glob("*/0.jpg")))
    time.sleep(1)
    assert len(list((work / "interrupted").glob("*/0.jpg"))) <= done + 3 < 120
    assert run(*on_cluster)[0] == run(*arguments[:2], "whole", *arguments[3:])[0] == 0
    assert contents(work / "interrupted") == contents(work / "whole")


class TestRefused:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_no_scheduler(self, run, work, name):
        """Before any work; every command."""
        status, out, err = run(*words(name, "refused"), "--scheduler-file", "none.json")
        assert (status, out) == (2, "")
        assert err.startswith("error: --scheduler-file none.json: no such file; want") and err.count("\n") == 1
        assert not list(work.glob("refused*"))

    def test_workers_of_this_machine(self, run):
        _, _, err = run(*ALIGN.split(), "--cluster", "tcp://a:1", "--num-workers", "2")
        assert err == "error: --num-workers: is for the workers of this machine; leave it out with a cluster\n"

    @pytest.mark.parametrize("option", ["--cluster", "--scheduler-file"])
    def test_an_empty_option(self, run, work, option):
        """Of a shell variable that is not set."""
        status, _, err = run(*words("face2rec", "refused"), option, "")
        assert (status, err) == (2, f"error: {option}: is empty; name the scheduler, or leave the option out\n")
        assert not list(work.glob("refused*"))

    def test_both_options(self, run):
        status, _, err = run(*ALIGN.split(), "--cluster", "tcp://a:1", "--scheduler-file", "f")
        assert status == 2 and "not allowed with argument" in err and err.count("\n") == 1

    def test_a_merge_that_embeds_nothing(self, run):
        arguments = "dataset-merge --include one,shards --output refused --param1 0 --cluster tcp://a:1".split()
        assert run(*arguments)[2].startswith("error: --cluster tcp://a:1: embeds for --model only")

    def test_folders_that_a_worker_does_not_see(self, run, work, tmp_path, monkeypatch):
        """Nothing is mounted there, so they are empty."""
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
            pytest.skip("this user may not make a mount namespace")
        for module in (executor, dask_client):
            monkeypatch.setattr(module, "PATH_SECONDS", 0.2)
        hidden = [work / name for name in ("raw", "faces", "one", "shards")]
        with dask_cluster(tmp_path, workers=0) as own:
            own.worker(partial(hide, *hidden))
            for name, message in (
                ("align-faces", "worker tcp://.*: does not see .*/raw; all workers must see"),
                ("face2rec", "a worker on .* cannot read .*/faces/0/00.jpg; all workers must see"),
                ("embed shards", f"worker tcp://.*: does not see .*/{SHARD}; all workers must see"),
                ("merge", "worker tcp://.*: does not see .*/one/train.rec; all workers must see"),
            ):
                status, _, err = run(*words(name, "refused"), "--scheduler-file", own.file)
                assert status == 2
                assert re.fullmatch(f"error: {message}.*\n", err)
                assert not list(work.glob("refused*"))
