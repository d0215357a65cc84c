"""One step's gradients: on several devices, in half precision, with a frozen network."""

import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest

from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed.loader import Batch
from insight.objectives import create
from insight.objectives.distilled import Distilled
from insight.objectives.none import NoLoss
from insight.train import devices
from insight.train.devices import all_finite
from insight.train.model import Model, build_network, network_stages
from insight.train.optimizer import make_trainer
from insight.train.precision import LossScale
from insight.train.train_options import TrainOptions

CLASSES = 6


@pytest.fixture(scope="module")
def batch():
    draw = np.random.default_rng(3)
    return Batch(mx.nd.array(draw.uniform(0, 255, (8, 3, 112, 112))), mx.nd.array([0, 5, 2, 1, 3, 3, 4, 0]), None, None)


def model(contexts, **more):
    options = TrainOptions(data_dir="d", **{"network": "y1", "emb_size": 16, "margin_s": 8.0, **more})
    return Model(options, build_network(options, contexts), create(options, CLASSES), contexts)


def gradients(made, index=0):
    return {n: p.list_grad()[index].asnumpy().copy() for n, p in made.params.items() if p.grad_req != "null"}


def part(batch, begin, end):
    return Batch(batch.data[begin:end], batch.label[begin:end], None, None)


def cosine(a, b):
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-30))


class Stages:
    """A teacher of two of y1's stages, one with another number of channels."""

    spec, dimension, channels = "stages,0", 16, {(14, 14): 128, (7, 7): 5}

    def __init__(self, count=8):
        draw = np.random.default_rng(8)
        self.rows_BE = draw.normal(size=(count, self.dimension)).astype(np.float32)
        self.maps = {size: mx.nd.array(draw.normal(size=(count, c, *size))) for size, c in self.channels.items()}

    def rows(self, batch):
        return self.rows_BE / np.linalg.norm(self.rows_BE, axis=1, keepdims=True)

    def features(self, batch, sizes):
        return [self.maps[size] for size in sizes]


@pytest.mark.filterwarnings("ignore:Cannot decide type")
@pytest.mark.parametrize("dtype, alike", [("float32", 0.99999), ("bfloat16", 0.9)])
def test_features_of_stages_reach_the_network(batch, dtype, alike, request):
    """Against the gradients of the whole loss, by autograd through the network."""
    if dtype == "bfloat16":
        request.getfixturevalue("trains_in_bfloat16")
    teacher = Stages()
    options = TrainOptions(data_dir="d", network="y1", emb_size=16, loss_type="none", teacher="t,0", dtype=dtype)
    network = build_network(options, [mx.cpu()])
    objective = Distilled(NoLoss(), teacher, 14.0, 16, 30.0)
    stages = network_stages(network)
    objective.stages.choose(stages.channels)
    assert objective.stages.sizes == [(14, 14), (7, 7)]
    made = Model(options, network, objective, [mx.cpu()])
    figures = made.backward(batch, 0)
    mine = gradients(made)
    assert set(figures) == {"loss", "cos_teacher", "feature_error"}

    symbol = network(mx.sym.Variable("data"))
    outputs = mx.sym.Group([symbol, *stages.outputs(symbol, objective.stages.sizes)])
    block = mx.gluon.SymbolBlock(outputs, mx.sym.Variable("data"), params=network.collect_params())
    weight = objective.params["teacher_stage7x7_weight"].data()
    with mx.autograd.record():
        embedding, *features = block(batch.data)
        features[1] = mx.nd.Convolution(features[1], weight, no_bias=True, kernel=(1, 1), num_filter=5)
        unit = mx.nd.L2Normalization(embedding)
        loss = 14 * (1 - mx.nd.sum(unit * mx.nd.array(teacher.rows(batch)), axis=1))
        for stage, size in zip(features, objective.stages.sizes):
            target = teacher.maps[size]
            loss = loss + 15 * mx.nd.sum((stage - target) ** 2, axis=(1, 2, 3)) / mx.nd.sum(target**2, axis=(1, 2, 3))
    loss.backward()
    np.testing.assert_allclose(
        14 * (1 - figures["cos_teacher"]) + 30 * figures["feature_error"],
        loss.asnumpy(),
        rtol=1e-4 if dtype == "float32" else 0.02,
    )
    theirs = gradients(made)
    assert mine.keys() == theirs.keys() and "teacher_stage7x7_weight" in mine
    reached = [name for name in mine if name.startswith(("res_5", "dconv_45"))]
    whole = [np.concatenate([side[name].ravel() for name in reached]) for side in (mine, theirs)]
    assert cosine(*whole) > alike
    assert cosine(mine["teacher_stage7x7_weight"], theirs["teacher_stage7x7_weight"]) > alike


