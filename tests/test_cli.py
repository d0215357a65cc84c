"""The command line: all commands exist, have help, and fail with one line."""

import errno
import os
import platform
import re
import subprocess
import sys
import tempfile
import types
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from interrupts import default_sigint

from insight import __version__, cli
from insight.errors import CheckFailed, InsightError

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = cli.command_names()
# Hosts of package registries, and pip's options that name one; in brackets, so that this line is none itself.
REGISTRY = re.compile(
    r"[p]ypi\.(org|python)|[p]ythonhosted|registry\.[n]pmjs|[d]eb\.debian|--(extra-)?[i]ndex-url|--[t]rusted-host", re.I
)
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
HEAVY = ("numpy", "cv2", "mxnet", "rich", "onnx", "onnxruntime")


def insight(*args, **kwargs):
    code = "import sys; from insight.cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, cwd=ROOT, **kwargs)


class TestHelp:
    def test_loads_nothing_heavy(self):
        code = f"import sys; from insight.cli import main; main(['--help']); print(*set({HEAVY}) & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "")

    @pytest.mark.parametrize("name", COMMANDS)
    def test_of_a_command(self, name, capsys):
        module = cli.load(name)
        assert "\n" not in module.HELP
        assert module.HELP in cli.overview()
        with pytest.raises(SystemExit) as left:
            cli.main([name, "--help"])
        assert left.value.code == 0
        out = capsys.readouterr().out
        assert out.startswith(f"usage: insight {name} ")
        assert module.HELP in out

    @pytest.mark.parametrize("name", COMMANDS)
    def test_each_option_has_a_help_text(self, name):
        silent = [action.dest for action in cli.build_parser(name)._actions if not action.help]
        assert silent == []

    def test_no_command(self, capsys):
        assert cli.main([]) == 2
        assert cli.main(["--help"]) == 0
        assert capsys.readouterr().out.count("commands:") == 2

    def test_version(self, capsys):
        assert cli.main(["--version"]) == 0
        assert capsys.readouterr().out == f"insight {__version__}\n"


