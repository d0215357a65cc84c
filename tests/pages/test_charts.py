"""Points of the curves, against counting."""

import cv2
import numpy as np
import pytest

from insight.pages import charts, sections
from insight.pages.htmlpage import data_uri
from insight.plots import rates
from insight.verify.figures import figures
from insight.verify.folds import kfold_accuracy
from insight.verify.verification import Verification


def scored(count, seed=0):
    draw = np.random.default_rng(seed)
    issame = draw.random(count) < 0.4
    distance = draw.normal(np.where(issame, 1.0, 1.7), 0.3).clip(0, 4)
    return Verification("val", kfold_accuracy(distance, issame, 5), 11.0, count, 128, 1.0, 9, distance, issame)


@pytest.mark.parametrize("count", [40, 900])
def test_the_curve_is_that_of_counting(count):
    result = scored(count)
    found = figures(result, resamples=20)
    over = charts._rates(result, found)
    same, different = (sorted(result.distances[result.issame == kind].tolist()) for kind in (True, False))
    assert len(over.far_G) <= charts.MOST_POINTS and over.far_G[0] == 1 / len(different) and over.far_G[-1] == 1
    for far, tar in zip(over.far_G.tolist(), over.tar_G.tolist()):
        allowed = round(far * len(different))
        limit = different[allowed] if allowed < len(different) else 9  # accepts no more than that many
        assert tar == sum(d < limit for d in same) / len(same)
    assert (over.low_G <= over.high_G).all() and (over.low_G < over.tar_G).any()
    assert charts._rates(result, figures(result, 0)).low_G is None


def test_rates_over_the_threshold():
    result = scored(300)
    axes = charts._over_threshold(result, figures(result, 0)).axes[0]
    cosines = 1 - result.distances / 2
    for line, kind in zip(axes.get_lines(), (False, True)):
        chosen = cosines[result.issame == kind].tolist()
        for at, rate in list(zip(*line.get_data()))[::20]:
            wrong = sum((c <= at) if kind else (c > at) for c in chosen) / len(chosen)
            assert rate == pytest.approx(max(wrong, axes.get_ylim()[0]), abs=1e-12)


def test_one_pair_of_each_kind_and_a_perfect_set_are_drawn():
    for distance in ([0.5, 1.5], [0.0, 0.0]):
        issame = np.array([True, False])
        few = Verification(
            "v", kfold_accuracy(np.array(distance), issame, 1), 1, 2, 8, 1, 2, np.array(distance), issame
        )
        assert len(charts.of_target("t", few, figures(few, 5))) == 4


def test_the_axis_of_a_perfect_roc_is_of_rates():
    issame = np.arange(20) % 2 == 0
    distance = np.where(issame, 0.5, 1.5)
    perfect = Verification("v", kfold_accuracy(distance, issame, 2), 1, 20, 8, 1, 20, distance, issame)
    figure = rates.roc(charts._rates(perfect, figures(perfect, 0)))
    figure.canvas.draw()
    axis = figure.axes[0].yaxis
    assert axis.get_view_interval()[0] < 0.9 and axis.get_offset_text().get_text() == ""
    assert "1.00" in [label.get_text() for label in axis.get_ticklabels()]


def test_a_large_picture_is_encoded_again():
    noise = np.random.default_rng(0).integers(0, 256, (200, 160, 3), np.uint8)
    png = cv2.imencode(".png", noise)[1].tobytes()
    assert len(png) > sections.LARGEST_PICTURE
    packed = sections._picture(png, "x", (112, 112))
    assert packed.startswith("data:image/jpeg;base64,") and len(packed) < len(png) / 2
    small = cv2.imencode(".png", noise[:20, :20])[1].tobytes()
    assert sections._picture(small, "x", (112, 112)) == data_uri(small)
    grey_tiff = cv2.imencode(".tiff", noise[:20, :20])[1].tobytes()  # no browser shows it
    assert sections._picture(grey_tiff, "x", (112, 112)).startswith("data:image/jpeg;base64,")