def test_two_devices_give_the_sum_over_their_shares(batch):
    one, two = model([mx.cpu(0)]), model([mx.cpu(0), mx.cpu(1)])
    figures = two.backward(batch, 0)
    shares = []
    for begin in (0, 4):
        alone = one.backward(part(batch, begin, begin + 4), 0)
        np.testing.assert_allclose(figures["loss"][begin : begin + 4], alone["loss"], rtol=1e-5)
        shares.append(gradients(one))
    for i, share in enumerate(shares):
        for name, gradient in gradients(two, i).items():
            np.testing.assert_allclose(gradient, share[name], rtol=1e-4, atol=1e-5 * np.abs(share[name]).max() + 1e-9)
    trainers = [make_trainer(m.params, 0.9, 5e-4, 1.0) for m in (one, two)]
    for name, p in one.params.items():  # one device's gradient is now the sum of both shares
        if p.grad_req != "null":
            p.grad()[:] = mx.nd.array(shares[0][name] + shares[1][name])
    for trainer in trainers:
        trainer.set_learning_rate(0.1)
        trainer.step(8)
    for name, p in two.params.items():
        copies = [c.asnumpy() for c in p.list_data()]
        if p.grad_req != "null":
            np.testing.assert_array_equal(copies[0], copies[1], err_msg=name)
            expected = one.params[name].data().asnumpy()
            np.testing.assert_allclose(copies[0], expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_checkpoint_holds_the_mean_of_running_statistics(batch):
    two = model([mx.cpu(0), mx.cpu(1)])
    two.backward(batch, 0)
    mx.nd.waitall()
    name = "conv_1_batchnorm_moving_mean"
    copies = [c.asnumpy() for c in two.params[name].list_data()]
    assert np.abs(copies[0] - copies[1]).max() > 1e-5
    np.testing.assert_allclose(two.checkpoint().aux_params[name].asnumpy(), np.mean(copies, axis=0), rtol=1e-6)


def test_checkpoints_share_the_parameters_arrays():
    made = model([mx.cpu(0), mx.cpu(1)])
    whole, network = made.checkpoint(), made.network_checkpoint()
    assert set(whole.arg_params) - set(network.arg_params) == {"fc7_weight"}
    assert set(whole.arg_params) | set(whole.aux_params) == set(made.params)
    assert set(network.aux_params) == set(whole.aux_params)
    assert network.symbol.list_outputs() == ["fc1_output"]
    for name in ("fc7_weight", "conv_1_conv2d_weight"):
        copies = made.params[name].list_data()
        copies[0][:] = 2
        copies[1][:] = 3  # devices hold the same; this shows whose array it is
        assert whole.arg_params[name].asnumpy().ravel()[0] == 2


def test_arrays_are_each_devices_where_they_differ():
    made = model([mx.cpu(0), mx.cpu(1)])
    arrays = made.arrays()
    mean, weight = "conv_1_batchnorm_moving_mean", "fc7_weight"
    assert {name for name in arrays if name.startswith((mean, weight))} == {f"{mean}@0", f"{mean}@1", f"{weight}@0"}
    assert [len(arrays[name]) for name in (f"{mean}@0", f"{mean}@1", f"{weight}@0")] == [1, 1, 2]
    arrays[f"{mean}@1"][0][:] = 5
    assert [copy.asnumpy()[0] for copy in made.params[mean].list_data()] == [0, 5]


COPIES = """
    import sys
    import numpy as np
    from insight import checkpoint
    from insight._mxnet import keep_freed_memory, mx
    from insight.engines.mxnet import MXNetEngine
    from insight.objectives import create
    from insight.train.model import Model, build_network
    from insight.train.train_options import TrainOptions

    def peak():
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

    keep_freed_memory()
    devices = [mx.cpu(0), mx.cpu(1)]
    options = TrainOptions(data_dir="d", network="y1", emb_size=128)
    objective = create(options, 400_000)  # fc7: 195 MiB, four times
    model = Model(options, build_network(options, devices), objective, devices)
    held = [mx.nd.ones((1 << 20, 64)), mx.nd.zeros((1,))]  # what initialising took is given back; take it again
    mx.nd.waitall()
    start = peak()
    checkpoint.save(sys.argv[1], 1, model.checkpoint())
    saved = peak()
    engine = MXNetEngine(model.network_checkpoint(), device=mx.cpu(0))
    engine(np.zeros((8, 3, 112, 112), np.float32))
    print(start, saved - start, peak() - saved)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_checkpoint_and_verification_hold_no_second_classifier(tmp_path):
    command = [sys.executable, "-c", dedent(COPIES), str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    start, saving, verifying = map(int, done.stdout.split())
    assert start > 4 * 195 and saving < 64 and verifying < 128  # MiB


@pytest.mark.parametrize("network", ["y1", "r18"])
def test_bfloat16_is_close_to_float32(batch, network, trains_in_bfloat16):
    full, half = (model([mx.cpu(0)], network=network, dtype=dtype) for dtype in ("float32", "bfloat16"))
    losses = [m.backward(batch, 0)["loss"] for m in (full, half)]
    assert np.abs(losses[0] - losses[1]).max() > 0  # it does compute in less
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.15)
    a, b = gradients(full), gradients(half)
    assert {g.dtype for g in b.values()} == {np.dtype("float32")}
    assert all(p.data().dtype == np.float32 for p in half.params.values())
    like = [cosine(a[name], b[name]) for name in a if name.endswith("_weight")]
    assert np.median(like) > 0.9 and cosine(a["fc7_weight"], b["fc7_weight"]) > 0.98
    stem = next(name for name in a if name in ("conv_1_conv2d_weight", "conv0_weight"))
    assert cosine(a[stem], b[stem]) > 0.8


def test_frozen_leaves_the_network_without_gradients(batch):
    made = model([mx.cpu(0)])
    trainer = make_trainer(made.params, 0.9, 5e-4, 1.0)
    trainer.set_learning_rate(0.1)
    before = {name: p.data().asnumpy() for name, p in made.params.items()}
    for step in range(2):
        made.backward(batch, step, frozen=True)
        assert made.usable(frozen=True)
        trainer.step(8, ignore_stale_grad=True)
    moved = {n for n, p in made.params.items() if not np.array_equal(before[n], p.data().asnumpy())}
    assert {n for n in moved if "moving" not in n} == {"fc7_weight"}


def test_all_finite_finds_one_bad_number():
    arrays = [mx.nd.ones((3, 4)) for _ in range(250)]
    assert all_finite(arrays)
    for bad in (np.nan, np.inf, -np.inf):
        arrays[-1][2, 3] = bad
        assert not all_finite(arrays)


def test_loss_scale_halves_and_grows():
    scale = LossScale()
    scale.saw(False)
    assert scale.value == 2.0**15
    for _ in range(LossScale.GROWS_AFTER):
        scale.saw(True)
    assert scale.value == 2.0**16
    state = scale.state()
    for _ in range(40):
        scale.saw(False)
    assert scale.value == 1.0 and not scale.can_fall
    scale.restore(state)
    assert scale.value == 2.0**16 and scale.can_fall


def test_loss_scale_cancels_out(batch):
    plain, scaled = model([mx.cpu(0)]), model([mx.cpu(0)])
    scaled._loss_scale = LossScale()  # as float16 has it; the arithmetic here is float32's
    for made in (plain, scaled):
        made.backward(batch, 0)
    a, b = gradients(plain), gradients(scaled)
    for name in a:
        np.testing.assert_allclose(b[name], a[name], rtol=1e-5, atol=1e-6 * np.abs(a[name]).max(), err_msg=name)


def test_devices():
    assert devices.parse("cpu") == [mx.cpu(0)] and devices.parse("cpu, cpu") == [mx.cpu(0), mx.cpu(1)]
    assert devices.parse("") == ([mx.gpu(i) for i in range(mx.context.num_gpus())] or [mx.cpu(0)])
    with pytest.raises(InsightError, match="--devices 99"):
        devices.parse("99")
    parts = devices.shares(mx.nd.arange(6), [mx.cpu(0), mx.cpu(1)])
    assert [p.asnumpy().tolist() for p in parts] == [[0, 1, 2], [3, 4, 5]]
