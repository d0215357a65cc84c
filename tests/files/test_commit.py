"""Files that appear together, under errors and under SIGKILL at every step of the commit."""

import os
import signal
import subprocess
import sys

import pytest

from insight.errors import InsightError
from insight.files import commit
from insight.files.commit import commit_together, folder_beside, unfinished

NAMES = ["train.rec", "train.idx", "property"]


def write_all(folder, text, **options):
    with commit_together(folder, NAMES, **options) as staging:
        for name in NAMES:
            staging.path(name).write_text(text)


def contents(folder):
    return {p.name: p.read_text() for p in folder.iterdir()}


def test_all_appear_at_the_end(tmp_path):
    folder = tmp_path / "new/set"
    with commit_together(folder, NAMES) as staging:
        for name in NAMES:
            staging.path(name).write_text("1")
        staging.path("extra.csv").write_text("e")
        assert not any((folder / name).exists() for name in [*NAMES, "extra.csv"])
    assert contents(folder) == {**dict.fromkeys(NAMES, "1"), "extra.csv": "e"}


def test_nothing_appears_after_an_error(tmp_path):
    def fail():
        with commit_together(tmp_path, NAMES) as staging:
            staging.path("train.rec").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert contents(tmp_path) == {}


def test_of_two_concurrent_runs_the_first_to_end_wins(tmp_path):
    def race():
        with commit_together(tmp_path, NAMES) as staging:
            for name in NAMES:
                staging.path(name).write_text("slow")
                (tmp_path / name).write_text("fast")

    with pytest.raises(InsightError, match="already exists"):
        race()
    assert contents(tmp_path) == dict.fromkeys(NAMES, "fast")


@pytest.mark.parametrize("name", [*NAMES, "extra.csv"])
def test_a_folder_in_the_way_raises_and_the_old_files_are_kept(tmp_path, name):
    write_all(tmp_path, "1")
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()

    def write_over():
        with commit_together(tmp_path, NAMES, overwrite=True) as staging:
            for each in [*NAMES, "extra.csv"]:
                staging.path(each).write_text("2")

    with pytest.raises(InsightError, match=f"{name}: a folder, want a file to write"):
        write_over()
    (tmp_path / name).rmdir()
    assert contents(tmp_path) == {each: "1" for each in NAMES if each != name}


def test_refuses_and_replaces(tmp_path):
    write_all(tmp_path, "1")
    with pytest.raises(InsightError, match=r"train\.rec: already exists; give another output, or --overwrite"):
        write_all(tmp_path, "2")
    assert contents(tmp_path) == dict.fromkeys(NAMES, "1")
    (tmp_path / "train.skipped.csv").write_text("old")
    with commit_together(tmp_path, NAMES, overwrite=True) as staging:
        for name in NAMES:
            staging.path(name).write_text("2")
        staging.obsolete.append("train.skipped.csv")
        assert contents(tmp_path)["train.skipped.csv"] == "old"
    assert contents(tmp_path) == dict.fromkeys(NAMES, "2")


KILLED = """
import os, signal, sys
from insight.files import commit
step = [int(sys.argv[2])]
def kill_at_zero(function):
    def wrapped(*arguments, **options):
        if step[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        step[0] -= 1
        return function(*arguments, **options)
    return wrapped
for name in ("fsync", "replace", "unlink"):
    setattr(os, name, kill_at_zero(getattr(os, name)))
names = ["train.rec", "train.idx", "property"]
with commit.commit_together(sys.argv[1], names, overwrite=sys.argv[3] == "over") as staging:
    for name in names:
        staging.path(name).write_text("new")
"""


@pytest.mark.parametrize("over", ["over", "fresh"])
def test_killed_at_every_step(tmp_path, over):
    """SIGKILL before any system call: readers see a complete set or none, and a rerun completes."""
    survived = False
    for step in range(40):
        folder = tmp_path / str(step)
        folder.mkdir()
        if over == "over":
            write_all(folder, "old")
        done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(step), over])
        existing = {name: (folder / name).read_text() for name in NAMES if (folder / name).exists()}
        if done.returncode == 0:
            survived = True
            assert contents(folder) == dict.fromkeys(NAMES, "new")
            break
        assert done.returncode == -signal.SIGKILL
        if "property" in existing:
            assert existing in (dict.fromkeys(NAMES, "new"), dict.fromkeys(NAMES, "old"))
            assert not unfinished(folder)
        elif existing:
            assert set(existing) <= set(unfinished(folder)), "a part exists and is not recognised as unfinished"
        if "property" not in existing:
            write_all(folder, "again")
        else:
            write_all(folder, "again", overwrite=True)
        assert contents(folder) == dict.fromkeys(NAMES, "again"), "a rerun leaves leftovers"
    assert survived
    assert step > 8


@pytest.mark.parametrize("name", [*NAMES, "extra.csv"])
def test_a_folder_is_never_replaced(tmp_path, name):
    write_all(tmp_path, "old")
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    before = sorted(tmp_path.iterdir())

    def overwrite():
        with commit_together(tmp_path, NAMES, overwrite=True) as staging:
            for each in [*NAMES, "extra.csv"]:
                staging.path(each).write_text("new")

    with pytest.raises(InsightError, match=f"{name}: a folder, want a file to write"):
        overwrite()
    assert sorted(tmp_path.iterdir()) == before
    assert all(path.is_dir() or path.read_text() == "old" for path in before)


def test_a_set_that_a_running_process_writes_is_not_unfinished(tmp_path):
    parent = os.getppid()
    (tmp_path / f".commit.property.{parent}.json").write_text('{"names": ["train.rec"]}')
    (tmp_path / "train.rec").write_text("half")
    assert unfinished(tmp_path) == []
    with pytest.raises(InsightError, match="already exists"):
        write_all(tmp_path, "1")


def test_a_truncated_journal_is_ignored(tmp_path):
    (tmp_path / ".commit.property.999999999.json").write_text('{"names": ["tr')
    assert unfinished(tmp_path) == []


def test_folder(tmp_path):
    def fill(fail=False):
        with folder_beside(tmp_path / "out") as folder:
            (folder / "a").write_text("1")
            assert not (tmp_path / "out/a").exists()
            if fail:
                raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fill(fail=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".out.999999999.partial").mkdir()  # left by a killed process
    (tmp_path / "out").mkdir()
    fill()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    with pytest.raises(InsightError, match="out: exists and is not an empty folder"):
        fill()
    (tmp_path / "file").write_text("")
    with pytest.raises(InsightError, match="file: exists"), folder_beside(tmp_path / "file"):
        pass


def test_names_with_glob_characters(tmp_path):
    folder = tmp_path / "a[1]*"
    write_all(folder, "1")
    assert contents(folder) == dict.fromkeys(NAMES, "1")
    assert commit.unfinished(folder) == []
