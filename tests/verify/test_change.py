"""Differences of two models on the same pairs, against resampling pair by pair."""

import numpy as np
import pytest
from test_roc import by_counting

from insight.errors import InsightError
from insight.verify.bootstrap import Interval
from insight.verify.change import FigureChange, changes
from insight.verify.figures import figures
from insight.verify.folds import kfold_accuracy
from insight.verify.verification import Verification

PEOPLE = 8


def pairs():
    """Identities (P, 2) and whether they are the same, of all pairs of a few people, in random order."""
    identity = np.array([(a, b) for a in range(PEOPLE) for b in range(a, PEOPLE) for _ in range(1 + 3 * (a == b))])
    identity = identity[np.random.default_rng(0).permutation(len(identity))]
    return identity, identity[:, 0] == identity[:, 1]


def measured(distance, identity, issame, folds=4):
    """A model's result on the pairs."""
    accuracy = kfold_accuracy(distance, issame, folds)
    about = {"distances": distance, "issame": issame, "identities": identity}
    return Verification("own", accuracy, 1.0, len(issame), 4, 0.0, 9, **about)


def compared(before, after, **options):
    return changes(before, after, figures(before, 0), figures(after, 0), **options)


@pytest.fixture
def models():
    """Two models of which the second is a little better, and whose errors are alike."""
    identity, issame = pairs()
    draw = np.random.default_rng(3)
    hard = draw.normal(np.where(issame, 1.0, 1.5), 0.35)
    first, second = (hard + draw.normal(np.where(issame, shift, 0), 0.1) for shift in (0.0, -0.15))
    return [measured(distance.clip(0, 4), identity, issame) for distance in (first, second)]


def test_against_counting(models):
    before, after = models
    differences = []
    for r in range(25):
        drawn = np.random.default_rng((7, r)).integers(0, PEOPLE, PEOPLE).tolist()
        areas = []
        for model in models:
            rows = []
            for distance, same, (a, b) in zip(
                *(column.tolist() for column in (model.distances, model.issame, model.identities))
            ):
                rows += [(distance, same)] * (drawn.count(a) if same else drawn.count(a) * drawn.count(b))
            areas.append(by_counting(*zip(*rows))[1])
        differences.append(areas[1] - areas[0])
    (area,) = [row for row in compared(before, after, resamples=25, seed=7) if row.figure == "AUC"]
    issame = before.issame.tolist()
    assert area.before == pytest.approx(by_counting(before.distances.tolist(), issame)[1], abs=1e-12)
    assert area.after == pytest.approx(by_counting(after.distances.tolist(), issame)[1], abs=1e-12)
    assert area.interval == pytest.approx(np.quantile(differences, [0.025, 0.975]).tolist(), abs=1e-12)


def test_the_other_way_round_has_the_other_sign(models):
    before, after = models
    for there, back in zip(compared(before, after, resamples=40), compared(after, before, resamples=40)):
        assert (there.figure, there.far, there.difference) == (back.figure, back.far, -back.difference)
        assert there.interval == pytest.approx((-back.interval.high, -back.interval.low), abs=1e-12)
        assert there.improved is not back.improved or not there.difference


def test_a_model_does_not_differ_from_itself(models):
    rows = compared(models[0], models[0], resamples=20)
    assert [(row.figure, row.far) for row in rows] == [("accuracy", None), ("EER", None), ("AUC", None), ("TAR", 0.1)]
    for row in rows:
        assert (row.difference, row.interval, row.certain) == (0, (0, 0), False)


def test_pairs_that_become_right_make_a_certain_difference(models):
    """No resample can lose: the same pairs are moved in all of them. Independent resamples of two models would."""
    before = models[0]
    distance = before.distances - 0.2 * before.issame
    rows = {
        row.figure: row for row in compared(before, measured(distance, before.identities, before.issame), resamples=99)
    }
    assert rows["AUC"].certain and rows["AUC"].improved and rows["AUC"].interval.low > 0
    assert rows["EER"].improved and rows["EER"].interval.low < rows["EER"].interval.high <= 0


@pytest.mark.parametrize(
    "figure, before, after, interval, certain, improved",
    [
        ("accuracy", 0.8, 0.9, (0.01, 0.2), True, True),
        ("accuracy", 0.8, 0.9, (-0.01, 0.2), False, True),
        ("accuracy", 0.9, 0.8, (-0.2, -0.01), True, False),
        ("accuracy", 0.9, 0.8, (0.01, 0.2), False, False),  # of few people: all resamples differ from the set
        ("EER", 0.2, 0.1, (-0.2, -0.01), True, True),
        ("EER", 0.1, 0.2, (0.01, 0.2), True, False),
        ("AUC", 0.9, 0.9, (0, 0), False, False),
    ],
)
def test_what_is_certain(figure, before, after, interval, certain, improved):
    change = FigureChange(figure, None, before, after, Interval(*interval))
    assert (change.certain, change.improved) == (certain, improved)


def test_without_resamples_there_are_no_intervals(models):
    assert {(row.interval, row.certain) for row in compared(*models, resamples=0)} == {(None, False)}


def test_other_pairs_are_refused(models):
    other = measured(models[0].distances, models[0].identities, models[0].issame, folds=5)
    with pytest.raises(InsightError, match="own: the models were verified on different pairs"):
        compared(models[0], other)
    reversed_pairs = measured(*(column[::-1] for column in (other.distances, other.identities, ~other.issame)), folds=4)
    with pytest.raises(InsightError, match="own: the models were verified on different pairs"):
        compared(models[0], reversed_pairs)
