"""SIGKILL and Ctrl-C at random moments of align-faces. INSIGHT_KILLS sets the number of kills; 3 without it.

With INSIGHT_KILLS, the photos are real ones (INSIGHT_TEST_DATA), and their faces are detected.
"""

import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from interrupts import default_sigint
from raw_folders import RawFolder, contents

KILLS = int(os.environ.get("INSIGHT_KILLS", "3"))
ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "import sys; from insight.cli import main; sys.exit(main())", "align-faces", "raw"]
WORKERS = (1, 2, 4)


def start(folder, out, workers, *options):
    command = [*COMMAND, out, "--num-workers", str(workers), *options]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=environment, preexec_fn=default_sigint, **quiet)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A raw folder, the options to align it, the result, and the seconds that it took."""
    folder, options = photos(tmp_path_factory.mktemp("many"))
    begin = time.monotonic()
    assert start(folder, "reference", 1, *options).wait() == 0
    return folder, options, contents(folder / "reference"), time.monotonic() - begin


def photos(tmp_path):
    if "INSIGHT_KILLS" in os.environ and os.environ.get("INSIGHT_TEST_DATA"):
        with tarfile.open(Path(os.environ["INSIGHT_TEST_DATA"]) / "data/johns.tar") as archive:
            archive.extractall(tmp_path)
        (tmp_path / "johns").rename(tmp_path / "raw")
        return tmp_path, ["--multi", "all"]
    raw = RawFolder(tmp_path / "raw")
    for folder in range(24):
        for photo in range(8):
            raw.photo(f"{folder:02d}/{photo}.jpg", [(folder, 50, 40, 150), (photo, 250, 40, 100)])
    return tmp_path, ["--multi", "all", "--landmarks", raw.table()]


def test_a_killed_run_goes_on_to_the_same_bytes(many):
    folder, options, reference, whole = many
    rng = random.Random(0)
    killed, partly, runs = 0, 0, 0
    while killed < KILLS:
        runs += 1
        process = start(folder, f"out{runs}", WORKERS[runs % 3], *options)
        time.sleep(rng.uniform(0.1, 1.0) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += process.returncode == -signal.SIGKILL
        partly += 0 < crops_in(folder / f"out{runs}") < crops_in(folder / "reference")
        table = folder / f"out{runs}/faces.csv"  # the last file: whole, or not there
        assert not table.exists() or table.read_bytes() == (folder / "reference/faces.csv").read_bytes()
        assert start(folder, f"out{runs}", WORKERS[(runs // 3) % 3], *options).wait() == 0
        assert contents(folder / f"out{runs}") == reference
    print(f"{killed} of {runs} runs were killed, {partly} in the middle of their crops; all went on to the same bytes")


def test_interrupted_by_the_user(many):
    folder, options, reference, _ = many
    process = start(folder, "interrupted", 2, *options)
    while process.poll() is None and not list((folder / "interrupted").glob("*/*.jpg")):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert process.wait() in (0, 130)
    assert not list((folder / "interrupted").glob(".faces.csv.*"))
    assert start(folder, "interrupted", 2, *options).wait() == 0
    assert contents(folder / "interrupted") == reference


def test_workers_end_when_the_command_is_killed(many):
    folder, options, *_ = many
    process = start(folder, "out", 2, *options)
    while process.poll() is None and not list((folder / "out").glob("*/*.jpg")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 10
    while time.monotonic() < end and at_work(folder):
        time.sleep(0.05)
    assert at_work(folder) == []


def crops_in(out):
    return len(list(out.glob("[!.]*/*.jpg")))


def at_work(folder):
    """Processes whose working directory is the folder."""
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if (
                os.readlink(f"/proc/{pid}/cwd") == str(folder)
                and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
            ):
                pids.append(int(pid))
        except OSError:
            continue
    return pids
