"""The prediction against peaks that are measured, and against arithmetic by hand."""

import dataclasses
import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from insight import nets
from insight._mxnet import mx, release_freed_memory
from insight.errors import InsightError
from insight.machine.available import Available
from insight.margins import margins
from insight.objectives.classification import Classification
from insight.objectives.objective import Need
from insight.ranks.single import Single
from insight.train import memory, precision
from insight.train.memory import Prediction, predict, refuse_unaffordable

GIB = 1 << 30

BENCHMARK = Path(__file__).parents[2] / "benchmarks/memory.py"


def training_symbol(name="y1", size=128):
    return nets.create(name, size, prelu=nets.family(name).fastest_prelu)(mx.sym.Variable("data"))


def prediction(**parts):
    """A prediction that has these parts."""
    none = dict.fromkeys((field.name for field in dataclasses.fields(Prediction)), 0)
    named = {{"classes": "objective", "logits": "step"}.get(name, name): value for name, value in parts.items()}
    return Prediction(**{**none, "devices": 1, "batch": 64, "names": ("classes", "logits"), **named})


def need(classes, size, batch):
    """Of a classification."""
    return Classification(margins.get("arcface")(), classes, size).memory(batch)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("classes, batch, more", [("100", "12", ()), ("120000", "2", ("--resume",))])
def test_the_prediction_is_near_the_peak(classes, batch, more):
    """Of whole runs with saves and verification: once mostly inner arrays, once mostly class weights, and resumed."""
    command = [sys.executable, str(BENCHMARK), "--networks", "y1", "--classes", classes, "--batch-sizes", batch]
    command += ["--steps", "3", "--pairs", "6", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    network, count, size, _, peak, ratio, *parts = done.stderr.splitlines()[-1].split()
    assert (network, count, size, parts[0]) == ("y1", classes, batch, "network") and float(peak) > 0.5
    assert 0.9 < float(ratio) < 1.2, done.stderr


def test_parts_by_hand():
    x = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=10, name="fc1")
    symbol, wanted = mx.sym.BatchNorm(x, name="bn"), need(1000, 10, 7)
    found = predict(symbol, (4, 5), 7, 10, wanted, slots=4, devices=2, verified=[(9, 6), (12, 5)])
    learned = 60 * 10 + 10 + 2 * 10
    assert found.network == 4 * (3 * learned + 2 * 10)
    assert found.objective == 4 * 3 * 1000 * 10
    assert found.step == 4 * (7 * 1000 + 1000 * (2 * 10 + 7) + 4 * 1000)
    assert found.activations == 4 * (2 * 7 * 10 + 7 * 10 + 7 * 10)  # two arrays, a gradient, scratch as the largest
    assert found.exchange == 4 * (learned + 1000 * 10)
    assert found.images == 4 * 4 * 2 * 7 * 60
    buffers = sum(4 * 2 * batch * 10 for batch in (8, 4, 1))  # sets of 8 + 1 and 8 + 4 images
    assert found.verification == 2 * 4 * (learned + 2 * 10) + buffers + 8 * 10 * 3 * (12 + 5)
    each = found.network + found.objective + found.step + found.activations + found.exchange
    assert found.total == 2 * each + found.images + found.verification + found.process
    alone = predict(symbol, (4, 5), 7, 10, wanted)
    assert (alone.exchange, alone.verification) == (0, 0)


class Among(Single):
    """The first of so many ranks."""

    def __init__(self, size):
        self.size = size


