"""When a run verifies and saves, under which number, and when it stops itself."""

import functools
import json
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from insight import checkpoint
from insight.errors import InsightError
from insight.formats import evalbin
from insight.runs.journal import Journal
from insight.train import evaluation as module
from insight.train import model as model_module
from insight.train.evaluation import COLLAPSED_VERIFICATIONS, Evaluation, chance_bound
from insight.train.train_options import TrainOptions
from insight.verify import verification
from insight.verify.folds import FoldAccuracy

PAIRS = 6000


class Training:
    """A run whose verifications give the accuracies that a test lays down; ``ends`` is its last step."""

    def __init__(
        self, folder, monkeypatch, ckpt=1, targets=("lfw",), pairs=PAIRS, state=None, counts_start=False, **options
    ):
        self.prefix = str(folder / "model")
        self.options = TrainOptions(data_dir="d", prefix=self.prefix, ckpt=ckpt, **options)
        self.sets = [SimpleNamespace(name=name, issame=np.arange(pairs) % 2 == 0) for name in targets]
        self.model = SimpleNamespace(
            image_size=(112, 112), checkpoint=lambda: self.step, embedder=lambda name, check: None
        )
        self.journal = Journal(self.prefix, 8, 10, 20, 1000)
        self.evaluation = Evaluation(self.options, self.sets, self.model, self.journal, counts_start=counts_start)
        if state:
            self.evaluation.restore(json.loads(json.dumps(state)))
        monkeypatch.setattr(module.verification, "verify", self._verify)
        monkeypatch.setattr(module.checkpoint, "save", self._save)

    def _verify(self, network, eval_set, image_size, ranks):
        folds = FoldAccuracy(self.accuracies[eval_set.name], 0.01, np.zeros(10), np.zeros(10))
        return verification.Verification(eval_set.name, folds, 10.0, len(eval_set.issame), 128, 1.0)

    def _save(self, prefix, number, step, ranks):
        path = checkpoint.params_path(prefix, number)
        path.write_text(f"step {step}")
        return path

    def at(self, step, *accuracies, last=False):
        """Verify and save as the loop does."""
        self.step = step
        self.accuracies = dict(zip((s.name for s in self.sets), accuracies))
        self.evaluation.verify(step)
        self.evaluation.save(step, last)
        if last:
            self.evaluation.conclude()

    def files(self):
        return {
            number: int(checkpoint.params_path(self.prefix, number).read_text().split()[1])
            for number in checkpoint.epochs(self.prefix)
        }


@pytest.fixture
def training(tmp_path, monkeypatch, capfd):
    return lambda **options: Training(tmp_path, monkeypatch, **options)


@pytest.mark.parametrize(
    "ckpt, saved",
    [
        (0, {}),
        (1, {1: 200, 2: 400, 3: 500, 4: 600}),  # each new best (500 equals 400), and the last
        (2, {1: 200, 2: 300, 3: 400, 4: 500, 5: 600}),
        (3, {1: 500, 2: 600}),  # the best stays where it is
    ],
)
def test_ckpt(training, ckpt, saved, capfd):
    run = training(ckpt=ckpt)
    for step, accuracy in ((0, 0.99), (200, 0.7), (300, 0.6), (400, 0.8), (500, 0.8)):
        run.at(step, accuracy)
    run.at(600, 0.75, last=True)
    assert run.files() == saved
    assert run.evaluation.last_saved == max(saved, default=0)
    best = {0: "not saved (--ckpt 0)", 1: "number 3", 2: "number 4", 3: "number 1"}[ckpt]
    last = f"number {max(saved)}" if saved else "not saved (--ckpt 0)"
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == f"best: {best}, step 500, lfw 0.80000; last: {last}, step 600, lfw 0.75000"
    assert [line for line in lines if "Highest" in line] == [
        f"[{step}]Accuracy-Highest: {best:.5f}"
        for step, best in ((200, 0.7), (300, 0.7), (400, 0.8), (500, 0.8), (600, 0.8))
    ]


