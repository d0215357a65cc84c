"""A package beside ours adds a network, a margin, an objective, a sampler, a detector, an engine and a command.

The package is that of docs/extending.md, its code blocks as they are, in a folder on the path of child processes.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from made_faces import encode
from plugin_package import ROOT, insight, install, of_document, python
from small_sets import write_striped_set

from insight.faces.alignment import template
from insight.made_up.writer import render_face

TIMES = ("time", "speed", "wait", "cpu", "path")  # what may differ between two runs
RUN = ("--emb-size", 16, "--per-batch-size", 6, "--lr", 0.02, "--target", "val", "--devices", "cpu", "--frequent", 1)
STEPS, KILLED = 10, 5
OWN = ("--network", "small", "--small-width", 16, "--sampler", "grouped", "--images-each", 3)
MARGIN = ("--loss-type", "steady", "--steady-share", 0.2)
OBJECTIVE = ("--loss-type", "to_mean", "--mean-weight", 2)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that the document's package is installed into."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, "my-package", *of_document(ROOT / "docs/extending.md"))
    return folder


@pytest.fixture(scope="module")
def set_dir(tmp_path_factory):
    return write_striped_set(tmp_path_factory.mktemp("set"))


def train(site, set_dir, folder, *options, **more):
    """(process, prefix) of a run with the package's network and sampler."""
    folder.mkdir(exist_ok=True)
    given = (
        "--data-dir",
        set_dir,
        "--prefix",
        folder / "model",
        "--max-steps",
        STEPS,
        "--verbose",
        STEPS,
        "--save-every",
        2,
    )
    return insight(site, folder, "train-softmax", *given, *RUN, *OWN, *options, **more)


def done(process):
    assert process.returncode == 0, process.stderr
    return process.stdout


