"""What margins may do beyond bending the target logit: slopes in the length, changed others, state, random numbers.

Each is a margin of these tests, against double precision and finite differences.
"""

import numpy as np
import pytest
from test_classification import classifier_of, learn, slopes

from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed.loader import Batch
from insight.margins import margins
from insight.margins.margin import Margin, OwnLoss, TargetLogit
from insight.objectives import projection
from insight.options import Option

LABEL = np.array([0, 6, 3, 3, 1, 2])


class ByLength(Margin):
    """cos - (0.1 + 0.05 |e|), and the loss 0.3 (|e| + 1 / |e|) + 0.2 cos: as MagFace, both depend on the length."""

    name = "by_length"

    def target_logit(self, targets):
        length_B = targets.length_B
        ones_B = targets.F.ones_like(length_B)
        return TargetLogit(targets.cos_B - 0.1 - 0.05 * length_B, ones_B, -0.05 * ones_B)

    def own_loss(self, targets):
        length_B = targets.length_B
        loss_B = 0.3 * (length_B + 1 / length_B) + 0.2 * targets.cos_B
        return OwnLoss(loss_B, 0.2 * targets.F.ones_like(length_B), 0.3 * (1 - 1 / (length_B * length_B)))


class ByLengthOfItsOwn(ByLength):
    """The same, times the embedding's own length."""

    unit_embedding = False


class Crowded(Margin):
    """As CurricularFace: others above cos - m become cos (t + cos); t is a running mean of the target cosines."""

    name = "crowded"
    modulates = True
    OPTIONS = (Option("margin_s", 8.0, "scale"), Option("margin_m", 0.2, "margin"))

    def target_logit(self, targets):
        return TargetLogit(targets.cos_B - self.options.margin_m, targets.F.ones_like(targets.cos_B))

    def others(self, cos_RC, targets, new_R):
        F, t = targets.F, targets.state["t"]
        hard_RC = F.broadcast_greater(cos_RC, new_R.reshape((-1, 1)))
        bent_RC = cos_RC * F.broadcast_add(cos_RC, t.reshape((1, 1)))
        slope_RC = F.broadcast_add(2 * cos_RC, t.reshape((1, 1)))
        return F.where(hard_RC, bent_RC, cos_RC), F.where(hard_RC, slope_RC, F.ones_like(cos_RC))

    def initial_state(self):
        return {"t": np.zeros(1)}

    def update(self, targets):
        return {"t": 0.5 * targets.F.mean(targets.cos_B) + 0.5 * targets.state["t"]}


class Drawn(Margin):
    """cos - a margin drawn for each sample, which is a figure of the log."""

    name = "drawn"

    def figures(self, targets):
        return {"drawn": targets.normal(), "first": targets.whole.cos_B[:1]}

    def target_logit(self, targets):
        new_B = targets.cos_B - 0.35 - 0.05 * targets.normal()
        return TargetLogit(new_B, targets.F.ones_like(new_B))


@pytest.fixture
def arrays():
    draw = np.random.default_rng(11)
    embedding, weight = draw.normal(size=(6, 4)), draw.normal(size=(7, 4))
    embedding[:2] += 2 * weight[LABEL[:2]]  # two are near their centres
    return embedding, weight


def parts(embedding, weight):
    """(unit centres, lengths, cosines (B, C)) in double precision."""
    unit, length = weight / np.linalg.norm(weight, axis=1, keepdims=True), np.linalg.norm(embedding, axis=1)
    return unit, length, embedding @ unit.T / length[:, None]


def cross_entropy(logits):
    highest = logits.max(axis=1)
    return np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest - logits[np.arange(len(LABEL)), LABEL]


def check(classifier, result, total, losses, embedding, weight):
    np.testing.assert_allclose(result.loss_B.asnumpy(), losses(), rtol=2e-5, atol=2e-6)
    for got, array in ((result.gradient_BE, embedding), (classifier.weight.grad(), weight)):
        want = slopes(total, array)
        np.testing.assert_allclose(got.asnumpy(), want, rtol=3e-4, atol=3e-4 * np.abs(want).max())


