"""The page in Chromium, at the widths of a desktop and of a phone. Skipped if Chromium is not installed."""

import cv2
import numpy as np
import pytest
from chromium import WIDTHS, chromium, opened

from insight.plots.style import MAIN, OTHER

FIGURES = 4 + 4 + 4  # of each target, and of training
FIRST_RUN = "#1f77b4"  # the first colour of matplotlib's tab10

# What sticks out of the window, unless a box of its own scrolls it.
OUTSIDE = """() => [...document.querySelectorAll('main *')].filter(element => !element.closest('svg, .scroll, details')
    && element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(
    element => element.outerHTML.slice(0, 99))"""
# Letters that the edge of their drawing cuts off.
CUT = """() => [...document.querySelectorAll('svg text')].filter(text => {
    const box = text.getBoundingClientRect(), all = text.closest('svg').getBoundingClientRect();
    return box.left < all.left - 1 || box.right > all.right + 1 || box.top < all.top - 1 || box.bottom > all.bottom + 1;
}).map(text => text.textContent)"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module", params=WIDTHS)
def page(request, browser, made):
    page = opened(browser, made.path.as_uri(), request.param)
    yield page
    page.close()


def pixels(element):
    """Screenshot of an element: (H, W, 3) int, RGB."""
    return cv2.imdecode(np.frombuffer(element.screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def near(image, colour, tolerance=60):
    """Number of pixels with about the colour ``#rrggbb``."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(image - wanted).sum(axis=2) <= tolerance).sum())


def test_there_are_no_requests_and_no_errors(page, made):
    assert [url for url in page.requests if not url.startswith("data:")] == [made.path.as_uri()]
    assert page.complaints == []


def test_nothing_overflows(page):
    wide, window = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide == window
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(CUT) == []


@pytest.mark.parametrize("place", [".verdicts a", ".limits li", "pre", "h1", "h2", ".facts dd"])
def test_a_long_name_breaks(page, place):
    kept = page.inner_text(place)
    page.evaluate("([place, text]) => { document.querySelector(place).textContent = text; }", [place, "long_name" * 40])
    assert page.evaluate(OUTSIDE) == []
    page.evaluate("([place, text]) => { document.querySelector(place).textContent = text; }", [place, kept])


def test_tables_scroll_in_their_own_box(page):
    boxes = page.evaluate("[...document.querySelectorAll('.scroll')].map(e => [e.scrollWidth, e.clientWidth])")
    assert len(boxes) == 5  # two of thresholds, two of stages, of which one is folded away, one of files
    if page.viewport_size["width"] == WIDTHS[-1]:
        assert boxes[0][0] > boxes[0][1]  # wider than a phone
        moved = "(() => { const e = document.querySelector('.scroll'); e.scrollLeft = 50; return e.scrollLeft; })()"
        assert page.evaluate(moved) == 50


def test_all_figures_are_drawn(page):
    figures = page.query_selector_all("figure svg")
    assert len(figures) == FIGURES
    for figure in figures:
        box = figure.bounding_box()
        assert box["width"] > 250 and box["height"] > 150
        image = pixels(figure)
        title = figure.query_selector("title").text_content()
        inner = image[image.shape[0] // 5 : -image.shape[0] // 5, image.shape[1] // 5 :]  # without the axes' labels
        curve = FIRST_RUN if title.endswith("over steps") else MAIN
        assert near(inner, curve) > 40, title
        if title.startswith(("Scores", "Rates")):
            assert near(inner, OTHER) > 40, title


def test_the_band_is_drawn(page):
    for number in (0, 1):
        pale = page.query_selector(f"#target-1-{number}-figure_1")
        assert near(pixels(pale), "#dae5f2", 12) > 300  # MAIN at 18 % on white


def test_all_pictures_are_decoded(page):
    widths = page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth)")
    assert widths == [64] * 40
    for picture in page.query_selector_all("img")[::9]:
        assert pixels(picture).std() > 5


def test_options_open_and_links_lead_to_the_targets(page):
    page.click("details summary")
    assert page.is_visible("details table")
    page.click("text=pairs >> nth=0")
    assert page.evaluate("[...document.querySelectorAll('a')].every(a => document.querySelector(a.hash))")


def test_on_paper_nothing_overflows_and_all_options_are_shown(browser, made):
    page = browser.new_page(viewport={"width": 718, "height": 1000})  # A4 between its margins
    page.emulate_media(media="print")
    page.goto(made.path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 718
    if page.evaluate("CSS.supports('selector(details::details-content)')"):  # older ones print it folded
        assert page.evaluate("document.querySelector('details table').getBoundingClientRect().height") > 50
    page.close()
