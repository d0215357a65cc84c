"""The benchmark: which rows there are, what is computed of their times, what happens when one fails."""

import csv
import itertools
import json
import sys

import numpy as np
import pytest
from small_networks import filled, mobile

from insight import checkpoint, cli, engines
from insight.checkpoint import Checkpoint
from insight.errors import InsightError
from insight.machine.child import Ended
from insight.speed import compare, worker
from insight.speed.rows import Row, rows
from insight.speed.table import BenchmarkReport, Line, write_csv

NOTHING = Ended([], 0, "", "")  # of a child that prints nothing
OF_A_CHECKPOINT = [
    "mxnet plain",
    "mxnet fast",
    "onnxruntime plain",
    "onnxruntime fast",
    "openvino",
    "openvino bfloat16",
    "ncnn",
    "ncnn bfloat16",
]


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    prefix = str(tmp_path_factory.mktemp("model") / "net")
    checkpoint.save(prefix, 3, Checkpoint(*filled(mobile())))
    return f"{prefix},3"


class TestRows:
    @pytest.mark.parametrize(
        ("model", "titles"),
        [
            ("a/net,3", OF_A_CHECKPOINT),
            ("m.onnx", ["onnxruntime", "openvino", "openvino bfloat16"]),
            ("m.xml", ["openvino", "openvino bfloat16"]),
            ("m.param", ["ncnn", "ncnn bfloat16"]),
        ],
    )
    def test_of_a_model(self, model, titles):
        assert [str(row) for row in rows([model])] == titles

    def test_of_several_stand_model_by_model(self):
        found = rows(["m.xml", "a/net,3"], ["openvino"])
        assert [(row.model, row.dtype) for row in found] == list(
            itertools.product(["m.xml", "a/net,3"], ["float32", "bfloat16"])
        )

    @pytest.mark.parametrize(
        ("model", "runtimes", "says"),
        [
            ("m.tflite", None, "--model m.tflite: no kind of model that is known; known: prefix,epoch"),
            ("m.xml", ["mxnet"], "--model m.xml: these run it: openvino"),
            ("m.xml", ["tpu"], "--engine 'tpu' is not known; known: auto, mxnet"),
        ],
    )
    def test_that_do_not_exist(self, model, runtimes, says):
        with pytest.raises(InsightError, match=says):
            rows([model], runtimes)


class TestTimes:
    @staticmethod
    def timed(seconds_per_call, budget):
        """(calls in all, times) with a clock that only calls move."""
        now, calls = [0.0], []

        def call():
            calls.append(1)
            now[0] += seconds_per_call[min(len(calls), len(seconds_per_call)) - 1]

        return calls, worker.timed(call, budget, lambda: now[0])

    def test_warm_up_is_not_counted(self):
        calls, times = self.timed([8, 1], 16)  # the first call plans: with it, the warm-up has its quarter
        assert len(calls) == 1 + 16
        assert times == [1] * 16

    def test_warm_up_takes_a_quarter(self):
        calls, times = self.timed([1], 16)
        assert (len(calls), len(times)) == (4 + 16, 16)

    def test_slow_calls_are_three(self):
        for budget in (1, 0):
            calls, times = self.timed([100], budget)
            assert (len(calls), times) == (1 + 3, [100, 100, 100])


class Children:
    """Stands in for processes: remembers the jobs, and answers with times by row and round."""

    def __init__(self, monkeypatch, milliseconds, fail=None, stop_after=None):
        self.measured, self.threads = [], []
        self._milliseconds, self._fail, self._stop = milliseconds, fail or {}, stop_after
        monkeypatch.setattr(compare, "_child", self)

    def __call__(self, job, threads):
        job = json.loads(json.dumps(job))
        row = Row(*job["row"])
        if job["task"] == "convert":
            return [], self._fail.get("convert", "").format(path=job["path"])
        if len(self.measured) == self._stop:
            raise KeyboardInterrupt
        self.measured.append((str(row), threads))
        self.threads.append(job["threads"])
        if str(row) in self._fail:
            return [], self._fail[str(row)].format(path=job["path"])
        if job["keep"]:
            np.save(job["keep"], np.eye(4, dtype=np.float32)[: 3 if row.runtime == "openvino" else 4])
        turn = self.measured.count((str(row), threads)) - 1
        times = [each / 1e3 for each in self._milliseconds[str(row)][turn]]
        return [{"image_size": [112, 112]}, *({"batch": n, "seconds": times} for n in job["batches"])], ""