@pytest.mark.parametrize(
    "margin", [ByLength(margin_s=8.0), ByLengthOfItsOwn()], ids=lambda margin: type(margin).__name__
)
def test_gradient_through_the_length(arrays, margin):
    embedding, weight = arrays
    classifier = classifier_of(margin, weight)
    result = learn(classifier, mx.nd.array(embedding), mx.nd.array(LABEL))

    def losses():
        _, length, cosines = parts(embedding, weight)
        own = cosines[np.arange(6), LABEL].copy()
        cosines[np.arange(6), LABEL] = own - 0.1 - 0.05 * length
        scale = 8.0 if margin.unit_embedding else length[:, None]
        return cross_entropy(scale * cosines) + 0.3 * (length + 1 / length) + 0.2 * own

    check(classifier, result, lambda: losses().sum(), losses, embedding, weight)


@pytest.mark.parametrize("block", [3, 8192], ids=["blocks", "whole"])
def test_others_are_given_once_as_cosines_with_the_own_class_at_0(arrays, monkeypatch, block):
    rows = []

    class Seeing(Crowded):
        def others(self, cos_RC, targets, new_R):
            rows.append(cos_RC.asnumpy())
            return super().others(cos_RC, targets, new_R)

    monkeypatch.setattr(projection, "BLOCK", block)
    monkeypatch.setattr("insight.objectives.cross_entropy.FEWEST_ROWS", 1)
    embedding, weight = arrays
    learn(classifier_of(Seeing(), weight), mx.nd.array(embedding), mx.nd.array(LABEL))
    cosines = parts(embedding, weight)[2]
    cosines[np.arange(6), LABEL] = 0
    assert len(rows) == (3 if block == 3 else 1)
    np.testing.assert_allclose(np.concatenate(rows), cosines, atol=1e-6)


@pytest.mark.parametrize("block", [3, 8192], ids=["blocks", "whole"])
def test_changed_others(arrays, monkeypatch, block):
    monkeypatch.setattr(projection, "BLOCK", block)
    monkeypatch.setattr("insight.objectives.cross_entropy.FEWEST_ROWS", 1)
    embedding, weight = arrays
    classifier = classifier_of(Crowded(), weight)
    t = 0.5 * parts(embedding, weight)[2][np.arange(6), LABEL].mean()  # of this batch, before it is used
    result = learn(classifier, mx.nd.array(embedding), mx.nd.array(LABEL))

    def logits():
        cosines = parts(embedding, weight)[2]
        own = cosines[np.arange(6), LABEL] - 0.2
        changed = np.where(cosines > own[:, None], cosines * (t + cosines), cosines)
        assert 5 < (changed != cosines).sum() < 36
        changed[np.arange(6), LABEL] = own
        return 8.0 * changed

    def losses():
        return cross_entropy(logits())

    check(classifier, result, lambda: losses().sum(), losses, embedding, weight)
    free = parts(embedding, weight)[2]
    np.testing.assert_array_equal(result.hit_B.asnumpy(), logits().argmax(axis=1) == LABEL)
    np.testing.assert_array_equal(result.hit_free_B.asnumpy(), free.argmax(axis=1) == LABEL)
    assert 0 < result.hit_free_B.asnumpy().sum() < 6


def test_changed_others_are_exact_where_the_probability_underflows():
    class Sharp(Crowded):
        def others(self, cos_RC, targets, new_R):
            return cos_RC, targets.F.ones_like(cos_RC)

    weight = np.array([[1.0, 0.0], [0.0, 1.0]])
    result = learn(classifier_of(Sharp(margin_s=128.0), weight), mx.nd.array([[0.0, 1.0]]), mx.nd.array([0]))
    assert result.loss_B.asscalar() == pytest.approx(128 * 1.2)


OURS = ("adaface", "magface", "elasticface_arc_plus", "elasticface_cos", "curricularface", "li_arcface")


