"""Figures in a page."""

import re

import pytest

from insight.plots import inline


def drawn(name="some-0", title="x < y"):
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1])
    axes.set_xlabel("a_b & c")
    return inline.svg(figure, name, title)


def test_it_is_one_element_that_fits_its_box():
    text = drawn()
    assert text.startswith('<svg viewBox="0 0 216 144" role="img" aria-labelledby="some-0-title">')
    assert text.endswith("</svg>") and text.count("<svg") == 1
    assert '<title id="some-0-title">x &lt; y</title>' in text
    assert ">a_b &amp; c</text>" in text  # text, not outlines of letters
    assert not re.search("<metadata|<style|<!DOCTYPE|<\\?xml", text)


def test_ids_are_its_own():
    ids = re.findall(r'\bid="([^"]+)"', drawn())
    assert len(ids) == len(set(ids)) > 10
    assert all(name.startswith("some-0-") for name in ids)
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', drawn())) <= set(ids)
    assert not set(ids) & set(re.findall(r'\bid="([^"]+)"', drawn("some-1")))


def test_the_same_figure_gives_the_same_text():
    assert drawn() == drawn()