class TestFailures:
    """Each expected failure: its status, and exactly one line on stderr."""

    @pytest.fixture
    def command(self, monkeypatch):
        """Replace the run function of the command ``doctor``."""

        def make(run):
            module = types.SimpleNamespace(HELP="", __doc__="", add_arguments=lambda parser: None, run=run)
            monkeypatch.setattr(cli, "load", lambda name: module)

        return make

    @staticmethod
    def line(capsys):
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        assert line.startswith("error: ")
        return line[len("error: ") :]

    def test_unknown_command_lists_the_known(self, capsys):
        assert cli.main(["frobnicate"]) == 2
        line = self.line(capsys)
        assert "frobnicate" in line
        assert all(name in line for name in COMMANDS)

    def test_a_path_is_not_a_command(self, capsys):
        assert cli.main(["../cli/doctor"]) == 2
        self.line(capsys)

    @pytest.mark.parametrize(
        "argv", [["doctor", "--frobnicate"], ["doctor", "--timeout", "soon"], ["doctor", "--time", "3"]]
    )
    def test_bad_option(self, argv, capsys):
        assert cli.main(argv) == 2
        assert self.line(capsys).endswith("; see insight doctor --help")

    @pytest.mark.parametrize(
        ("error", "status", "says"),
        [
            (InsightError("a.rec: broken\nhere; do that"), 2, "a.rec: broken here; do that"),
            (CheckFailed("cosine 0.5 below 0.9999"), 1, "cosine 0.5 below 0.9999"),
            (KeyboardInterrupt(), 130, "interrupted"),
            (MemoryError(), 2, "out of memory"),
            (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.rec"), 2, "out.rec: No space left on device"),
            (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "writing: No space left on device"),
            (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/root/x"), 2, "/root/x: Permission denied"),
            (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "long"), 2, "long: File name too long"),
        ],
    )
    def test_expected_failures(self, command, capsys, error, status, says):
        def run(args):
            raise error

        command(run)
        assert cli.main(["doctor"]) == status
        assert says in self.line(capsys)

    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a.rec"), "a.rec: No such file or directory"),
            (NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), b"a/b"), "a/b: Not a directory"),
            (OSError(errno.EXDEV, os.strerror(errno.EXDEV), "a", None, "b"), "a -> b: Invalid cross-device link"),
            (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "reading or writing: Cannot allocate memory"),
            (BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)), "writing: Broken pipe"),
            (ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)), "Connection refused"),
            (TimeoutError("no answer in 3 s"), "no answer in 3 s"),
            (BrokenProcessPool("terminated abruptly"), "a worker process was killed"),
            (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "No module named 'cv2'"),
            (type("MXNetError", (Exception,), {})("cudaMalloc retry failed: out of memory"), "GPU memory is exhausted"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
    )
    def test_refusals_of_the_system(self, command, capsys, error, says):
        def run(args):
            raise error

        command(run)
        assert cli.main(["doctor"]) == 2
        assert says in self.line(capsys)

    @pytest.mark.parametrize(
        "error",
        [
            ZeroDivisionError("division by zero"),
            OSError(errno.EBADF, os.strerror(errno.EBADF)),
            KeyError("fc7_weight"),
            ImportError("cannot import name 'x' from 'insight.data'", name="insight.data"),
            type("MXNetError", (Exception,), {})("Check failed: a == b\nStack trace:\n  [bt] (0) libmxnet.so"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_a_defect_asks_for_a_report(self, command, capsys, monkeypatch, tmp_path, error):
        def run(args):
            raise error

        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        command(run)
        assert cli.main(["doctor"]) == 70
        line = self.line(capsys)
        assert line.startswith(f"{type(error).__name__}: ")
        assert "libmxnet.so" not in line
        (report,) = tmp_path.iterdir()
        assert line.endswith(f"please report it: the traceback is in {report}")
        text = report.read_text(encoding="utf-8")
        assert f"insight {__version__}, Python {platform.python_version()}" in text
        assert "command: insight doctor" in text
        assert "Traceback (most recent call last)" in text
        assert "raise error" in text

    def test_a_defect_where_no_file_can_be_written(self, command, capsys, monkeypatch, tmp_path):
        def run(args):
            raise ZeroDivisionError

        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
        command(run)
        assert cli.main(["doctor"]) == 70
        lines = capsys.readouterr().err.splitlines()
        assert "Traceback (most recent call last):" in lines
        assert lines[-1].endswith("the traceback is above")

    @pytest.mark.parametrize("error", [InsightError("bad input"), ZeroDivisionError("bad code")])
    def test_traceback_on_request(self, command, capsys, monkeypatch, tmp_path, error):
        def run(args):
            raise error

        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setenv("INSIGHT_TRACEBACK", "1")
        command(run)
        cli.main(["doctor"])
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[-1].startswith("error: ")

    def test_a_name_that_is_not_utf8_is_printed(self, command):
        code = """if True:
            import sys, types
            from insight import cli
            from insight.errors import InsightError
            def run(args):
                print("a\\udcff.jpg")
                raise InsightError("a\\udcff.jpg: broken")
            cli.load = lambda name: types.SimpleNamespace(HELP="", __doc__="", add_arguments=lambda p: None, run=run)
            sys.exit(cli.main(["doctor"]))
        """
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii:strict"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, env=environment)
        assert (done.returncode, done.stdout) == (2, b"a\\udcff.jpg\n")
        assert done.stderr == b"error: a\\udcff.jpg: broken\n"

    @pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
    def test_status_of_a_command(self, command, returned, status):
        command(lambda args: returned)
        assert cli.main(["doctor"]) == status

    PRINTS = """if True:
        import sys, types
        from insight import cli
        def run(args):
            for _ in range({lines}):
                print("a line of a report")
        cli.load = lambda name: types.SimpleNamespace(HELP="", __doc__="", add_arguments=lambda parser: None, run=run)
        sys.exit(cli.main(["doctor"]))
    """

    CUT_SHORT = b"error: standard output: its reader ended before the command was done\n"

    # Less and more than a pipe and Python's buffer hold: the work was done by then, or was cut short.
    @pytest.mark.parametrize("lines, status, says", [(1, 0, b""), (100000, 2, CUT_SHORT)])
    def test_closed_stdout(self, lines, status, says):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-c", self.PRINTS.format(lines=lines)],
            stdout=writer,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=BUFFERED,
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (status, says)

    @pytest.mark.parametrize("argv", [["--help"], ["--version"], ["doctor", "--help"]])
    def test_closed_stdout_of_help(self, argv):
        reader, writer = os.pipe()
        os.close(reader)
        code = f"import sys; from insight.cli import main; sys.exit(main({argv}))"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, env=BUFFERED)
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, b"")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
    @pytest.mark.parametrize("lines", [1, 100000])
    def test_full_disk_behind_stdout(self, lines):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-c", self.PRINTS.format(lines=lines)],
                stdout=full,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                env=BUFFERED,
            )
        assert (done.returncode, done.stderr) == (2, b"error: writing: No space left on device\n")


