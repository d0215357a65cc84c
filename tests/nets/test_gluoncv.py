"""gluoncv's backbones: names are independent of earlier networks, and unsupported ones raise errors."""

import sys

import pytest

from insight import nets
from insight.errors import InsightError


def test_names_are_stable():
    first = nets.create("gluoncv:mobilenet0.25", 16)
    names = list(first.kept())
    nets.create("gluoncv:resnet18_v1", 16)
    again = nets.create("gluoncv:MobileNet0.25", 16)
    assert list(again.kept()) == list(again.plain().kept()) == names
    assert names[0] == "mobilenet0_conv0_weight"
    assert nets.symbol(again).tojson() == nets.symbol(first).tojson()


@pytest.mark.parametrize(
    "name, channels",
    [
        ("mobilenet0.25", 256),
        ("resnet18_v1", 512),
        ("resnet18_v1b", 512),
        ("densenet121", 1024),
        ("squeezenet1.1", 512),
    ],
)
def test_the_last_feature_map_goes_into_the_output(name, channels):
    """With their pooling of 7 pixels, densenets would not take 112x112; resnet18_v1b has no ``features``."""
    network = nets.create(f"gluoncv:{name}", 16)
    symbol = nets.symbol(network)
    assert symbol.infer_shape(data=(2, 3, 112, 112))[1] == [(2, 16)]
    assert network.kept()["pre_fc1_weight"].shape[1] % channels == 0
    assert network.kept()["pre_fc1_weight"].shape[1] > channels
    kept = set(symbol.list_arguments() + symbol.list_auxiliary_states()) - {"data"}
    assert set(network.kept()) == kept  # nothing of the classifier is left


def test_an_unknown_name_lists_similar_ones():
    with pytest.raises(InsightError, match=r"gluoncv has no network 'mobilnet0.25'; similar names: mobilenet0\.25, "):
        nets.family("gluoncv:mobilnet0.25")


def test_a_detector_is_not_a_backbone():
    with pytest.raises(InsightError, match="ssd_512_resnet50_v1_voc is not an image classifier"):
        nets.create("gluoncv:ssd_512_resnet50_v1_voc")


def test_without_gluoncv(monkeypatch):
    monkeypatch.setitem(sys.modules, "gluoncv", None)
    monkeypatch.delitem(sys.modules, "gluoncv.model_zoo", raising=False)
    with pytest.raises(InsightError, match=r"gluoncv is not installed; run: pip install -e '\.\[gluoncv\]'"):
        nets.create("gluoncv:mobilenet0.25")