def test_lines_of_a_verification(training, capfd):
    run = training(targets=("lfw", "agedb_30"))
    run.at(112000, 0.99517, 0.9)
    out = capfd.readouterr().out.splitlines()
    infer = out.pop(2)
    assert infer.startswith("infer time ")
    assert out[:4] == [
        "testing verification..",
        "(12000, 128)",
        "[lfw][112000]XNorm: 10.000000",
        "[lfw][112000]Accuracy-Flip: 0.99517+-0.01000",
    ]
    assert out[-2:] == ["[112000]Accuracy-Highest: 0.90000", "saving 1"]
    run.journal.close()
    rows = [json.loads(line) for line in open(f"{run.prefix}-log.jsonl")]
    assert [(row["kind"], row.get("target"), row.get("number")) for row in rows] == [
        ("verification", "lfw", None),
        ("verification", "agedb_30", None),
        ("saved", None, 1),
    ]
    assert run.evaluation.accuracies == {"lfw": 0.99517, "agedb_30": 0.9}


def test_the_last_target_decides_and_the_sum_breaks_ties(training):
    run = training(targets=("lfw", "agedb_30"))
    for step, accuracies in ((200, (0.7, 0.8)), (400, (0.9, 0.7)), (600, (0.8, 0.8)), (800, (0.75, 0.8))):
        run.at(step, *accuracies)
    assert run.files() == {1: 200, 2: 600}


@pytest.mark.parametrize("ckpt, saved", [(1, {1: 200}), (2, {1: 200}), (3, {1: 200})])
def test_a_step_is_saved_once(training, ckpt, saved):
    """A run that a guard stops right behind a verification saves its last state."""
    run = training(ckpt=ckpt)
    run.at(200, 0.7)
    run.evaluation.save(200, last=True)
    again = training(ckpt=ckpt, state=run.evaluation.state())
    again.evaluation.save(200, last=True)
    assert run.files() == saved


def test_numbers_continue(training, tmp_path):
    (tmp_path / "model-0007.params").write_text("step -1")
    run = training()
    run.at(200, 0.7)
    run.at(400, 0.6, last=True)
    assert run.files() == {7: -1, 8: 200, 9: 400}


def test_over_one_spares_an_earlier_run_s_other_numbers(training, tmp_path):
    (tmp_path / "model-0002.params").write_text("step -1")
    run = training(ckpt=3)
    run.at(200, 0.7)
    run.at(400, 0.6, last=True)
    assert run.files() == {1: 200, 2: -1, 3: 400}


@pytest.mark.parametrize("ckpt", [1, 2, 3])
@pytest.mark.parametrize("killed_at", [200, 300, 400])
def test_a_resumed_run_writes_the_same_files(tmp_path, monkeypatch, capfd, ckpt, killed_at):
    plan = [(200, 0.7), (300, 0.6), (400, 0.8), (500, 0.75)]
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model-0003.params").write_text("step -1")
    whole = Training(tmp_path / "whole", monkeypatch, ckpt)
    for step, accuracy in plan:
        whole.at(step, accuracy, last=step == 500)

    parts, states = Training(tmp_path / "parts", monkeypatch, ckpt), {}
    for step, accuracy in plan[:-1]:  # killed behind 400
        parts.at(step, accuracy)
        states[step] = json.loads(json.dumps(parts.evaluation.state()))
    state = states[killed_at]
    resumed = Training(tmp_path / "parts", monkeypatch, ckpt, state=state)
    assert resumed.evaluation.last_verified == killed_at
    for step, accuracy in plan:
        if step > killed_at:
            resumed.at(step, accuracy, last=step == 500)
    assert resumed.files() == whole.files()
    assert resumed.evaluation.state() == whole.evaluation.state()


