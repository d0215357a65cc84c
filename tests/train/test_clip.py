"""``--clip-norm``: the norm against NumPy, what it leaves alone, and a run with one."""

import json

import numpy as np
import pytest

from insight import checkpoint
from insight._mxnet import mx
from insight.errors import InsightError
from insight.train import clip
from insight.train.loop import train
from insight.train.optimizer import make_trainer, update
from insight.train.train_options import TrainOptions


def options(set_dir, prefix, **more):
    base = {"network": "y1", "emb_size": 8, "version_output": "E", "max_steps": 2, "frequent": 1, "target": "val"}
    base = {**base, "per_batch_size": 6, "ckpt": 2, "verbose": 2, "loss_type": "2"}
    return TrainOptions(data_dir=str(set_dir), prefix=str(prefix), **{**base, **more})


def norm(arrays):
    return np.sqrt(sum((array.astype(np.float64) ** 2).sum() for array in arrays))


@pytest.mark.parametrize("bound", [0.01, 3.0, 1e9])
def test_the_norm_after_is_the_smaller_of_both(bound):
    draw = np.random.default_rng(0)
    arrays = [draw.normal(0, 5, size).astype(np.float32) for size in (3, (40, 500), (20000, 3), 1, 200000)]
    gradients = [[mx.nd.array(array), mx.nd.array(array)] for array in arrays]
    before = clip.clip(gradients, 8, bound)
    assert before == pytest.approx(norm(arrays) / 8, rel=1e-5)
    for device in (0, 1):
        after = [copies[device].asnumpy() for copies in gradients]
        assert norm(after) / 8 == pytest.approx(min(bound, norm(arrays) / 8), rel=1e-5)
        for one, array in zip(after, arrays):
            np.testing.assert_allclose(one, array * min(1, bound / before), rtol=1e-5)
            assert before > bound or (one == array).all()


def test_only_the_named_parameters_of_several_devices_behind_their_sum():
    params = {name: mx.gluon.Parameter(name, shape=(2,)) for name in ("conv_weight", "conv_bias", "fc7_weight")}
    for parameter in params.values():
        parameter.initialize(mx.init.Zero(), ctx=[mx.cpu(0), mx.cpu(1)])
    trainer = make_trainer(params, momentum=0.0, wd=0.0, fc7_wd_mult=1.0)
    trainer.set_learning_rate(1.0)
    shares = {"conv_weight": ((3, 0), (1, 8)), "conv_bias": ((-6, 0), (6, 8)), "fc7_weight": ((90, 0), (0, 90))}
    for name, (left, right) in shares.items():
        for copy, values in zip(params[name].list_data(), (left, right)):
            with mx.autograd.record():
                (copy * mx.nd.array(values, ctx=copy.context)).backward()
    found = update(trainer, 4, False, 1.0, ("conv_weight", "conv_bias"))
    assert found == pytest.approx(np.sqrt(4**2 + 8**2 + 0 + 8**2) / 4)  # of the sum over devices, over the batch
    for name, want in (("conv_weight", (-4, -8)), ("conv_bias", (0, -8)), ("fc7_weight", (-90 * found, -90 * found))):
        for copy in params[name].list_data():
            np.testing.assert_allclose(copy.asnumpy(), np.array(want) / 4 / found, rtol=1e-5, atol=1e-7)


def arrays_of(prefix):
    return {name: array.asnumpy() for name, array in checkpoint.load(str(prefix), 1).arg_params.items()}


def test_a_run(set_dir, tmp_path):
    """One that clips nothing is the run without to the bit; one that does moves less far."""
    for name, bound in (("without", 0.0), ("large", 1e6), ("small", 1e-3)):
        train(options(set_dir, tmp_path / name, clip_norm=bound))
    without, large, small = (arrays_of(tmp_path / name) for name in ("without", "large", "small"))
    assert all((large[name] == without[name]).all() for name in without)
    assert any((small[name] != without[name]).any() for name in without)
    rows = [json.loads(line) for line in open(tmp_path / "small-log.jsonl", encoding="utf-8")]
    lengths = [row["gradient_norm"] for row in rows if row["kind"] == "step"]
    assert len(lengths) == 2 and min(lengths) > 1e-3
    assert "gradient_norm" not in (tmp_path / "without-log.jsonl").read_text()


def test_a_negative_norm_is_refused(set_dir, tmp_path):
    with pytest.raises(InsightError, match="--clip-norm -1: must be 0 or more"):
        options(set_dir, tmp_path / "m", clip_norm=-1.0)
