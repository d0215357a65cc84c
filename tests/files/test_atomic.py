"""Single files: readers see the old or the complete new one, and no temporary file remains."""

import os
import signal
import subprocess
import sys

import pytest

from insight.errors import InsightError
from insight.files.atomic import check_output, make_folder, sweep, temporary_beside, write_beside, write_text


def test_the_new_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new/a.txt"
    with write_beside(path, "w") as out:
        out.write("1")
        assert not path.exists()
    assert path.read_text() == "1"
    write_text(path, "é")
    assert path.read_bytes() == "é".encode()
    assert os.listdir(tmp_path / "new") == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_old_file_is_kept_on_an_error(tmp_path, error):
    (tmp_path / "a").write_text("old")

    def fail():
        with write_beside(tmp_path / "a", "w") as out:
            out.write("new")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_files_of_killed_writers_are_removed_and_those_of_running_ones_kept(tmp_path):
    code = (
        "import os, signal, sys; from insight.files.atomic import write_beside\n"
        "with write_beside(sys.argv[1]) as out:\n"
        "    out.write(b'half'); out.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a[1]*.rec")]).returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 1
    living = tmp_path / f".a[1]*.rec.{os.getppid()}.partial"
    other = tmp_path / ".a1x.rec.999999999.partial"  # of another file, though the pattern might match it
    for path in (living, other):
        path.write_text("")
    sweep(tmp_path / "a[1]*.rec")
    assert sorted(os.listdir(tmp_path)) == sorted([living.name, other.name])
    write_text(tmp_path / "a[1]*.rec", "whole")
    assert (tmp_path / "a[1]*.rec").read_text() == "whole"


def test_folders_and_files_in_the_way(tmp_path):
    (tmp_path / "file").touch()
    assert make_folder(tmp_path / "a/b") == tmp_path / "a/b"
    for folder in ("file", "file/a/b"):
        with pytest.raises(InsightError, match=r"file: a file, want a folder"):
            make_folder(tmp_path / folder)
    with (
        pytest.raises(InsightError, match="a: a folder, want a file to write"),
        temporary_beside(tmp_path / "a"),
    ):
        pass


@pytest.mark.parametrize(
    "path, message",
    [
        ("folder", "--output {0}/folder: a folder, want a file to write"),
        ("file/x/a.txt", "{0}/file: a file, want a folder"),
        ("folder/../file", "--output {0}/folder/../file: is an input, too, and would be replaced"),
        ("link", "--output {0}/link: is an input, too"),
        ("pipe", "--output {0}/pipe: a device or a pipe"),
    ],
)
def test_unwritable_outputs_raise_before_any_work(tmp_path, path, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("1")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InsightError) as error:
        check_output(tmp_path / path, "--output", [tmp_path / "other", tmp_path / "file"])
    assert str(error.value).startswith(message.format(tmp_path))


def test_a_read_only_folder_raises(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: os.fspath(path) != str(tmp_path))  # root may write anywhere
    with pytest.raises(InsightError, match=f"--csv {tmp_path}/new/a.csv: {tmp_path} cannot be written to"):
        check_output(tmp_path / "new/a.csv", "--csv")


def test_a_valid_output_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("a.txt", tmp_path / "new/folder/a.txt"):
        check_output(path, "--output", [tmp_path / "other"])
    assert os.listdir(tmp_path) == []
