"""File descriptor 2 sent elsewhere."""

import os
import subprocess
import sys
import threading

import pytest

from insight.machine.stderr import discarded, redirected


def test_what_is_written_meanwhile_goes_to_the_file(tmp_path, capfd):
    def fail(descriptor):
        with redirected(descriptor) as there:
            assert there
            os.write(2, b"in\n")
            raise RuntimeError

    with open(tmp_path / "a", "wb") as file, pytest.raises(RuntimeError):
        fail(file.fileno())
    os.write(2, b"out\n")
    assert (tmp_path / "a").read_bytes() == b"in\n"
    assert capfd.readouterr().err == "out\n"


def test_discarded_within_another(tmp_path, capfd):
    with open(tmp_path / "a", "wb") as file, redirected(file.fileno()):
        with discarded():
            os.write(2, b"lost\n")
        os.write(2, b"kept\n")
    assert (tmp_path / "a").read_bytes() == b"kept\n"
    assert capfd.readouterr().err == ""


def test_one_thread_at_a_time(tmp_path):
    entered = threading.Event()

    def other():
        with discarded():
            entered.set()

    with discarded():
        thread = threading.Thread(target=other)
        thread.start()
        assert not entered.wait(0.1)
    thread.join()
    assert entered.is_set()


def test_without_stderr():
    code = "import os; os.close(2); from insight.machine.stderr import discarded\nwith discarded(): print('done')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert done.stdout == "done\n"
