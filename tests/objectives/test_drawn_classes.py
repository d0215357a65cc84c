"""``--sample-rate``: which classes are drawn, and that a step is one of a head that has no others."""

import subprocess
import sys

import numpy as np
import pytest
from margin_cases import CASES
from test_sharded import SGD, E, case, compare, near
from threads_group import run_ranks

from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed.loader import Batch
from insight.margins import margins
from insight.objectives import drawn_classes, projection
from insight.objectives.classification import Classification
from insight.objectives.drawn_classes import draw
from insight.ranks.group import span

NONE = np.zeros(0, np.int64)
C, RATE = 400, 0.1
ALL_KINDS = [(name, options) for name, options in CASES if name != "arcface" or options.get("margin_m") == 0.4]


class TestDraw:
    @pytest.mark.parametrize("cell", [64, 1000, 1 << 16])
    def test_the_same_for_any_number_of_ranks(self, cell, monkeypatch):
        monkeypatch.setattr(drawn_classes, "CELL", cell)
        positives = np.array([0, 3, 63, 64, 500, 999])
        for step in range(5):
            alone = draw(7, step, 1000, 0.1, positives)
            assert len(alone) == 100 and set(positives) < set(alone.tolist()) and (np.diff(alone) > 0).all()
            for ranks in (2, 3, 4):
                parts = [draw(7, step, 1000, 0.1, positives, *span(1000, rank, ranks)) for rank in range(ranks)]
                np.testing.assert_array_equal(np.concatenate(parts), alone)

    def test_a_function_of_the_seed_and_the_step(self):
        first = draw(0, 0, 1000, 0.1, NONE)
        np.testing.assert_array_equal(draw(0, 0, 1000, 0.1, NONE), first)
        for seed, step in ((0, 1), (1, 0)):
            assert len(np.intersect1d(draw(seed, step, 1000, 0.1, NONE), first)) < 30

    @pytest.mark.parametrize("cell", [7, 100])
    def test_every_class_is_as_likely(self, cell, monkeypatch):
        """Also where cells have a fraction of a class of the draw."""
        monkeypatch.setattr(drawn_classes, "CELL", cell)
        steps = 3000
        counts = np.bincount(np.concatenate([draw(1, step, 95, 0.11, NONE) for step in range(steps)]), minlength=95)
        share = 10 / 95
        assert counts.sum() == 10 * steps
        assert np.abs(counts / steps - share).max() < 4.5 * np.sqrt(share * (1 - share) / steps)

    def test_all_of_the_batch_even_where_they_are_more_than_are_drawn(self, monkeypatch):
        monkeypatch.setattr(drawn_classes, "CELL", 100)
        positives = np.arange(100, 150)
        drawn = draw(0, 0, 1000, 0.02, positives)
        np.testing.assert_array_equal(drawn[(drawn >= 100) & (drawn < 200)], positives)
        assert len(drawn) == 50 + 18

    def test_a_rate_of_1_is_all(self):
        np.testing.assert_array_equal(draw(0, 0, 1000, 1.0, NONE), np.arange(1000))


def sampled(name, options, centres=1, **more):
    return case(name, options, centres, classes=C, each=2, ranks=4, sample_rate=RATE, **more)


def drawn_at(step, label):
    return draw(0, step, C, RATE, np.unique(label[step]))


def rows_of(drawn, centres):
    return (drawn[:, None] * centres + np.arange(centres)).ravel()


def check_is_head_of_drawn_classes(name, options, centres=1):
    head, embedding, label = sampled(name, options, centres)
    whole, drawn = head(), drawn_at(2, label)
    assert len(drawn) == C * RATE
    few = Classification(margins.get(name)(**options), len(drawn), E, name == "softmax", centres=centres)
    few.initialize(mx.init.Zero(), [mx.cpu()])
    few.weight.set_data(mx.nd.array(whole.weight.data().asnumpy()[rows_of(drawn, centres)]))
    if few.bias is not None:
        few.bias.set_data(mx.nd.array(whole.bias.data().asnumpy()[drawn]))
    results = []
    for one, labels in ((whole, label[2]), (few, np.searchsorted(drawn, label[2]))):
        result = one.learn([mx.nd.array(embedding[2])], Batch(None, mx.nd.array(labels), None, None), 2)
        figures = [figure[0].asnumpy() for figure in result.figures.values()]
        results.append([result.gradients[0].asnumpy(), *figures, *(g.asnumpy() for g in one.gradients())])
    for got, wanted in zip(*results):
        np.testing.assert_array_equal(got, wanted)
    of_rows = [rows_of(drawn, centres), drawn]
    for parameter, rows, wanted in zip(whole.params.values(), of_rows, few.gradients()):
        dense = parameter.grad().asnumpy()
        np.testing.assert_array_equal(dense[rows], wanted.asnumpy())
        assert not np.delete(dense, rows, axis=0).any()