PAIR = {"onnxruntime plain": [[8, 10, 12], [20, 30, 40]], "onnxruntime fast": [[5], [5, 5, 100]]}


class TestArithmetic:
    def test_medians_over_rounds_and_p99_of_all_calls(self, monkeypatch):
        children = Children(monkeypatch, PAIR)
        report = compare.benchmark(["a/net,3"], [2], [1, 4], runtimes=["onnxruntime"], rounds=2)
        assert [name for name, _ in children.measured] == list(PAIR) * 2  # A B A B
        plain, fast = report.lines[:2]
        assert (plain.rounds, plain.calls, plain.median_ms, plain.ratio) == (2, 6, pytest.approx(20), 1)
        assert plain.p99_ms == pytest.approx(np.percentile([8, 10, 12, 20, 30, 40], 99))
        assert plain.images_per_second == pytest.approx((100 + 1000 / 30) / 2)
        assert (fast.calls, fast.median_ms, fast.ratio) == (4, pytest.approx(5), pytest.approx(4))
        assert report.lines[2].images_per_second == pytest.approx(4 * plain.images_per_second)
        assert [line[4:6] for line in report.lines] == [(2, 1), (2, 1), (2, 4), (2, 4)]
        assert report.reference == "onnxruntime plain of a/net,3"

    def test_threads_are_the_childs(self, monkeypatch):
        children = Children(monkeypatch, {name: [[1]] for name in PAIR})
        compare.benchmark(["a/net,3"], [3, 1], [1], runtimes=["onnxruntime"], rounds=1)
        assert [threads for _, threads in children.measured] == children.threads == [3, 3, 1, 1]

    def test_threads_reach_environment_and_engine(self, monkeypatch):
        asked = []
        monkeypatch.setattr(compare, "run_child", lambda code, environment: asked.append(environment) or NOTHING)
        compare._child({}, 3)
        assert asked == [{"OMP_NUM_THREADS": "3"}]
        monkeypatch.setattr(engines, "load", lambda path, **options: asked.append((path, options)))
        worker._open(Row("m.xml", "openvino", "", "bfloat16"), "m.xml", 3, 64)
        options = {"threads": 3, "engine": "openvino", "dtype": "bfloat16", "graph": "fast"}
        assert asked[1:] == [("m.xml", options)]

    def test_plain_mxnet_is_the_reference_wherever_it_stands(self, monkeypatch):
        names = ["openvino", "openvino bfloat16", "mxnet plain", "mxnet fast"]
        Children(monkeypatch, {name: [[4], [4]] for name in names})
        report = compare.benchmark(["m.xml", "a/net,3"], [1], [1], runtimes=["openvino", "mxnet"], rounds=1)
        assert report.reference == "mxnet plain of a/net,3"
        cosines = {line.title: line.cosine_lowest for line in report.lines}
        assert (cosines["mxnet fast"], cosines["openvino"]) == (1, None)  # another shape: no cosine


