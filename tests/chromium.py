"""The Chromium that is installed, for tests that look at pages."""

import shutil
from contextlib import contextmanager

import pytest

WIDTHS = (1280, 390)  # of a desktop and of a phone
# Neither graphics card nor network: no service of the browser's own may call anyone.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium():
    """The browser, by Playwright; skips where either is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no Chromium here: none of {', '.join(NAMES)}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def opened(browser, uri, width):
    """The page at an address; ``requests`` and ``complaints`` list its network requests and its errors."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.requests, page.complaints = [], []
    page.on("request", lambda asked: page.requests.append(asked.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(uri)
    return page