def head(ranks, classes=1_000_000, size=512, batch=128, **more):
    """(Bytes of parameters with gradient and momentum, bytes of a step) on a rank; the ranks share the batch."""
    objective = Classification(margins.get("arcface")(), classes, size, shard_classes=ranks > 1, **more)
    objective.join(Among(ranks))
    wanted = objective.memory(batch // ranks)
    found = predict(training_symbol(size=size), (112, 112), 1, size, wanted)
    return found.objective, found.step


@pytest.mark.parametrize("ranks, most", [(2, 0.55), (4, 0.3)])
def test_a_rank_has_its_part_of_the_head(ranks, most):
    whole, part = head(1), head(ranks)
    assert part[0] == whole[0] / ranks and sum(part) < most * sum(whole)


def test_drawn_classes_need_no_gradient_of_the_others():
    whole, drawn = head(1), head(1, sample_rate=0.1)
    assert drawn[0] == pytest.approx(whole[0] * (2 + 0.1) / 3, rel=1e-3)
    rows = 4 * 100_000 * 512
    assert drawn[1] == pytest.approx(whole[1] / 10 + 3 * rows, rel=0.1)


def test_a_million_classes_too_many_for_one_rank():
    """MXNet's limits are those of a rank's classes."""
    many = Classification(margins.get("arcface")(), 30_000_000, 128, shard_classes=True)
    with pytest.raises(InsightError, match="30000000 classes: MXNet's float32 indices are exact up to 16777216"):
        many.check(16)
    many.join(Among(2))
    many.check(16)
    with pytest.raises(InsightError, match=r"--per-batch-size 72 with 15000000 identities on a rank: .* the logits"):
        many.check(72)


def test_process_is_what_it_has():
    mx.nd.waitall()
    gc.collect()
    release_freed_memory()  # what earlier tests left must not go to the kernel between the two predictions
    held = np.ones(25_000_000)  # 200 MB
    with_it = predict(training_symbol(), (112, 112), 1, 128, Need()).process
    del held
    assert 150e6 < with_it - predict(training_symbol(), (112, 112), 1, 128, Need()).process < 250e6


def test_half_precision_needs_less():
    symbol = training_symbol()
    full, half = (
        predict(symbol, (112, 112), 8, 128, Need(), verified=[(8, 8)], lowered=precision.lowered_symbol(symbol, dtype))
        for dtype in ("float32", "bfloat16")
    )
    assert half.activations < 0.8 * full.activations
    assert (half.network, half.verification) == (full.network, full.verification)


def test_describe():
    parts = prediction(network=100_000_000, classes=1_500_000_000, logits=200_000_000, images=50_000_000)
    shares = "network 0.10, classes 1.50, logits 0.20, activations 0.00, images 0.05, process 0.00"
    assert parts.describe() == f"predicted memory: 1.85 GB: {shares}"
    two = dataclasses.replace(parts, devices=2, exchange=10_000_000, verification=20_000_000)
    shares = "network 0.10, classes 1.50, logits 0.20, activations 0.00, exchange 0.01, images 0.05, verification 0.02"
    assert two.describe() == f"predicted memory: 3.69 GB: {shares}, process 0.00; 2 devices, each with the first 5"


def test_what_mxnet_cannot_index():
    with pytest.raises(InsightError, match=r"--per-batch-size 16384: .* use at most (\d+)") as refused:
        predict(training_symbol(), (112, 112), 16384, 128, Need())
    most = int(str(refused.value).split()[-1])
    assert predict(training_symbol(), (112, 112), most, 128, Need()).activations > 0
    with pytest.raises(InsightError, match=f"--per-batch-size {most + 1}:"):
        predict(training_symbol(), (112, 112), most + 1, 128, Need())


def test_an_objective_without_arrays_has_no_parts():
    parts = prediction(network=100_000_000, names=())
    assert parts.describe() == "predicted memory: 0.10 GB: network 0.10, activations 0.00, images 0.00, process 0.00"
    found = predict(training_symbol(), (112, 112), 2, 128, Need(), devices=2)
    assert (found.objective, found.step) == (0, 0) and found.exchange == pytest.approx(found.network / 3, rel=0.02)


class TestRefusals:
    @pytest.fixture(autouse=True)
    def eight(self, monkeypatch):
        monkeypatch.setattr(memory, "available", lambda: Available(8 * GIB, "this machine has 16 GB, others use 8 GB"))

    def test_what_fits(self):
        fits = prediction(network=GIB, classes=3 * GIB, logits=2 * GIB, activations=GIB, process=GIB)
        assert refuse_unaffordable(fits, [mx.cpu(0)]) == ""

    def test_a_smaller_batch_would(self):
        parts = prediction(network=GIB, classes=2 * GIB, logits=4 * GIB, images=4 * GIB, process=GIB)
        reason = (
            r"^--per-batch-size 64: training needs 12.9 GB \(network 1.1, classes 2.1, logits 4.3, activations 0.0, "
            r"images 4.3, process 1.1\), and 8.6 GB are available \(this machine has 16 GB, others use 8 GB\); "
            r"--per-batch-size 32 would fit$"
        )
        with pytest.raises(InsightError, match=reason):
            refuse_unaffordable(parts, [mx.cpu(0)])
        half = dataclasses.replace(parts, batch=32, step=2 * GIB, images=2 * GIB)
        assert refuse_unaffordable(half, [mx.cpu(0)]) == ""

    @pytest.mark.parametrize("part", ["activations", "verification"])
    def test_an_estimate_may_be_too_high(self, part):
        parts = prediction(network=2 * GIB, logits=GIB >> 10, **{part: 7 * GIB})
        note = refuse_unaffordable(parts, [mx.cpu(0)])
        assert note.startswith("training needs 9.7 GB (") and note.endswith("the run may still fit")
        with pytest.raises(InsightError, match="training needs 10.7 GB"):
            refuse_unaffordable(dataclasses.replace(parts, **{part: 8 * GIB}), [mx.cpu(0)])

    def test_the_batch_that_fits_does(self):
        parts = prediction(network=GIB, activations=10 * GIB)
        with pytest.raises(InsightError, match=r"needs 11.8 GB .*; --per-batch-size 44 would fit"):
            refuse_unaffordable(parts, [mx.cpu(0)])
        assert (
            refuse_unaffordable(dataclasses.replace(parts, batch=44, activations=44 * 10 * GIB // 64), [mx.cpu(0)])
            == ""
        )

    def test_a_checkpoint_is_read_whole(self):
        """Beside parameters and gradients, which are there by then; momentum and inner arrays are not."""
        parts = prediction(network=3 * GIB, classes=3 * GIB, logits=GIB, process=GIB // 2, pretrained=2 * GIB)
        parts = dataclasses.replace(parts, momentum=2 * GIB)
        assert parts.total == 15 * GIB // 2 and "pretrained" not in parts.describe()  # training has the peak
        assert refuse_unaffordable(parts, [mx.cpu(0)]) == ""
        parts = dataclasses.replace(parts, pretrained=4 * GIB)
        assert parts.total == 17 * GIB // 2
        assert parts.describe().endswith("; the peak is at the start, where 4.29 of --pretrained are read")
        with pytest.raises(InsightError, match=r"needs 9.1 GB .*; no batch would fit"):
            refuse_unaffordable(parts, [mx.cpu(0)])

    def test_devices_share_it(self):
        parts = prediction(network=GIB, classes=GIB, exchange=GIB, logits=2 * GIB, devices=2)
        with pytest.raises(InsightError, match=r"needs 10.7 GB .*; 2 devices, .* --per-batch-size 32 would fit"):
            refuse_unaffordable(parts, [mx.cpu(0), mx.cpu(1)])

    def test_no_batch_would(self):
        parts = prediction(classes=9 * GIB, logits=GIB)
        with pytest.raises(InsightError, match=r"\); no batch would fit: take a smaller --emb-size or"):
            refuse_unaffordable(parts, [mx.cpu(0)])
        with pytest.raises(InsightError, match=r"\); number the labels anew; no batch would fit"):
            refuse_unaffordable(parts, [mx.cpu(0)], remedy="number the labels anew")

    def test_free_memory_of_the_fullest_gpu_counts(self, monkeypatch):
        monkeypatch.setattr(mx.context, "gpu_memory_info", lambda i: ((6 - i) * GIB, 16 * GIB))
        parts = prediction(network=GIB, classes=3 * GIB, logits=GIB, activations=9 * GIB, process=99 * GIB, devices=2)
        assert refuse_unaffordable(parts, [mx.gpu(0), mx.gpu(1)]) == ""
        with pytest.raises(InsightError, match=r"needs 5.4 GB .* gpu\(2\) has 4.3 GB free; no batch would fit"):
            refuse_unaffordable(parts, [mx.gpu(0), mx.gpu(2)])