class TestFailures:
    def test_a_row_that_fails_says_why_and_is_not_tried_again(self, monkeypatch):
        children = Children(monkeypatch, PAIR, {"onnxruntime fast": "{path}: no; run: pip install x"})
        report = compare.benchmark(["a/net,3"], [1], [1], runtimes=["onnxruntime"], rounds=2)
        assert [name for name, _ in children.measured].count("onnxruntime fast") == 1
        assert report.lines[0].calls == 6
        assert report.lines[1].median_ms is None
        assert report.lines[1].note == "a/net,3: no; run: pip install x"  # not the temporary file's name

    @pytest.mark.parametrize(
        "fail", [{"convert": "{path}: bad"}, dict.fromkeys(PAIR, "{path}: bad")], ids=["conversion", "every row"]
    )
    def test_a_model_that_nothing_runs_is_an_error(self, monkeypatch, fail):
        Children(monkeypatch, PAIR, fail)
        with pytest.raises(InsightError, match=r"^a/net,3: bad$"):
            compare.benchmark(["a/net,3"], [1], [1], runtimes=["onnxruntime"])

    def test_what_was_measured_before_a_crash_is_kept(self, monkeypatch):
        facts = [{"image_size": [112, 112]}, {"batch": 1, "seconds": [0.001]}]

        def run_child(code, environment):
            job = json.loads(code[code.index("{") : -1].replace("'", '"').replace("None", "null"))
            if job["task"] == "measure" and job["keep"]:
                np.save(job["keep"], np.eye(2))
            return Ended(facts, -11, "died of SIGSEGV", "") if job["task"] == "measure" else NOTHING

        monkeypatch.setattr(compare, "run_child", run_child)
        report = compare.benchmark(["m.xml"], [1], [1, 64])
        assert [line.median_ms for line in report.lines] == [pytest.approx(1)] * 2 + [None] * 2
        assert [line.note for line in report.lines] == [""] * 2 + ["died of SIGSEGV"] * 2

    def test_a_row_without_embeddings_is_asked_for_them_again(self, monkeypatch, tmp_path, capsys):
        """Only what is told after they are kept says that they are."""

        class Short:
            image_size = (112, 112)

            def __call__(self, images):
                raise InsightError("m.xml: memory is short")

        monkeypatch.setattr(worker, "_open", lambda *which: Short())
        job = {"row": ["m.xml", "openvino", "", "float32"], "path": "m.xml", "threads": 1, "batches": [1]}
        job.update(seconds=0.1, faces=None, count=2, keep=str(tmp_path / "0.npy"))
        worker.main({"task": "measure", **job})
        assert json.loads(capsys.readouterr().out) == {"error": "m.xml: memory is short"}

    def test_ctrl_c_keeps_what_there_is(self, monkeypatch):
        Children(monkeypatch, PAIR, stop_after=3)
        report = compare.benchmark(["a/net,3"], [1], [1], runtimes=["onnxruntime"], rounds=2)
        assert report.interrupted
        assert [line.rounds for line in report.lines] == [2, 1]
        Children(monkeypatch, PAIR, stop_after=1)
        report = compare.benchmark(["a/net,3"], [1], [1], runtimes=["onnxruntime"], rounds=2)
        assert "interrupted" in report.lines[1].note
        Children(monkeypatch, PAIR, stop_after=0)
        with pytest.raises(KeyboardInterrupt):
            compare.benchmark(["a/net,3"], [1], [1], runtimes=["onnxruntime"])

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"threads": [0]}, "--threads 0: must be at least 1"),
            ({"batches": [1, 0]}, "--batch 1,0: must"),
            ({"rounds": 0}, "--rounds 0: must"),
            ({"seconds": 0}, "--seconds 0: must be above 0"),
            ({"seconds": float("nan")}, "--seconds nan"),
        ],
    )
    def test_options(self, options, says):
        with pytest.raises(InsightError, match=says):
            compare.benchmark(["a/net,3"], **options)

    def test_a_runtime_that_is_missing_tells_the_remedy(self, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "openvino", None)
        job = {"row": ["m.xml", "openvino", "", "float32"], "path": "m.xml", "threads": 1, "batches": [1], "keep": ""}
        worker.main({"task": "measure", **job, "seconds": 1, "faces": None, "count": 1})
        (line,) = capsys.readouterr().out.splitlines()
        assert "OpenVINO is not installed" in json.loads(line)["error"]
        assert "run: pip install -e '.[deploy]'" in json.loads(line)["error"]


def line_of(runtime, **figures):
    return Line("a/net,3", runtime, "", "float32", 1, 8, **figures)


