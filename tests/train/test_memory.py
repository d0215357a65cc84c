"""The prediction against a peak that was measured, and against arithmetic by hand."""

import dataclasses
import subprocess
import sys
from textwrap import dedent

import pytest

from insight import nets
from insight._mxnet import mx
from insight.errors import InsightError
from insight.train import memory
from insight.train.memory import Prediction, predict, refuse_too_large, refuse_unaffordable

GIB = 1 << 30

TRAIN = """
    import sys
    from pathlib import Path
    from insight import nets
    from insight._mxnet import keep_freed_memory, mx
    from insight.heads import heads
    from insight.heads.classifier import Classifier
    from insight.heads.margin import MarginOptions
    from insight.train.memory import predict

    name, batch, classes, size = sys.argv[1], *map(int, sys.argv[2:])
    keep_freed_memory()
    network = nets.create(name, size, prelu=nets.family(name).fastest_prelu)
    predicted = predict(network(mx.sym.Variable("data")), (112, 112), batch, classes, size, slots=0)
    classifier = Classifier(heads.get("arcface")(MarginOptions()), classes, size)
    for part in (network, classifier.params):
        part.initialize(mx.init.Xavier())
    network.hybridize(static_alloc=True, static_shape=True)
    params = {**network.kept(), **dict(classifier.params.items())}
    trainer = mx.gluon.Trainer(params, "sgd", {"momentum": 0.9}, kvstore=None)
    data, label = mx.nd.ones((batch, 3, 112, 112)), mx.nd.zeros((batch,))
    for _ in range(3):
        with mx.autograd.record():
            embedding = network(data)
        embedding.backward(classifier.backward(embedding, label).gradient_BE)
        trainer.step(batch)
        mx.nd.waitall()
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(predicted.total, int(peak.split()[1]) * 1024)
"""


def training_symbol(name="y1", size=128):
    return nets.create(name, size, prelu=nets.family(name).fastest_prelu)(mx.sym.Variable("data"))


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("name, batch, classes, size", [("y1", 32, 100, 128), ("y1", 4, 300_000, 128)])
def test_the_prediction_is_near_the_peak(name, batch, classes, size):
    """Once mostly activations, once mostly class weights and logits."""
    command = [sys.executable, "-c", dedent(TRAIN), name, *map(str, (batch, classes, size))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    predicted, peak = map(int, done.stdout.split())
    assert 0.75 < predicted / peak < 1.3


def test_parts_by_hand():
    x = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=10, name="fc1")
    found = predict(mx.sym.BatchNorm(x, name="bn"), (4, 5), 7, 1000, 10, slots=4, devices=2)
    assert found.network == 4 * (3 * (60 * 10 + 10 + 2 * 10) + 2 * 10)
    assert found.classes == 4 * 3 * 1000 * 10
    assert found.logits == 4 * 7 * 1000
    assert found.activations == int(memory.KEPT * 4 * (7 * 10 + 7 * 10))
    assert found.images == 4 * 4 * 2 * 7 * 60
    assert found.total == 2 * (found.certain + found.activations) + found.images + found.process


def test_describe():
    parts = Prediction(100_000_000, 1_500_000_000, 200_000_000, 0, 50_000_000, 250_000_000, devices=1, batch=8)
    shares = "network 0.10, classes 1.50, logits 0.20, activations 0.00, images 0.05, process 0.25"
    assert parts.describe() == f"predicted memory: 2.10 GB: {shares}"
    assert dataclasses.replace(parts, devices=2).describe().startswith("predicted memory: 3.90 GB: network 0.10")


def test_what_mxnet_cannot_index():
    most = (1 << 31) - 1
    refuse_too_large(128, most // 512, 512)
    with pytest.raises(InsightError, match=r"--emb-size 512 with 4200000 .* use --emb-size 511 or less"):
        refuse_too_large(128, 4_200_000, 512)
    with pytest.raises(InsightError, match=r"--per-batch-size 2048 with 1100000 .* use --per-batch-size 1952 or less"):
        refuse_too_large(2048, 1_100_000, 128)
    with pytest.raises(InsightError, match=r"--per-batch-size 16384: .* use at most (\d+)") as refused:
        predict(training_symbol(), (112, 112), 16384, 10, 128)
    most = int(str(refused.value).split()[-1])
    assert predict(training_symbol(), (112, 112), most, 10, 128).activations > 0
    with pytest.raises(InsightError, match=f"--per-batch-size {most + 1}:"):
        predict(training_symbol(), (112, 112), most + 1, 10, 128)


def test_what_the_machine_cannot_hold(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 8 * GIB)
    fits = Prediction(GIB, 3 * GIB, 4 * GIB, 100 * GIB, GIB, GIB, devices=1, batch=64)
    refuse_unaffordable(fits, [mx.cpu(0)])  # activations are an estimate, which may be wrong
    with pytest.raises(InsightError, match=r"--per-batch-size 64: .* at least 9.7 GB .* --per-batch-size 48 would fit"):
        refuse_unaffordable(dataclasses.replace(fits, network=2 * GIB), [mx.cpu(0)])
    with pytest.raises(InsightError, match=r"at least 10.7 GB \(network 2.1, classes 4.3.* --per-batch-size 32 would"):
        refuse_unaffordable(Prediction(GIB, 2 * GIB, 2 * GIB, 0, 0, 0, devices=2, batch=64), [mx.cpu(0), mx.cpu(1)])
    with pytest.raises(InsightError, match="this machine has 8.6 GB; a smaller --emb-size or fewer identities"):
        refuse_unaffordable(dataclasses.replace(fits, classes=9 * GIB), [mx.cpu(0)])


def test_free_memory_of_the_fullest_gpu_counts(monkeypatch):
    monkeypatch.setattr(mx.context, "gpu_memory_info", lambda i: ((6 - i) * GIB, 16 * GIB))
    parts = Prediction(GIB, 3 * GIB, GIB, 0, 0, 0, devices=2, batch=64)
    refuse_unaffordable(parts, [mx.gpu(0), mx.gpu(1)])
    with pytest.raises(InsightError, match=r"gpu\(2\) has 4.3 GB"):
        refuse_unaffordable(parts, [mx.gpu(0), mx.gpu(2)])


def test_machine_memory_heeds_the_container(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (str(limit), str(tmp_path / "absent")))
    whole = memory.machine_memory()
    for text, want in (("max\n", whole), ("123456789\n", 123456789), ("9223372036854771712\n", whole)):
        limit.write_text(text)
        assert memory.machine_memory() == want