def rows(folder, *kinds):
    lines = [json.loads(line) for line in (folder / "model-log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines if line["kind"] in kinds]


@pytest.fixture(params=[MARGIN, OBJECTIVE], ids=lambda loss: loss[1], scope="module")
def runs(request, site, set_dir, tmp_path_factory):
    """(loss, folder of a run, folder of the same run killed and resumed)."""
    folder = tmp_path_factory.mktemp("runs")
    whole, killed = folder / "whole", folder / "killed"
    assert f"{request.param[1]} " in done(train(site, set_dir, whole, *request.param))
    assert train(site, set_dir, killed, *request.param, kill_at=KILLED).returncode == -9
    assert rows(killed, "step")[-1]["step"] < STEPS
    assert "resumed at step" in done(train(site, set_dir, killed, *request.param, "--resume"))
    return request.param, whole, killed


def test_a_run_resumes_to_the_same_bits(runs):
    _, whole, killed = runs
    same(whole, killed)


def test_a_run_records_the_options_and_resumes_with_no_others(runs, site, set_dir):
    loss, whole, killed = runs
    start = rows(whole, "start")[0]["options"]
    assert (start["sampler"], start["images_each"], start["small_width"]) == ("grouped", 3, 16)
    assert start[loss[2][2:].replace("-", "_")] == loss[3]
    refused = train(site, set_dir, killed, *loss, "--resume", "--images-each", 2)
    assert refused.returncode == 2 and "--images-each 2 (was 3)" in refused.stderr


def test_a_run_is_drawn_and_verified(runs, site, set_dir, tmp_path):
    loss, whole, _ = runs
    done(insight(site, tmp_path, "plot-log", whole / "model-log.jsonl", "--output", "p.png", "--csv", "p.csv"))
    assert (tmp_path / "p.png").stat().st_size > 1000
    figures = ("loss", "identities") if loss is OBJECTIVE else ("loss", "acc")
    for step in rows(whole, "step"):
        assert set(figures) <= set(step)
    assert set(figures) <= set((tmp_path / "p.csv").read_text().splitlines()[0].split(","))
    model = ("--model", f"{whole}/model,1", "--data-dir", set_dir, "--target", "val")
    assert "[val]" in done(insight(site, tmp_path, "verification", *model))


def same(a: Path, b: Path):
    """Checkpoints, states and logs of two runs."""
    names = sorted(path.name for path in a.glob("model-0*.params"))
    assert names and names == sorted(path.name for path in b.glob("model-0*.params"))
    for name in (*names, "model-symbol.json"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    with np.load(a / "model-resume.npz") as mine, np.load(b / "model-resume.npz") as theirs:
        assert mine.files == theirs.files
        for name in mine.files[1:]:
            np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
        states = [json.loads(bytes(one["meta"]))["sampler"] for one in (mine, theirs)]
    assert states[0] == states[1]
    assert sum(count for _, count in states[0]["used"]) == 6 * STEPS
    kinds = ("step", "verification", "saved")
    assert rows(a, *kinds) == rows(b, *kinds)


def test_a_network(site, tmp_path):
    out = done(insight(site, tmp_path, "networks", "small", "--small-width", 16, "--emb-size", 4))
    assert "small" in out
    refused = insight(site, tmp_path, "networks", "y1", "--small-width", 16)
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: --small-width 16: does nothing with MobileFaceNet, which uses --version-output, --version-se, "
        "--version-eca; leave it out\n"
    )
    assert "--small-width X" in done(insight(site, tmp_path, "train-softmax", "--help"))


FIND = """
import sys
from pathlib import Path
from insight.detect.find import finder
from insight.detect.photo import Photo

whole = finder("whole")
found = whole.find(Photo(Path(sys.argv[1]).read_bytes()))
print(whole.identity["detector"], len(found.faces), found.turn)
print(*found.faces[0].points.ravel())
"""


def test_a_detector(site, tmp_path):
    pixels, truth = render_face(0, 0)
    (tmp_path / "face.png").write_bytes(encode(pixels[:, :, ::-1], ".png"))
    about, points = done(python(site, tmp_path, FIND, "face.png")).splitlines()
    assert about == "whole 1 0"
    points = np.array(points.split(), float).reshape(5, 2)
    assert np.hypot(*(points - truth).T).mean() < 4
    assert np.hypot(*(points - template((112, 112))).T).mean() > 0.5  # the second look moved them


def test_an_engine(site, set_dir, tmp_path):
    matrix = np.random.default_rng(0).normal(size=(4, 3 * 112 * 112)).astype(np.float32)
    np.save(tmp_path / "m.npy", matrix)
    for engine in ("linear", "auto"):
        output = tmp_path / f"{engine}.npz"
        given = ("--model", "m.npy", "--input", set_dir / "val.bin", "--output", output, "--engine", engine)
        done(insight(site, tmp_path, "embed", *given))
        assert np.load(output)["embeddings"].shape == (12, 4)
    refused = insight(
        site, tmp_path, "embed", "--model", "x.onnx", "--input", "x", "--output", "y.npz", "--engine", "linear"
    )
    assert "--engine linear: does not take --model x.onnx; these do:" in refused.stderr


def test_a_command(site, set_dir, tmp_path):
    out = done(insight(site, tmp_path, "--help"))
    assert "\nof installed packages:\n  count-people    images of each identity of a set\n" in out
    text = done(insight(site, tmp_path, "count-people", "--help"))
    assert "Prints how many images" in text
    assert text.endswith("examples:\n  # of a set that face2rec wrote\n  insight count-people work/set\n")
    assert done(insight(site, tmp_path, "count_people", set_dir)) == "0 8\n1 8\n2 8\n"


def test_nothing_of_ours_names_the_package():
    files = subprocess.run(["git", "grep", "-l", "my_package"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert [name for name in files if name.startswith(("insight/", "tools/", "deploy/", "setup.py"))] == []


BAD = "bad-package 2.0 (entry point insight."
FLAG = """
from my_package.network import Small
from insight.options import Option


class Net(Small):
    OPTIONS = (Option("lr", 1.0, "no"),)
"""


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    files, points = of_document(ROOT / "docs/extending.md")
    install(folder, "my-package", files, points)
    files = {
        "bad_package/net.py": FLAG,
        "bad_package/fails.py": "1 / 0\n",
    }
    networks = {"y1": "bad_package.net:Net", "greedy": "bad_package.net:Net", "gone": "bad_package.missing:Net"}
    points = {
        "insight.networks": {**networks, "small": "bad_package.net:Net"},
        "insight.commands": {"doctor": "bad_package.net", "hello": "bad_package.fails"},
        "insight.engines": {"gone": "bad_package.missing:Engine"},
    }
    install(folder, "bad-package", files, points, "2.0")
    return folder


class TestBadPackage:
    """Names that exist already, modules that are missing, flags that are taken: one line each, where they matter."""

    def test_commands_list_what_works(self, bad, tmp_path):
        listed = insight(bad, tmp_path, "--help")
        assert "count-people" in done(listed) and "hello" not in listed.stdout
        assert listed.stderr.splitlines() == [
            f"warning: {BAD}commands: doctor = bad_package.net): command 'doctor' already exists in insight; ignored",
            f"warning: {BAD}commands: hello = bad_package.fails): cannot be imported (ZeroDivisionError: division by "
            "zero); repair or uninstall the package",
        ]
        asked = insight(bad, tmp_path, "hello")
        assert asked.returncode == 2
        assert asked.stderr.splitlines()[-1].startswith(
            f"error: {BAD}commands: hello = bad_package.fails): cannot be imported"
        )

    def test_what_needs_none_of_it_is_silent(self, bad, set_dir, tmp_path):
        assert insight(bad, tmp_path, "--version").stderr == ""
        asked = insight(bad, tmp_path, "dataset-check", set_dir)
        assert (asked.returncode, asked.stderr) == (0, "")

    def test_networks(self, bad, tmp_path):
        process = insight(bad, tmp_path, "networks", "r18")
        done(process)
        first, second, third = process.stderr.splitlines()
        assert (
            first
            == f"warning: {BAD}networks: y1 = bad_package.net:Net): network 'y1' already exists in insight; ignored"
        )
        assert second.endswith("network 'small' already exists in bad-package 2.0; ignored")
        assert third.startswith(
            f"warning: {BAD}networks: gone = bad_package.missing:Net): cannot be imported (ModuleNotFound"
        )

    def test_what_is_asked_for_is_an_error(self, bad, set_dir, tmp_path):
        gone = insight(bad, tmp_path, "networks", "gone")
        assert gone.returncode == 2 and gone.stderr.splitlines()[-1].startswith(f"error: {BAD}networks: gone = ")
        given = ("--data-dir", set_dir, "--prefix", tmp_path / "model", *RUN, "--network", "greedy")
        greedy = insight(bad, tmp_path, "train-softmax", *given)
        assert greedy.returncode == 2
        assert greedy.stderr.splitlines()[-1] == (
            f"error: {BAD}networks: greedy = bad_package.net:Net): --lr already exists; rename the option"
        )
        engine = insight(
            bad, tmp_path, "embed", "--model", "m,1", "--input", set_dir, "--output", "e.npz", "--engine", "gone"
        )
        assert engine.returncode == 2
        assert engine.stderr.startswith(f"error: {BAD}engines: gone = bad_package.missing:Engine): cannot be imported")
