"""``--ema``: the averages against the closed form, their checkpoint and lines, and a run without."""

import dataclasses
import json
import re

import numpy as np
import pytest

from insight import checkpoint, engines
from insight._mxnet import mx
from insight.errors import InsightError
from insight.export.slim import slim
from insight.runs import lineage, logfiles
from insight.train.ema import decay_at
from insight.train.estimate import verifications
from insight.train.learner import Learner
from insight.train.loop import train
from insight.train.start import prepare
from insight.train.train_options import TrainOptions


def options(set_dir, prefix, **more):
    base = {"network": "y1", "emb_size": 8, "version_output": "E", "max_steps": 4, "frequent": 1, "target": "val"}
    base = {**base, "per_batch_size": 6, "ckpt": 2, "verbose": 2, "loss_type": "2", "lr": 0.01, "ema": 0.6}
    return TrainOptions(data_dir=str(set_dir), prefix=str(prefix), **{**base, **more})


def test_decay():
    assert [decay_at(0.5, n) for n in (0, 1, 7, 8, 9, 1000)] == [0.1, 2 / 11, 8 / 17, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("devices", ["cpu", "cpu,cpu"])
def test_ten_steps_are_the_closed_form(set_dir, tmp_path, devices):
    """avg_10 = sum of w_i (1 - d_i) prod of later d; running statistics are the devices' mean."""
    learner = Learner(prepare(options(set_dir, tmp_path / "m", devices=devices, max_steps=10, per_batch_size=3)))
    params = learner.model.network.kept()

    def values():
        mx.nd.waitall()
        return {n: np.mean([a.asnumpy().astype(np.float64) for a in p.list_data()], axis=0) for n, p in params.items()}

    want = values()
    batches = learner.batches(0)
    for step in range(10):
        learner.learn(next(batches), step, False)
        keep = min(0.6, (1 + step) / (10 + step))
        want = {name: keep * want[name] + (1 - keep) * value for name, value in values().items()}
    batches.close()
    averages = {name: array.asnumpy() for name, (array,) in learner.averages.arrays().items()}
    assert averages.keys() == want.keys() and learner.averages.updates == 10
    now = values()
    for name, average in averages.items():
        np.testing.assert_allclose(average, want[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for name in ("conv_1_conv2d_weight", "conv_1_batchnorm_moving_mean"):
        assert np.abs(averages[name] - now[name]).max() > 1e-5


def test_the_run_is_the_one_without_and_its_averages_are_beside(set_dir, tmp_path, capsys):
    train(options(set_dir, tmp_path / "without", ema=0.0))
    assert not list(tmp_path.glob("*-ema*"))
    capsys.readouterr()
    train(options(set_dir, tmp_path / "with"))
    out = capsys.readouterr().out
    assert "averages of the weights, decay 0.6, as " in out
    for line in (r"\[val-ema\]\[4\]Accuracy-Flip: .*", "saving averages 2", "averages best: number .*, step .*"):
        assert re.search(f"^{line}$", out, re.M), line
    assert "[val-ema][0]" not in out  # the network itself
    for number in (1, 2):
        one, other = (checkpoint.load(str(tmp_path / name), number) for name in ("with", "without"))
        for name, array in {**one.arg_params, **one.aux_params}.items():
            theirs = {**other.arg_params, **other.aux_params}[name]
            assert (array.asnumpy() == theirs.asnumpy()).all(), name
    averages, last = (checkpoint.load(str(tmp_path / name), 2) for name in ("with-ema", "with"))
    assert averages.symbol.list_inputs() == last.symbol.list_inputs()
    assert (averages.arg_params["fc7_weight"] == last.arg_params["fc7_weight"]).asnumpy().all()
    assert (averages.arg_params["pre_fc1_weight"] != last.arg_params["pre_fc1_weight"]).asnumpy().any()
    rows = [json.loads(line) for line in open(tmp_path / "with-log.jsonl", encoding="utf-8")]
    assert [(r["target"], r["step"]) for r in rows if r["kind"] == "verification"][1:3] == [("val", 2), ("val-ema", 2)]
    assert [r["number"] for r in rows if r["kind"] == "saved_averages"] == [1, 2]


def test_verified_is_what_is_saved_and_its_lineage_is_known(set_dir, tmp_path):
    learner = Learner(prepare(options(set_dir, tmp_path / "m")))
    batches = learner.batches(0)
    learner.learn(next(batches), 0, False)
    batches.close()
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, *learner.model.image_size)).astype(np.float32)
    embeddings = learner.averages.embedder("m")(images)
    assert np.abs(embeddings - learner.model.embedder("m")(images)).max() > 1e-4
    checkpoint.save(str(tmp_path / "saved"), 1, learner.averages.checkpoint())
    np.testing.assert_allclose(engines.load(f"{tmp_path}/saved,1")(images), embeddings, rtol=1e-4, atol=1e-4)


def test_readers_of_the_log(set_dir, tmp_path):
    """Averages have numbers and lineage of their own, and do not decide about the network's best."""
    (tmp_path / "m-ema-0004.params").write_bytes(b"")
    train(options(set_dir, tmp_path / "m"))
    assert sorted(path.name for path in tmp_path.glob("m-ema-0*.params"))[1:] == [
        "m-ema-0005.params",
        "m-ema-0006.params",
    ]
    run = logfiles.read_log(tmp_path / "m-log.jsonl")
    assert list(run.targets) == ["val", "val-ema"]
    assert run.best_of("val-ema").number in (5, 6) and run.best_of("val").number in (1, 2)
    assert list(run.best().accuracies) == ["val"] and run.best().number in (1, 2)


def test_lineage_of_a_slimmed_average(set_dir, tmp_path):
    train(options(set_dir, tmp_path / "m"))
    (stage,) = lineage.stages(str(tmp_path / "m-ema"), 1)
    assert (stage.steps, stage.options["ema"]) == (2, 0.6)
    assert lineage.stages(str(tmp_path / "m-ema"), 3) == []
    slim(f"{tmp_path}/m-ema,2", str(tmp_path / "slim"), count=1)
    assert lineage.stages(str(tmp_path / "slim"), 0)[0].steps == 4


def test_its_memory_and_time_are_counted(set_dir, tmp_path):
    with_it, without = (Learner(prepare(options(set_dir, tmp_path / "m", ema=ema))) for ema in (0.6, 0.0))
    size = 4 * sum(array.size for (array,) in with_it.averages.arrays().values())
    assert size <= with_it.memory.averages < 1.05 * size  # the training form has a few arrays more
    assert (without.memory.averages, without.averages) == (0, None)
    assert (
        dataclasses.replace(with_it.memory, averages=0).needed(6) == with_it.memory.needed(6) - with_it.memory.averages
    )
    assert "averages" in with_it.memory.shares() and "averages" not in without.memory.shares()
    assert [verifications(learner.setup) for learner in (with_it, without)] == [5, 3]  # no averages at step 0


def test_refusals(set_dir, tmp_path):
    with pytest.raises(InsightError, match="--ema 1: must be in 0 <= ema < 1"):
        options(set_dir, tmp_path / "m", ema=1.0)
    with pytest.raises(InsightError, match="--ema 0.6: with --ckpt 0 and no verification set"):
        train(options(set_dir, tmp_path / "m", ckpt=0, target="none"))
    train(options(set_dir, tmp_path / "other", network="y1", version_output="J", max_steps=1))
    (tmp_path / "other-0001.params").unlink()
    with pytest.raises(InsightError, match="other-ema-symbol.json describes another network"):
        train(options(set_dir, tmp_path / "other"))
