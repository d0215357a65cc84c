"""The main workflow in small: all stages of recipes/quickstart.sh, and its failures."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from interrupts import default_sigint

from insight.made_up.writer import write_aligned, write_photos

pytestmark = pytest.mark.usefixtures("in_projects_environment")

ROOT = Path(__file__).parents[2]
SMALL = {"SOFTMAX_STEPS": "6", "ARCFACE_STEPS": "6", "BATCH_SIZE": "8", "PAIRS": "40", "VAL_RATIO": "0.4"}
STAGES = "data align lists records pairs softmax arcface verification slim onnx embed-mxnet embed-onnx".split()


def quickstart(*arguments, **more):
    environment = {**os.environ, **SMALL, **more}
    command = ["bash", str(ROOT / "recipes/quickstart.sh"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT.parent, timeout=600)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "people"
    write_aligned(folder, identities=10, images=6, seed=3)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "people"
    write_photos(folder, identities=10, images=5, seed=3)
    return folder


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    work = tmp_path_factory.mktemp("quickstart") / "run"
    return work, quickstart("--photos", photos, "--output", work)


def test_runs_to_the_end(finished):
    work, run = finished
    assert run.returncode == 0, run.stderr
    rows = [line.split("\t") for line in (work / "stages.tsv").read_text().splitlines()]
    assert [row[1] for row in rows] == STAGES[1:]  # the photos were there
    for _, name, seconds, figure, file in rows:
        assert int(seconds) >= 0 and figure and file, name
    assert "accuracy" in run.stdout and "What next" in run.stdout
    assert re.search(r"images/s: 6 \+ 6 steps of 8 images; finished after about \d+:\d\d\n\n\[6\]", run.stdout)
    assert len(re.findall(r"\n    about \d+:\d\d left\n", run.stdout)) == 7  # each stage from training on
    assert (work / "training.txt").read_text() == "long 8 6 6\n"
    for number, name in enumerate(STAGES, 1):
        assert f"\n[{number}] {name}\n    " in run.stdout


def test_exports_the_listed_files(finished):
    work, _ = finished
    ours, theirs = (np.load(work / name)["embeddings"] for name in ("mxnet.npz", "onnx.npz"))
    assert ours.shape == theirs.shape and ours.shape[1] == 128
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() >= 0.99999
    assert json.loads((work / "verification.json").read_text())["results"][0]["target"] == "val"
    # held-out people are not among the trained ones
    people = [
        {line.split("\t")[1].split("/")[-2] for line in (work / name).read_text().splitlines()}
        for name in ("train.lst", "val.lst")
    ]
    assert len(people[0]) == 6 and len(people[1]) == 4 and not people[0] & people[1]


def test_a_stage_can_be_repeated(finished):
    work, _ = finished
    before = (work / "shipped/model.onnx").stat().st_mtime_ns
    run = quickstart("--output", work, "--stage", 11)
    assert run.returncode == 0, run.stderr
    assert "[11] embed-mxnet" in run.stdout and "[10]" not in run.stdout
    assert (work / "shipped/model.onnx").stat().st_mtime_ns == before
    rows = [line.split("\t")[0] for line in (work / "stages.tsv").read_text().splitlines()]
    assert sorted(rows, key=int) == [str(n) for n in range(2, 13)]


def test_nothing_of_an_earlier_run_is_overwritten(finished, faces):
    work, _ = finished
    run = quickstart(faces, "--output", work)
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: --output {work}: is not empty")


def test_dry_run_writes_nothing(tmp_path):
    run = quickstart("--output", tmp_path / "run", "--dry-run")
    assert run.returncode == 0, run.stderr
    # all stages but align, and the estimate
    assert run.stdout.count("    insight ") == len(STAGES) and run.stdout.count(" --estimate\n") == 1
    assert not (tmp_path / "run").exists()


def commands(run) -> dict:
    """The printed command, or note, of each stage."""
    assert run.returncode == 0, run.stderr
    return dict(re.findall(r"\n\[\d+\] (\S+)\n    (.*)\n", run.stdout))


def test_photos_and_aligned_faces_differ_in_two_stages(photos, faces, tmp_path):
    work = tmp_path / "run"
    raw, aligned = (
        commands(quickstart(*source, "--output", work, "--dry-run")) for source in (["--photos", photos], [faces])
    )
    assert list(raw) == list(aligned) == STAGES
    assert raw["data"] == f"{photos} (yours: only read)"
    assert raw["align"].startswith(f"insight align-faces {photos} {work}/faces")
    assert aligned["data"] == f"{faces} (yours: only read)" and aligned["align"] == f"{faces} (aligned already)"
    assert raw["lists"] == aligned["lists"].replace(str(faces), f"{work}/faces")
    assert [raw[name] for name in STAGES[3:]] == [aligned[name] for name in STAGES[3:]]


def test_a_resumed_run_knows_its_photos(finished, photos, faces):
    work, _ = finished
    again = commands(quickstart("--output", work, "--stage", 2, "--dry-run"))
    assert list(again) == STAGES[1:]
    assert again["align"].startswith(f"insight align-faces {photos} {work}/faces")
    other = commands(quickstart(faces, "--output", work, "--stage", 2, "--dry-run"))
    assert other["align"] == f"{faces} (aligned already)"


def test_photos_and_aligned_faces_exclude_one_another(photos, faces):
    run = quickstart(faces, "--photos", photos, "--dry-run")
    assert run.returncode == 2
    assert run.stderr == f"error: {faces}, --photos {photos}: give aligned faces or photos, not both\n"


@pytest.mark.parametrize(
    "make, line",
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "error: "),
        (lambda folder: write_aligned(folder, identities=1, images=3, seed=0), "error: "),
    ],
    ids=["missing", "empty", "one identity"],
)
@pytest.mark.parametrize("option", [[], ["--photos"]], ids=["aligned", "photos"])
def test_bad_folders(tmp_path, option, make, line):
    make(tmp_path / "faces")
    run = quickstart(*option, tmp_path / "faces", "--output", tmp_path / "run")
    assert run.returncode == 2
    errors = [text for text in (run.stderr + run.stdout).splitlines() if text.startswith("error: ")]
    assert len(errors) == 1 and line in errors[0]
    assert any(str(folder) in errors[0] for folder in (tmp_path / "faces", tmp_path / "run/faces"))
    assert "Traceback" not in run.stderr + run.stdout
    assert not list(tmp_path.rglob("*.lst")) and not list(tmp_path.rglob("*.partial"))


def test_a_text_file_named_jpg_is_skipped_and_listed(faces, tmp_path):
    folder = tmp_path / "faces"
    write_aligned(folder, identities=4, images=3, seed=1)
    person = sorted(folder.iterdir())[0]
    (person / "notes.jpg").write_text("no picture")
    pack = [sys.executable, "-m", "insight.cli"]
    subprocess.run([*pack, "dir2lst", folder, tmp_path / "all.lst"], check=True, capture_output=True)
    run = subprocess.run(
        [*pack, "face2rec", tmp_path / "all.lst", "--output", tmp_path / "set"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "12 images" in run.stdout and "1 " in run.stdout
    skipped = list((tmp_path / "set").glob("*skipped.csv"))
    assert len(skipped) == 1 and "notes.jpg" in skipped[0].read_text()


def test_ctrl_c_in_training(finished, tmp_path):
    work, _ = finished
    command = [
        sys.executable,
        "-m",
        "insight.cli",
        "train-softmax",
        "--data-dir",
        work / "set",
        "--target",
        "",
        "--prefix",
    ]
    command += [
        tmp_path / "m/model",
        "--network",
        "y1",
        "--emb-size",
        "16",
        "--per-batch-size",
        "8",
        "--max-steps",
        "400",
        "--frequent",
        "1",
    ]
    process = subprocess.Popen(
        list(map(str, command)),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=default_sigint,
    )
    for line in process.stderr:
        if "Batch [3]" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130
    lines = [line for line in rest.splitlines() if not line.startswith("INFO:")]
    assert len(lines) == 2 and lines[0].startswith("stopping when this step is done"), rest
    assert re.match(r"error: stopped at step \d+ of 400; --resume goes on from ", lines[1])
    left = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert left == ["model-log.jsonl", "model-resume.npz", "model-tensorboard"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_disk(finished, tmp_path):
    work, _ = finished
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs to be had: {mounted.stderr.strip()}")
    try:
        spec = f"{work}/shipped/model,0"
        for command in (
            ["model-slim", "--model", spec, "--output", small / "copy"],
            ["export-onnx", "--model", spec, "--output", small / "model.onnx"],
            ["made-up-faces", small / "faces"],
        ):
            line = [sys.executable, "-m", "insight.cli", *map(str, command)]
            run = subprocess.run(line, capture_output=True, text=True)
            assert run.returncode == 2, (command, run.stderr)
            assert run.stderr.count("error: ") == 1 and "No space left" in run.stderr, run.stderr
            assert "Traceback" not in run.stderr
            assert sum(path.stat().st_size for path in small.rglob("*.p*") if path.is_file()) == 0
            assert not (small / "faces").exists() and not (small / "model.onnx").exists()
    finally:
        time.sleep(0.2)
        subprocess.run(["umount", "-l", small], check=False)
