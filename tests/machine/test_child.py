"""Child processes: what they print, and how they end."""

import signal
import time

from insight.machine.child import run_child


def test_lines_and_arguments():
    code = """if True:
        import json, sys
        print("noise")
        print(json.dumps({"a": sys.argv[1:]}))
        print("noise", file=sys.stderr)
        print("", file=sys.stderr)
    """
    assert run_child(code, 30, arguments=["b", "c"]) == ([{"a": ["b", "c"]}], 0, "", "noise")


def test_environment():
    code = "import json, os; print(json.dumps({'a': os.environ['OMP_NUM_THREADS']}))"
    assert run_child(code, environment={"OMP_NUM_THREADS": "3"}).facts == [{"a": "3"}]


def test_reports_the_last_stage_of_a_hung_child():
    start = time.monotonic()
    ended = run_child("import time; print('{\"a\": 1}', flush=True); time.sleep(60)", 1)
    assert ended == ([{"a": 1}], None, "gave no answer within 1 s", "")
    assert time.monotonic() - start < 20


def test_crash():
    code = f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})"
    assert run_child(code, 30) == ([], -signal.SIGSEGV, "died of SIGSEGV", "")


def test_failure():
    assert run_child("raise SystemExit('no luck')", 30) == ([], 1, "failed: no luck", "no luck")
    assert run_child("raise SystemExit(3)", 30) == ([], 3, "failed: no message", "")