class TestThinScripts:
    BODY = re.compile(
        r'"""[^"\n]+"""\n\nfrom insight\.cli import script\n\nif __name__ == "__main__":\n    script\(__file__\)\n'
    )
    CLASS = ROOT / "deploy/face_embedding.py"  # an example of a class, and no command
    PATHS = sorted({*(ROOT / "tools").glob("*.py"), *(ROOT / "deploy").glob("*.py")} - {CLASS})

    def test_there_is_one_for_each_command_and_no_other(self):
        names = {path.stem.replace("_", "-") for path in self.PATHS}
        assert names == {*COMMANDS, *cli.ALIASES} and set(cli.ALIASES.values()) <= set(COMMANDS)

    def test_exports_are_in_deploy(self):
        shipping = {"model_slim", "export_onnx", "export_ncnn", "benchmark"}
        deployed = {path.stem for path in (ROOT / "deploy").glob("*.py")} - {self.CLASS.stem}
        assert deployed == shipping & {path.stem for path in self.PATHS}

    @pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
    def test_is_thin(self, path):
        assert self.BODY.fullmatch(path.read_text(encoding="utf-8"))

    def test_runs_the_command_of_its_name(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, ROOT / "tools/train_softmax.py", "--help"], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0
        assert done.stdout.startswith("usage: train_softmax.py ")
        assert cli.load("train-softmax").HELP in done.stdout


class TestHouse:
    SOURCES = sorted((ROOT / "insight").rglob("*.py"))

    def test_files_are_short(self):
        assert {str(p): n for p in self.SOURCES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 350} == {}

    def test_no_grab_bags(self):
        bags = {"utils", "util", "common", "misc", "helpers", "helper"}
        assert [str(path) for path in ROOT.rglob("*.py") if path.stem in bags and ".venv" not in path.parts] == []

    def test_no_registry_is_named(self):
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if listed.returncode:
            pytest.skip("not a git checkout")
        paths = [ROOT / name for name in listed.stdout.splitlines()]
        assert [str(p) for p in paths if p.is_file() and REGISTRY.search(p.read_text("utf-8", errors="replace"))] == []


LOSSY = """
import os, signal, sys, time
from insight.cli._sigint import never_lose

class Array:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C at the worst moment
        time.sleep(0.05)

if sys.argv[1] == "ours":
    never_lose()
try:
    Array()
    time.sleep(1)
    print("lost")
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.parametrize("handler, heard", [("python's", "lost"), ("ours", "heard")])
def test_ctrl_c_inside_a_destructor(handler, heard):
    run = subprocess.run(
        [sys.executable, "-c", LOSSY, handler], capture_output=True, text=True, preexec_fn=default_sigint, cwd=ROOT
    )
    assert run.stdout.strip() == heard, run.stderr