@pytest.mark.parametrize("name, options", ALL_KINDS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_step_is_one_of_a_head_of_the_drawn_classes(name, options):
    check_is_head_of_drawn_classes(name, options)


def test_a_step_with_several_centres():
    check_is_head_of_drawn_classes("arcface", {"margin_s": 8.0}, centres=3)


@pytest.mark.parametrize("name, centres", [("arcface", 1), ("softmax", 1), ("arcface", 3)])
def test_other_rows_see_neither_decay_nor_momentum(name, centres):
    """The drawn rows are moved as plain NumPy does, the others not at all, to the bit."""
    head, embedding, label = sampled(name, {}, centres)
    whole = head()
    trainer = mx.gluon.Trainer(whole.params, mx.optimizer.SGD(**SGD), kvstore=None)
    values = [parameter.data().asnumpy().astype(np.float64) for parameter in trainer._params]
    momenta = [np.zeros_like(value) for value in values]
    moved = set()
    for step in range(3):
        drawn = drawn_at(step, label)
        before = [(p.data().asnumpy(), m) for p, m in zip(trainer._params, [s.copy() for s in momenta])]
        whole.learn([mx.nd.array(embedding[step])], Batch(None, mx.nd.array(label[step]), None, None), step)
        gradients = [p.grad().asnumpy().astype(np.float64) for p in trainer._params]
        trainer.step(label.shape[1])
        for i, (parameter, gradient) in enumerate(zip(trainer._params, gradients)):
            rows = drawn if parameter.name.endswith("bias") else rows_of(drawn, centres)
            slope = gradient[rows] / label.shape[1] + SGD["wd"] * parameter.wd_mult * values[i][rows]
            momenta[i][rows] = SGD["momentum"] * momenta[i][rows] - SGD["learning_rate"] * slope
            values[i][rows] += momenta[i][rows]
            now, state = parameter.data().asnumpy(), trainer._updaters[0].states[i].asnumpy()
            near(now, values[i])
            near(state, momenta[i])
            others = np.delete(np.arange(len(now)), rows)
            np.testing.assert_array_equal(now[others], before[i][0][others])
            assert (now[rows] != before[i][0][rows]).any()
        moved |= set(drawn.tolist())
    assert C * RATE < len(moved) < C


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("name", ["arcface", "softmax", "curricularface", "arcface_inter"])
def test_ranks_are_as_one(name, ranks):
    example = {"margin_b": 0.5} if name == "arcface_inter" else {}
    head, embedding, label = case(name, example, classes=C, each=8 // ranks, ranks=ranks, sample_rate=0.4)
    compare(head, embedding, label, ranks)


@pytest.mark.parametrize("name, centres", [("arcface", 3), ("softmax", 1)])
def test_a_rank_has_another_number_of_classes_in_each_step(name, centres, monkeypatch):
    """What is kept between steps is cut to the number; rows that were never drawn are as they were, to the bit."""
    monkeypatch.setattr(drawn_classes, "CELL", 32)
    monkeypatch.setattr(projection, "BLOCK", 16)
    ranks, rate, options = 3, 0.3, {} if name == "softmax" else {"margin_s": 8.0}
    head, embedding, label = case(name, options, centres, classes=C, each=4, ranks=ranks, sample_rate=rate)
    drawn = [draw(0, step, C, rate, np.unique(label[step])) for step in range(len(label))]
    ends = np.cumsum([span(C, rank, ranks)[1] - span(C, rank, ranks)[0] for rank in range(ranks)])
    assert all(len({np.searchsorted(of_step, end) for of_step in drawn}) > 2 for end in ends[:-1])
    weights, momenta = compare(head, embedding, label, ranks)
    never = np.setdiff1d(np.arange(C), np.concatenate(drawn))
    assert len(never) > 30
    rows = [rows_of(never, centres), never]
    for value, momentum, parameter, of_never in zip(weights, momenta, head().params.values(), rows):
        np.testing.assert_array_equal(value[of_never], parameter.data().asnumpy()[of_never])
        assert not momentum[of_never].any()


CROWDED = [
    *((name, {}, 1) for name in ("arcface", "softmax", "curricularface", "li_arcface")),
    ("arcface_inter", {"margin_b": 0.5}, 1),
    ("arcface", {"margin_s": 8.0}, 3),
]


def crowded(name, options, centres, ranks):
    """A case whose second batch has no class of the last rank, its third none of the first, and each as many classes as
    are drawn, so that these ranks draw none; and the classes that each step draws.
    """
    rate = 32 * ranks / C
    head, embedding, label = case(name, options, centres, classes=C, each=33, ranks=ranks, sample_rate=rate)
    ends = [span(C, rank, ranks)[1] for rank in range(ranks)]
    for step, low, high in ((1, 0, ends[-2]), (2, ends[0], C)):
        label[step] = low + np.random.default_rng(step).permutation(high - low)[: label.shape[1]]
    drawn = [draw(0, step, C, rate, np.unique(label[step])) for step in range(len(label))]
    assert drawn[0].min() < ends[0] and drawn[0].max() >= ends[-2]
    assert drawn[1].max() < ends[-2] and drawn[2].min() >= ends[0]
    return head, embedding, label, drawn


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("name, options, centres", CROWDED, ids=lambda v: v if isinstance(v, str) else "")
def test_a_rank_may_draw_no_class(name, options, centres, ranks):
    """It has no maxima, sums of 0, and no gradient: all numbers are those of one process, and rows that were never
    drawn are as they were, to the bit.
    """
    head, embedding, label, drawn = crowded(name, options, centres, ranks)
    weights, momenta = compare(head, embedding, label, ranks)
    never = np.setdiff1d(np.arange(C), np.concatenate(drawn))
    rows = rows_of(never, centres)
    np.testing.assert_array_equal(weights[0][rows], head().weight.data().asnumpy()[rows])
    assert len(never) and not momenta[0][rows].any()


def test_all_classes_drawn_are_as_without_a_draw(monkeypatch):
    """The path of draws itself: all rows taken, gradients row-sparse, SGD by rows."""
    results = []
    for rate in (1.0, 0.999):
        head, embedding, label = case("arcface", {}, classes=C, each=8, ranks=1, sample_rate=rate)
        monkeypatch.setattr(drawn_classes, "count", lambda classes, rate: classes)
        whole = head()
        assert whole.weight._grad_stype == ("default" if rate == 1 else "row_sparse")
        trainer = mx.gluon.Trainer(whole.params, mx.optimizer.SGD(**SGD), kvstore=None)
        for step in range(3):
            whole.learn([mx.nd.array(embedding[step])], Batch(None, mx.nd.array(label[step]), None, None), step)
            trainer.step(8)
        results.append((whole.weight.data().asnumpy(), trainer._updaters[0].states[0].asnumpy()))
    for got, wanted in zip(*results):
        np.testing.assert_array_equal(got, wanted)


def test_mxnet_does_not_talk_about_it():
    code = """
import numpy as np
from insight._mxnet import mx
from insight.feed.loader import Batch
from insight.margins import margins
from insight.objectives.classification import Classification
head = Classification(margins.get("arcface")(), 100, 4, sample_rate=0.5)
head.initialize(mx.init.Normal(1), [mx.cpu()])
trainer = mx.gluon.Trainer(head.params, "sgd", {"momentum": 0.9}, kvstore=None)
head.learn([mx.nd.ones((2, 4))], Batch(None, mx.nd.array([3, 4]), None, None), 0)
trainer.step(2)
mx.nd.waitall()
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_refusals():
    arcface = margins.get("arcface")()
    with pytest.raises(
        InsightError, match=r"--sample-rate 0.1: draws 30 of 300 identities, and must draw 32 or more; r"
    ):
        Classification(arcface, 300, 4, sample_rate=0.1)
    head = Classification(arcface, 400, 4, sample_rate=0.1)
    with pytest.raises(InsightError, match=r"--sample-rate 0.1: a rank has one device; start a rank for each of the 2"):
        head.initialize(mx.init.Zero(), [mx.cpu(0), mx.cpu(1)])

    def join(group, **more):
        Classification(arcface, 400, 4, sample_rate=0.1, **more).join(group)

    with pytest.raises(InsightError, match=r"--sample-rate 0.1: on 2 ranks it needs --shard-classes"):
        run_ranks(2, join)
    with pytest.raises(InsightError, match=r"draws 40 of 400 identities, and must draw 32 or more for each of 2 ranks"):
        run_ranks(2, lambda group: join(group, shard_classes=True))
