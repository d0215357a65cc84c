"""Lines of decoders are captured, other lines are still printed."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from insight.images.decoder_stderr import capture

ROOT = Path(__file__).resolve().parents[2]
LINE = b"Corrupt JPEG data: bad Huffman code\n"


def say(*lines):
    for line in lines:
        os.write(2, line)
    return len(lines)


def test_lines_of_decoders_are_returned_and_not_printed(capfd):
    assert capture(lambda: say(LINE, b"libpng error: IDAT: CRC error\n")) == (
        2,
        ["Corrupt JPEG data: bad Huffman code", "libpng error: IDAT: CRC error"],
    )
    assert capture(lambda: say(LINE[:-1])) == (1, ["Corrupt JPEG data: bad Huffman code"])
    assert capture(say) == (0, [])
    assert capfd.readouterr() == ("", "")


def test_other_lines_are_printed(capfd):
    assert capture(lambda: say(b"INFO:root:Epoch[0]\n", LINE, b"OMP: a warning\n", b"unfinished")) == (
        4,
        ["Corrupt JPEG data: bad Huffman code"],
    )
    assert capfd.readouterr().err == "INFO:root:Epoch[0]\nOMP: a warning\nunfinished"


def test_output_of_other_threads_is_preserved(capfd):
    stop = threading.Event()
    written = []

    def chatter():
        while not stop.is_set():
            line = b"line %d%*s\n" % (len(written), 9000, b"")  # over several pages of a file
            os.write(2, line)
            written.append(line.decode())

    thread = threading.Thread(target=chatter)
    thread.start()
    for _ in range(300):
        assert capture(lambda: say(LINE))[1] == ["Corrupt JPEG data: bad Huffman code"]
    stop.set()
    thread.join()
    capture(say)  # output written just before the end
    assert sorted(capfd.readouterr().err.splitlines(True)) == sorted(written)


def test_stderr_is_restored_after_an_error(capfd):
    def fail():
        os.write(2, LINE)
        raise ValueError

    for _ in range(3):
        try:
            capture(fail)
        except ValueError:
            pass
    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"


def test_the_temporary_file_is_bounded(monkeypatch):
    monkeypatch.setattr("insight.images.decoder_stderr._MOST_BYTES", 1000)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        assert capture(lambda: say(LINE))[1] == ["Corrupt JPEG data: bad Huffman code"]
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_all_descriptors_are_closed():
    capture(say)
    before = os.listdir("/proc/self/fd")
    for _ in range(50):
        capture(lambda: say(LINE))
    assert os.listdir("/proc/self/fd") == before


def test_a_child_that_is_forked_meanwhile_can_capture(capfd):
    def child():
        pid = os.fork()
        if not pid:
            heard = capture(lambda: say(LINE))[1]
            os._exit(0 if heard else 1)
        return os.waitpid(pid, 0)[1]

    assert capture(child)[0] == 0


def test_without_stderr():
    code = "import os; os.close(2); from insight.images.decoder_stderr import capture; print(capture(lambda: 7))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "(7, [])\n"