@pytest.mark.parametrize(
    "margin",
    [Crowded(), Drawn(), ByLength(), *(margins.get(name)(margin_s=8.0) for name in OURS)],
    ids=lambda margin: margin.name,
)
def test_two_devices_are_as_one(arrays, margin):
    """State sees the samples of all devices; random numbers count the samples through."""
    embedding, weight = arrays
    one = classifier_of(margin, weight)
    devices = [mx.cpu(0), mx.cpu(1)]
    two = classifier_of(margin, weight, devices=devices)
    batch = Batch(None, mx.nd.array(LABEL), None, None)
    for step in range(2):
        alone = learn(one, mx.nd.array(embedding), mx.nd.array(LABEL), step)
        shares = [mx.nd.array(embedding[3 * i : 3 * i + 3], ctx=device) for i, device in enumerate(devices)]
        result = two.learn(shares, batch, step)
        loss = np.concatenate([share.asnumpy() for share in result.figures["loss"]])
        np.testing.assert_allclose(loss, alone.loss_B.asnumpy(), rtol=1e-5)
        gradient = np.concatenate([share.asnumpy() for share in result.gradients])
        np.testing.assert_allclose(gradient, alone.gradient_BE.asnumpy(), rtol=1e-4, atol=1e-5)
        for name, figure in result.figures.items():
            mean = np.concatenate([share.asnumpy() for share in figure]).mean()
            np.testing.assert_allclose(mean, alone.figures[name].asnumpy().mean(), rtol=1e-5, err_msg=name)
    assert set(one.arrays()) == set(two.arrays()) == {f"margin/{name}" for name in margin.initial_state()}
    for name, [array] in one.arrays().items():
        assert array.asnumpy().any()
        np.testing.assert_array_equal(array.asnumpy(), two.arrays()[name][0].asnumpy())


def test_state_is_restored_in_place(arrays):
    embedding, weight = arrays
    losses = []
    classifier = classifier_of(Crowded(), weight)
    for step in range(3):
        losses.append(learn(classifier, mx.nd.array(embedding), mx.nd.array(LABEL), step).loss_B.asnumpy())
        if step == 1:
            kept = classifier.arrays()["margin/t"][0].asnumpy()
    resumed = classifier_of(Crowded(), weight)
    fresh = learn(classifier_of(Crowded(), weight), mx.nd.array(embedding), mx.nd.array(LABEL), 2).loss_B.asnumpy()
    resumed.arrays()["margin/t"][0][:] = mx.nd.array(kept)
    again = learn(resumed, mx.nd.array(embedding), mx.nd.array(LABEL), 2).loss_B.asnumpy()
    np.testing.assert_array_equal(again, losses[2])
    assert np.abs(again - fresh).max() > 1e-3


@pytest.mark.parametrize("margin", [Crowded(), *(margins.get(name)() for name in ("adaface", "curricularface"))])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_state_does_not_see_embeddings_that_are_not_finite(arrays, margin, value):
    """float16 skips such a step, with a lower loss scale; the state must not be lost in it."""
    embedding, weight = arrays
    classifier = classifier_of(margin, weight)
    learn(classifier, mx.nd.array(embedding), mx.nd.array(LABEL))
    before = {name: array.asnumpy() for name, [array] in classifier.arrays().items()}
    poor = embedding.copy()
    poor[2, 1] = value
    learn(classifier, mx.nd.array(poor), mx.nd.array(LABEL), 1)
    for name, [array] in classifier.arrays().items():
        np.testing.assert_array_equal(array.asnumpy(), before[name])
    learn(classifier, mx.nd.array(embedding + 1), mx.nd.array(LABEL), 2)
    assert all((array.asnumpy() != before[name]).any() for name, [array] in classifier.arrays().items())


def test_a_draw_is_new_in_each_step_and_the_same_again(arrays):
    embedding, weight = arrays
    classifier = classifier_of(Drawn(), weight)
    losses = [
        learn(classifier, mx.nd.array(embedding), mx.nd.array(LABEL), step).loss_B.asnumpy() for step in (0, 1, 0)
    ]
    np.testing.assert_array_equal(losses[0], losses[2])
    assert (losses[0] != losses[1]).sum() >= 5


def test_a_margin_declares_its_options():
    class Other(Drawn):
        name = "other"
        OPTIONS = (
            Option("margin_m", 0.2, "m", holds=lambda m: m > 0, rule="above 0"),
            Option("own", 3, "o", choices=(3, 4)),
        )

    assert Other(own=4).describe() == "other m=0.2 own=4"
    with pytest.raises(InsightError, match="--own 5: .* takes 3, 4"):
        Other(own=5)
    with pytest.raises(InsightError, match="--margin-m 0: above 0"):
        Other(margin_m=0)
    with pytest.raises(
        InsightError, match="--margin-s 64: does nothing with --loss-type other, which uses --margin-m, --own"
    ):
        Other(margin_s=64.0)