class TestOutput:
    REPORT = BenchmarkReport(
        "a processor; mxnet 1.9.1",
        [
            line_of("openvino", rounds=3, calls=99, median_ms=1.25, p99_ms=2.5, images_per_second=6400.0, ratio=1.0),
            line_of("ncnn", note="ncnn is not installed, or does not load; run: pip install"),
        ],
        "openvino of a/net,3",
        "32 made-up faces",
        False,
    )

    def test_table(self, monkeypatch, capsys):
        monkeypatch.setattr(compare, "benchmark", lambda *args: self.REPORT)
        assert cli.main(["benchmark", "--model", "a/net,3"]) == 0
        out = [text.split() for text in capsys.readouterr().out.splitlines()]
        assert out[0] == "a processor; mxnet 1.9.1".split()
        assert out[1] == "net,3; 32 made-up faces; 3 rounds".split()
        assert out[3] == "1 8 openvino 1.25 2.50 6400.0 1.00 - -".split()
        assert out[4] == "1 8 ncnn not measured (1)".split()
        assert out[-1] == "(1) ncnn is not installed, or does not load; run: pip install".split()

    def test_interrupted(self, monkeypatch, capsys):
        monkeypatch.setattr(compare, "benchmark", lambda *args: self.REPORT._replace(interrupted=True))
        assert cli.main(["benchmark", "--model", "a/net,3"]) == 130
        captured = capsys.readouterr()
        assert "6400.0" in captured.out
        assert captured.err == "error: interrupted\n"

    def test_csv(self, tmp_path):
        write_csv(tmp_path / "b.csv", self.REPORT)
        with open(tmp_path / "b.csv", newline="") as opened:
            first, second = csv.DictReader(opened)
        assert list(first) == list(Line._fields)
        assert (first["model"], first["median_ms"], first["cosine_mean"], first["note"]) == ("a/net,3", "1.25", "", "")
        assert (second["calls"], second["median_ms"]) == ("0", "")
        assert second["note"].endswith("pip install")

    def test_a_csv_that_is_there_stays(self, tmp_path, capsys):
        (tmp_path / "b.csv").write_text("mine")
        assert cli.main(["benchmark", "--model", "a/net,3", "--csv", str(tmp_path / "b.csv")]) == 2
        assert "is there already" in capsys.readouterr().err
        assert (tmp_path / "b.csv").read_text() == "mine"

    def test_numbers_are_numbers(self, capsys):
        assert cli.main(["benchmark", "--model", "a/net,3", "--threads", "all"]) == 2
        assert "want whole numbers with commas between, as 1,2" in capsys.readouterr().err


class TestForReal:
    """In processes of their own."""

    def test_a_checkpoint_everywhere(self, spec, tmp_path, capsys):
        out = tmp_path / "b.csv"
        options = ["--engine", "mxnet,onnxruntime,openvino", "--rounds", "1", "--seconds", "0.01"]
        argv = ["--model", spec, "--threads", "1", "--batch", "1,3", "--csv", str(out), *options]
        assert cli.main(["benchmark", *argv]) == 0
        assert "net,3; 32 made-up faces; 1 rounds" in capsys.readouterr().out
        with open(out, newline="") as opened:
            found = list(csv.DictReader(opened))
        titles = [str(Row(*(line[name] for name in Row._fields))) for line in found]
        assert titles == [title for title in OF_A_CHECKPOINT if "ncnn" not in title] * 2
        assert [line["batch"] for line in found] == ["1"] * 6 + ["3"] * 6
        for line in found:
            if line["dtype"] == "bfloat16" and line["note"]:
                assert "this CPU does not compute in it" in line["note"]
                continue
            assert int(line["calls"]) >= 3
            assert 0 < float(line["median_ms"]) <= float(line["p99_ms"])
            least = 0.99999 if line["dtype"] == "float32" else 0.99
            assert least <= float(line["cosine_lowest"]) <= float(line["cosine_mean"]) <= 1 + 1e-6
        assert found[0]["ratio"] == "1"

    def test_a_damaged_checkpoint_is_one_line(self, tmp_path, spec, capsys):
        prefix = spec[:-2]
        (tmp_path / "net-symbol.json").write_bytes(open(f"{prefix}-symbol.json", "rb").read())
        (tmp_path / "net-0003.params").write_bytes(open(f"{prefix}-0003.params", "rb").read()[:999])
        assert cli.main(["benchmark", "--model", f"{tmp_path}/net,3", "--engine", "openvino", "--threads", "1"]) == 2
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert f"error: {tmp_path}/net-0003.params: not an MXNet params file, or cut short" in line
        assert captured.out == ""
