"""The size of a network's images: stated, given, the only one that fits, or assumed with a note."""

import numpy as np
import pytest
from small_networks import S, mobile, model_of, pixels, residual

from insight import nets
from insight.errors import InsightError
from insight.graph import shapes
from insight.graph.cut import cut
from insight.graph.opening import normalises
from insight.graph.shapes import settle, state_size, stated_size


def flat(size, shape=None):
    """A fully connected layer on the pixels themselves, which fixes the product of height and width."""
    data = S.Variable("data", **({"shape": shape} if shape else {}))
    return model_of(S.FullyConnected(data, num_hidden=2, name="fc1"), size)


def pooled(shape=None):
    data = S.Variable("data", **({"shape": shape} if shape else {}))
    x = S.Convolution(data, num_filter=2, kernel=(3, 3), name="c")
    x = S.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="avg")
    return model_of(S.FullyConnected(x, num_hidden=2, name="fc1"), (112, 112))


@pytest.mark.parametrize("text", ["(0, 3, 96, 80)", "(1, 3, 96, 80)", "[0,3,96,80]", "(0L, 3L, 96L, 80L)"])
@pytest.mark.parametrize("asked", [None, (96, 80)])
def test_a_stated_size_is_not_assumed(text, asked):
    model = pooled()
    shapes._input(model.graph).attrs["__shape__"] = text
    assert settle(model, asked) == ((96, 80), True, "")


@pytest.mark.parametrize("text", ["", "()", "(0, 3, 0, 0)", "(0, 3, -1, -1)", "(0, 3)", "None"])
def test_a_shape_without_sides_states_nothing(text):
    model = pooled()
    shapes._input(model.graph).attrs["__shape__"] = text
    assert stated_size(model.graph) is None
    assert settle(model).size == (112, 112)


def test_a_size_is_stated_with_the_batch_open():
    model = cut(pooled())
    state_size(model, (96, 80))
    assert shapes._input(model.graph).attrs == {"__shape__": "(0, 3, 96, 80)"}
    assert stated_size(model.graph) == (96, 80)
    assert model.graph.to_symbol().infer_shape(data=(7, 3, 50, 60))[1] == [(7, 2)]
    state_size(model, None)
    assert shapes._input(model.graph).attrs == {}


def test_contradicting_the_stated_size_is_an_error():
    with pytest.raises(InsightError, match="--image-size 112x112: the network states 96x80; leave the option out"):
        settle(pooled((0, 3, 96, 80)), (112, 112))
    with pytest.raises(InsightError, match="its symbol states 96x96 images, which its arrays do not fit: .*fc1"):
        settle(flat((112, 112), (0, 3, 96, 96)))


def test_a_given_size_must_fit():
    model = model_of(residual(), (144, 144))
    assert settle(model, (144, 144)) == ((144, 144), True, "")
    assert settle(model, (137, 140)) == ((137, 140), True, "")
    with pytest.raises(InsightError, match=r"--image-size 112x112: .*pre_fc1.*; sizes that fit: 137..144 x 137..144"):
        settle(model, (112, 112))


def test_the_only_size_that_fits_is_not_assumed():
    assert settle(flat((97, 97))) == ((97, 97), True, "")


@pytest.mark.parametrize(
    ("symbol", "trained", "assumed", "fit"),
    [
        (mobile(), (112, 112), (112, 112), r"105..112 x 105..112"),
        (mobile(), (105, 108), (112, 112), r"105..112 x 105..112"),
        (residual(), (128, 128), (128, 128), r"121..128 x 121..128"),
        (residual(), (112, 96), (112, 96), r"89..96 x 105..112 or 105..112 x 89..96"),
        (nets.symbol(nets.create("r18", 8)), (104, 104), (112, 112), r"97..112 x 97..112"),
    ],
    ids=["112x112", "near it", "another usual one", "112x96", "r18"],
)
def test_if_several_fit_the_usual_one_is_assumed_with_a_note(symbol, trained, assumed, fit):
    model = model_of(symbol, trained)
    state_size(model, None)
    found = settle(model)
    assert (found.size, found.known) == (assumed, False)
    by = "x".join(map(str, assumed))
    assert found.note == f"states no image size; {by} is assumed ({fit} fit); --image-size H,W gives another"


