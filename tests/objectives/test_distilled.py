"""Distillation around another objective: gradients, devices, a map between lengths, what nothing is added to."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from test_classification import slopes

from insight import objectives
from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed.loader import Batch
from insight.objectives.adadistill import AdaDistill
from insight.objectives.distilled import WEIGHT, Distilled
from insight.objectives.objective import Objective
from insight.objectives.triplet import Triplet
from insight.train.train_options import TrainOptions

nd = mx.nd
LABELS = np.array([0, 6, 3, 3, 1, 2, 6, 0])
SIZE, CLASSES = 4, 7


class FakeTeacher:
    """Embeddings of the eight images of a batch."""

    def __init__(self, dimension=SIZE, seed=5):
        rows = np.random.default_rng(seed).normal(size=(len(LABELS), dimension))
        self.unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        self.dimension = dimension
        self.identity = {"dimension": dimension}

    def rows(self, batch):
        return self.unit[batch.indices]

    def describe(self):
        return "taught by a fake"


def options(**more):
    return TrainOptions(**{"data_dir": "d", "emb_size": SIZE, "seed": 3, "teacher": "t.npz", **more})


def create(devices=1, teacher=None, **more):
    objective = objectives.create(options(**more), CLASSES, teacher or FakeTeacher())
    mx.random.seed(1)
    objective.initialize(mx.init.Xavier(), [mx.cpu(i) for i in range(devices)])
    return objective


def rows_of(seed=0):
    return np.random.default_rng(seed).normal(size=(len(LABELS), SIZE)) * 3


def learn(objective, rows, step=0, labels=LABELS, devices=1):
    parts = [nd.array(part, ctx=mx.cpu(i)) for i, part in enumerate(np.split(rows, devices))]
    batch = Batch(None, nd.array(labels), np.arange(len(labels)), None, np.zeros(len(labels), bool))
    return objective.learn(parts, batch, step)


def whole(arrays):
    return np.concatenate([array.asnumpy() for array in arrays])


def cosines(rows, taught):
    return np.einsum("ij,ij->i", rows, taught) / np.linalg.norm(rows, axis=1) / np.linalg.norm(taught, axis=1)


@pytest.mark.parametrize("dimension", [SIZE, 6, 3])
@pytest.mark.parametrize("devices", [1, 2])
def test_gradients_alone(devices, dimension):
    """Against finite differences in double precision, of the embeddings and of the map."""
    teacher = FakeTeacher(dimension)
    objective = create(devices, teacher, loss_type="none", teacher_weight=7.0)
    rows, taught = rows_of(), teacher.unit.astype(np.float64)
    mapped = [p.list_data()[0].asnumpy().astype(np.float64) for p in objective.params.values()]

    def losses():
        return 7 * (1 - cosines(rows @ mapped[0].T if mapped else rows, taught))

    result = learn(objective, rows, devices=devices)
    np.testing.assert_allclose(whole(result.gradients), slopes(lambda: losses().sum(), rows), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(whole(result.figures["loss"]), losses(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(whole(result.figures["cos_teacher"]), 1 - losses() / 7, rtol=1e-5, atol=1e-6)
    assert list(result.figures) == ["loss", "cos_teacher"] and len(mapped) == (dimension != SIZE)
    if mapped:
        found = sum(gradient.asnumpy() for gradient in objective.map.list_grad())
        np.testing.assert_allclose(found, slopes(lambda: losses().sum(), mapped[0]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("towards", [1.0, -1.0])
def test_at_the_ends_of_the_cosine(towards):
    teacher = FakeTeacher()
    objective = create(teacher=teacher, loss_type="none")
    rows = 5 * towards * teacher.unit.astype(np.float64)
    result = learn(objective, rows)
    np.testing.assert_allclose(whole(result.figures["cos_teacher"]), towards, atol=1e-6)
    assert np.abs(whole(result.gradients)).max() < 1e-5
    assert np.isfinite(whole(learn(objective, 0 * rows).gradients)).all()


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("loss_type", ["4", "0", "triplet"])
def test_it_adds_its_gradient_to_another_objective(devices, loss_type):
    rows = rows_of()
    alone = objectives.create(options(teacher="", loss_type=loss_type), CLASSES)
    both = create(devices, loss_type=loss_type, teacher_weight=3.0)
    mx.random.seed(1)
    alone.initialize(mx.init.Xavier(), [mx.cpu(i) for i in range(devices)])
    teacher = create(1, loss_type="none", teacher_weight=3.0)
    for objective in (alone, both):
        objective.sums = learn(objective, rows, devices=devices)
    own = whole(learn(teacher, rows).gradients)
    np.testing.assert_allclose(whole(both.sums.gradients), whole(alone.sums.gradients) + own, rtol=1e-6, atol=1e-6)
    for name, parameter in alone.params.items():
        for mine, theirs in zip(both.params[name].list_grad(), parameter.list_grad()):
            np.testing.assert_array_equal(mine.asnumpy(), theirs.asnumpy())
    assert [*both.sums.figures] == [*alone.sums.figures, "cos_teacher"]
    assert both.memory(8).parameters == alone.memory(8).parameters
    for name in ("name", "sampler", "refines", "line_names", "lr_steps", "steps", "lr_delay", "labelled"):
        assert getattr(both, name) == getattr(alone, name), name
    assert both.multipliers() == alone.multipliers()
    embedding = mx.sym.Variable("fc1_output")
    assert both.symbol(embedding).list_outputs() == alone.symbol(embedding).list_outputs()
    assert both.describe() == f"{alone.describe()}, taught by a fake weight=3"
    state = json.loads(json.dumps(both.state()))
    assert state == {**alone.state(), "teacher": {"dimension": SIZE}}
    both.restore(state)


def test_weight_0_is_no_teacher_to_the_bit():
    rows = rows_of()
    alone, both = objectives.create(options(teacher=""), CLASSES), create(teacher_weight=0.0)
    mx.random.seed(1)
    alone.initialize(mx.init.Xavier(), [mx.cpu()])
    assert [*both.params] == [*alone.params] == ["fc7_weight"]
    mine, theirs = learn(both, rows), learn(alone, rows)
    assert whole(mine.gradients).tobytes() == whole(theirs.gradients).tobytes()
    for one, other in (
        (alone.weight.data(), both.inner.weight.data()),
        (alone.weight.grad(), both.inner.weight.grad()),
    ):
        assert one.asnumpy().tobytes() == other.asnumpy().tobytes()
    assert "cos_teacher" in mine.figures and "cos_teacher" not in theirs.figures


def test_weight_0_needs_a_teacher_of_the_same_length():
    """There is no cosine to measure, and the set would be embedded for nothing."""
    with pytest.raises(InsightError, match="--teacher-weight 0: .* embeddings have 6 values, and --emb-size is 4, so"):
        objectives.create(options(teacher_weight=0.0), CLASSES, FakeTeacher(6))


def test_what_is_chosen():
    assert isinstance(create(loss_type="triplet").inner, Triplet) and create().weight == WEIGHT
    mapped = create(teacher=FakeTeacher(6))
    assert mapped.map.shape == (6, SIZE) and [*mapped.params] == ["fc7_weight", "teacher_map_weight"]
    assert "through a linear map" in mapped.describe()
    plain = create()
    assert mapped.memory(8).parameters == plain.memory(8).parameters + 6 * SIZE
    adapted = create(adadistill=True)
    assert isinstance(adapted, Distilled) and isinstance(adapted.inner, AdaDistill) and adapted.weight == 0
    assert create(adadistill=True, teacher_weight=2.0).weight == 2


@pytest.mark.parametrize(
    "more, says",
    [
        ({"teacher": "", "teacher_weight": 1.0}, "--teacher-weight 1: does nothing without a --teacher"),
        ({"teacher": "", "teacher_flips": "one"}, "--teacher-flips one: does nothing without a --teacher"),
        ({"teacher": "", "teacher_file": "a"}, "--teacher-file a: does nothing without a --teacher"),
        ({"teacher": "", "adadistill": True}, "--adadistill: does nothing without a --teacher"),
        ({"teacher_file": "a"}, "--teacher-file a: --teacher t.npz is such a file"),
        ({"teacher_weight": -1.0}, "--teacher-weight -1: must be 0 or more"),
        ({"teacher_weight": float("inf")}, "--teacher-weight inf: must be a finite number"),
        ({"teacher_flips": "some"}, "--teacher-flips some: must be auto or both or one"),
        ({"loss_type": "none", "teacher_weight": 0.0}, "--teacher-weight 0: nothing is learned with --loss-type none"),
        ({"loss_type": "none", "adadistill": True}, "--adadistill: adapts the centres of a margin, and --loss"),
        (
            {"loss_type": "0", "adadistill": True},
            "--adadistill: centres are directions; --loss-type softmax has",
        ),
        ({"adadistill": True, "emb_size": 5}, "--adadistill: .*the teacher has 4 values, --emb-size is 5"),
        (
            {"adadistill": True, "fc7_lr_mult": 2.0},
            "--fc7-lr-mult 2: does nothing with --adadistill, which uses --shard",
        ),
        (
            {"adadistill": True, "centres": 3},
            "--centres 3: does nothing with --adadistill, which uses --shard-classes;",
        ),
        ({"adadistill": True, "sample_rate": 0.5}, "--sample-rate 0.5: does nothing with --adadistill"),
        ({"adadistill": True, "interclass_filter": 0.4}, "--interclass-filter 0.4: does nothing with --adadistill"),
        ({"adadistill": True, "margin_b": 0.4}, "--margin-b 0.4: does nothing with --loss-type arcface"),
        ({"loss_type": "none", "margin_m": 0.2}, "--margin-m 0.2: does nothing with --loss-type none"),
    ],
)
def test_refusals(more, says):
    with pytest.raises(InsightError, match=says):
        objectives.create(options(**more), CLASSES, FakeTeacher())


def test_no_loss_needs_a_teacher():
    with pytest.raises(InsightError, match="--loss-type none: nothing is learned without a --teacher"):
        objectives.create(options(teacher="", loss_type="none"), CLASSES)
    assert SimpleNamespace(**vars(options(loss_type="none"))).sampler == "shuffled"


def test_every_method_is_answered():
    """A method of objectives that the wrapper does not define would answer for the wrapper, not for the other."""
    answered = {name for name in vars(Objective) if not name.startswith("_") and callable(getattr(Objective, name))}
    assert answered - {"from_options"} <= set(vars(Distilled))