def test_its_time_is_none_of_training_s(training, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    run = training()

    def slowly(function):
        def call(*arguments, **more):
            now[0] += 1000
            return function(*arguments, **more)

        return call

    monkeypatch.setattr(module.verification, "verify", slowly(run._verify))
    monkeypatch.setattr(module.checkpoint, "save", slowly(run._save))
    run.at(200, 0.7)
    assert now[0] == 2000
    now[0] += 2
    run.journal.step(220, {"loss": 1.0}, 0.1, 0.0)
    run.journal.close()
    rows = [json.loads(line) for line in open(f"{run.prefix}-log.jsonl")]
    assert rows[-1]["speed"] == pytest.approx(4)  # 8 images in 2 seconds


@pytest.mark.parametrize("ckpt, saved", [(0, {}), (1, {1: 400}), (2, {1: 200, 2: 400}), (3, {1: 400})])
def test_without_targets(training, capfd, ckpt, saved):
    run = training(ckpt=ckpt, targets=())
    run.at(0)
    run.at(200)
    run.at(400, last=True)
    assert run.files() == saved
    lines = capfd.readouterr().out.splitlines()
    assert [line for line in lines if "no verification set" in line] == [lines[0]]
    assert lines[0].startswith(f"no verification set: nothing can be verified; --ckpt {ckpt} saves ")
    last = "number " + str(max(saved)) if saved else "not saved (--ckpt 0)"
    assert lines[-1] == f"last: {last}, step 400, not verified"


def collapses(run, step, verifications, targets=1):
    """So many verifications at chance, from ``step`` on, end a run, and no fewer."""
    for i in range(verifications - 1):
        run.at(step + i, *[0.5] * targets)
    with pytest.raises(InsightError, match="collapsed"):
        run.at(step + verifications, *[0.5] * targets)


class TestCollapse:
    def test_is_told_and_ends_the_run(self, training):
        run = training(targets=("lfw", "agedb_30"))
        run.at(2000, 0.5, 0.51)
        run.at(4000, 0.505, 0.5)
        with pytest.raises(
            InsightError, match=r"step 6000: .*collapsed: lfw 0.50100, agedb_30 0.51900, .*--loss-type 0"
        ):
            run.at(6000, 0.501, 0.519)

    @pytest.mark.parametrize(
        "accuracies, more",
        [
            ([(0.5, 0.5), (0.5, 0.5), (0.5, 0.52), (0.5, 0.5), (0.5, 0.5)], 1),  # three, but not in a row
            ([(0.5, 0.52)] * 4, 3),  # one target is learnt
        ],
    )
    def test_is_neither_of_these(self, training, accuracies, more):
        run = training(targets=("lfw", "agedb_30"))
        for i, pair in enumerate(accuracies):
            run.at(2000 * (i + 1), *pair)
        assert run.evaluation.last_verified == 2000 * len(accuracies)
        collapses(run, 12000, more, targets=2)

    def test_nobody_can_tell_on_few_pairs_or_at_the_start(self, training):
        small = training(pairs=199)
        for step in range(2000, 12000, 2000):
            small.at(step, 0.5)
        assert small.evaluation.last_verified == 10000
        early = training()
        for step in (0, 20, 40, 60, 80):
            early.at(step, 0.5)
        assert early.evaluation.last_verified == 80
        collapses(early, 100, COLLAPSED_VERIFICATIONS)

    def test_after_a_resume_it_has_as_many_verifications_again(self, training):
        run = training()
        run.at(200, 0.5)
        run.at(400, 0.5)
        resumed = training(state=run.evaluation.state())
        resumed.at(600, 0.5)
        resumed.at(800, 0.5)
        with pytest.raises(InsightError, match="collapsed"):
            resumed.at(1000, 0.5)

    @pytest.mark.parametrize(
        "same, different, bound",
        [(3000, 3000, 0.5 + 3 * 0.5 / 6000**0.5), (100, 100, 0.55), (100, 300, 0.8), (4500, 1500, 0.75 + 0.0167705)],
    )
    def test_bound(self, same, different, bound):
        assert chance_bound(np.arange(same + different) < same) == pytest.approx(bound, abs=1e-6)


def test_a_verification_can_be_stopped_between_two_batches(tmp_path, monkeypatch, capfd):
    """With the real protocol: nothing of a verification that was not finished counts, and its time is no training."""
    draw = np.random.default_rng(0)
    images = [cv2.imencode(".png", draw.integers(0, 256, (16, 16, 3), np.uint8))[1].tobytes() for _ in range(160)]
    evalbin.write_bin(tmp_path / "val.bin", images, np.arange(80) % 2 == 0)

    class Engine:
        def __init__(self, checkpoint, spec, device):
            assert (checkpoint, device) == ("arrays", "cpu(1)")

        def __call__(self, images):
            assert (images.dtype, images.shape[1:]) == (np.uint8, (3, 16, 16))
            return images.reshape(len(images), -1)[:, :12].astype(np.float32)

    class Asked(Exception):
        pass

    asked = []

    def check():
        asked.append(None)
        if len(asked) == 4:
            raise Asked

    monkeypatch.setattr(model_module, "MXNetEngine", Engine)
    journal = Journal(str(tmp_path / "model"), 8, 10, 20, 1000)
    model = SimpleNamespace(devices=["cpu(1)"], network_checkpoint=lambda: "arrays", image_size=(16, 16))
    model.embedder = functools.partial(model_module.Model.embedder, model)
    options = TrainOptions(data_dir="d", prefix=str(tmp_path / "model"))
    evaluation = Evaluation(options, [verification.load_set(tmp_path / "val.bin")], model, journal, check)
    before = evaluation.state()
    with pytest.raises(Asked):
        evaluation.verify(200)
    assert len(asked) == 4  # five batches of 32, each twice
    assert evaluation.state() == before
    evaluation.verify(200)
    assert len(asked) == 14
    assert evaluation.last_verified == 200
    assert [json.loads(line)["kind"] for line in open(f"{options.prefix}-log.jsonl")] == ["verification"]


@pytest.mark.parametrize(
    "ckpt, saved", [(0, {}), (1, {1: 0, 2: 300, 3: 400}), (2, {1: 0, 2: 200, 3: 300, 4: 400}), (3, {1: 300, 2: 400})]
)
def test_the_start_counts_for_what_is_refined(training, ckpt, saved, capfd):
    """The network before the first step is the best until a later one is as good, and is saved."""
    run = training(ckpt=ckpt, counts_start=True)
    run.at(0, 0.8)
    assert run.files() == ({1: 0} if ckpt else {})
    run.at(200, 0.7)
    run.at(300, 0.8)
    run.at(400, 0.75, last=True)
    assert run.files() == saved
    best = {0: "not saved (--ckpt 0)", 1: "number 2", 2: "number 3", 3: "number 1"}[ckpt]
    assert f"best: {best}, step 300, lfw 0.80000; last: " in capfd.readouterr().out


def test_the_start_is_the_best_where_nothing_is_better(training, capfd):
    run = training(ckpt=3, counts_start=True)
    run.at(0, 0.8)
    run.at(200, 0.7, last=True)
    assert run.files() == {1: 0, 2: 200}
    assert "best: number 1, step 0, lfw 0.80000; last: number 2, step 200, lfw 0.70000" in capfd.readouterr().out


def test_a_fall_below_the_start(training, capfd):
    """A note at a tenth of --max-fall, an error above it; of the set that has fallen most; a resumed run remembers."""
    options = {"ckpt": 3, "targets": ("lfw", "agedb_30"), "max_fall": 2.0, "counts_start": True}
    run = training(**options)
    run.at(0, 0.99, 0.9)
    run.at(200, 0.9885, 0.95)
    assert "points below" not in capfd.readouterr().out
    run.at(300, 0.985, 0.898)
    assert (
        "note: step 300: lfw is 0.98500, 0.50 points below the 0.99000 of step 0; --max-fall 2 stops the run"
        in capfd.readouterr().out
    )
    state = run.evaluation.state()
    run = training(**options, state=state)
    with pytest.raises(
        InsightError,
        match=r"^step 400: agedb_30 is 0.87900, 2.10 points below .*; the best is number 1, step 200; .*--lr",
    ):
        run.at(400, 0.99, 0.879)
    small = training(**{**options, "targets": ("val",)}, pairs=100)
    small.at(0, 0.99)
    small.at(200, 0.6)
    off = training(targets=("lfw",))
    off.at(0, 0.99)
    off.at(200, 0.6)
    assert "points below" not in capfd.readouterr().out