def test_112x112_comes_first():
    """12544 pixels are 112x112 or 98x128."""
    assert settle(flat((98, 128))).size == (112, 112)


@pytest.mark.parametrize(
    ("symbol", "trained", "fit"),
    [
        (residual(), (144, 144), "137..144 x 137..144"),
        (
            residual(),
            (96, 80),
            "73..80 x 89..96 or 89..96 x 73..80 or 57..64 x 113..120 or 113..120 x 57..64",
        ),
        (S.FullyConnected(S.Variable("data"), num_hidden=2, name="fc1"), (97, 101), "97x101 or 101x97"),
    ],
)
def test_if_several_fit_and_none_is_usual_it_must_be_given(symbol, trained, fit):
    with pytest.raises(InsightError) as caught:
        settle(model_of(symbol, trained))
    assert str(caught.value) == (
        f"states no image size, and its arrays fit several: {fit} (height x width); none of them is a usual one. Give "
        "the size that it was trained on: --image-size H,W"
    )


def test_of_many_the_squarest_are_listed():
    with pytest.raises(InsightError, match=r"several: 120x120 or 100x144 or .* or .* or others \(height"):
        settle(flat((120, 120)))


def test_of_two_usual_ones_neither_is_taken(monkeypatch):
    monkeypatch.setattr(shapes, "USUAL", ((112, 112), (97, 101), (101, 97)))
    with pytest.raises(InsightError, match=r"97x101 or 101x97 .*; usual ones are 97x101 and 101x97. Give"):
        settle(flat((97, 101)))


@pytest.mark.parametrize("given", [None, (96, 80)])
def test_a_network_that_pools_takes_any(given):
    found = settle(pooled(), given)
    assert (found.size, found.known) == (given or (112, 112), bool(given))
    note = "states no image size; 112x112 is assumed (it takes images of any size); --image-size H,W gives another"
    assert found.note == ("" if given else note)


def test_if_none_fits_the_reason_is_that_of_112x112():
    model = model_of(mobile(), (112, 112))
    model.params["pre_fc1_weight"] = np.zeros((6, 9), np.float32)
    with pytest.raises(
        InsightError, match=r"^no usual image size fits the network; .*pre_fc1.*; nor does another from 16x16 to 512x5"
    ):
        settle(model)


@pytest.mark.parametrize("name", ["y1", "r50"])
def test_a_network_that_is_trained_states_the_size(name):
    symbol = nets.symbol(nets.create(name, 8, image_size=(128, 112)))
    assert settle(model_of(symbol, (128, 112))) == ((128, 112), True, "")


def test_the_real_network_opens_without_the_option(model_y1):
    from insight.engines import load

    engine = load(f"{model_y1[0]},{model_y1[1]}")
    assert engine.image_size == (112, 112)
    assert [note.split(";")[0] for note in engine.notes] == ["states no image size"]


@pytest.mark.parametrize(
    ("first", "inside"),
    [
        (lambda x: x, False),
        (S.identity, False),
        (lambda x: S.Pooling(x, kernel=(2, 2), pool_type="avg"), False),
        (pixels, True),
        (lambda x: pixels(S.identity(x)), True),
        (lambda x: S.Cast(x, dtype="float16") - 127.5, True),
        (lambda x: x / 255, True),
        (lambda x: S.BatchNorm(x, name="bn_data"), True),
    ],
)
def test_whether_pixels_are_normalised_inside(first, inside):
    x = S.Convolution(first(S.Variable("data")), num_filter=2, kernel=(3, 3), name="c")
    assert normalises(model_of(S.FullyConnected(x, num_hidden=2, name="fc1"), (32, 32))) == inside
