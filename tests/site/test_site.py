"""The documentation as a site: built strictly, every option in it, read as on GitHub, and looked at in a browser."""

import functools
import http.server
import importlib.util
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chromium import WIDTHS, chromium, opened

from insight import cli

pytest.importorskip("material", reason="mkdocs-material is not installed: pip install -e '.[docs]'")

ROOT = Path(__file__).resolve().parents[2]
SHOWN = {  # page: pictures that it has at least
    "index": 3,
    "align": 1,
    "triplet": 1,
    "report": 1,
    "commands/train-softmax": 0,
}
# What sticks out of the window, unless a box of its own scrolls it.
OUTSIDE = """() => [...document.querySelectorAll('.md-content *')].filter(element =>
    !element.closest('.md-typeset__scrollwrap, pre, svg') && element.getBoundingClientRect().width > 0
    && element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(
    element => element.outerHTML.slice(0, 99))"""
PICTURES = """() => [...document.querySelectorAll('.md-content img')].map(image => [
    image.complete && image.naturalWidth, image.getBoundingClientRect().width,
    image.closest('.md-content').clientWidth, image.alt])"""


def mkdocs(folder, config):
    """Build the site by a configuration into a folder."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", folder]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    done = mkdocs(folder, ROOT / "mkdocs.yml")
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site):
    """The site on a web server of this machine."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *arguments: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@functools.lru_cache(None)
def hook(name):
    """A file of docs/site, as MkDocs loads it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/site/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Blocks(HTMLParser):
    """The texts of a page's blocks, as ``tag: text``: headings, paragraphs, list items, cells, code."""

    BLOCKS = frozenset({"h1", "h2", "h3", "h4", "li", "p", "pre", "td", "th"})

    def __init__(self, inside=""):
        super().__init__()
        self.blocks, self._open, self._inside, self._outside = [], [], inside, bool(inside)
        self._in_link = False

    def handle_starttag(self, tag, attributes):
        self._outside = self._outside and tag != self._inside
        self._in_link = self._in_link or (tag == "a" and dict(attributes).get("class") == "headerlink")
        if tag == "p" and self._open and self._open[-1][0] == "li":
            return  # whether a list is loose makes no difference to a reader
        if tag in self.BLOCKS and not self._outside:
            self._open.append([tag, ""])
            self.blocks.append(self._open[-1])

    def handle_endtag(self, tag):
        self._outside = self._outside or (bool(self._inside) and tag == self._inside)
        if tag == "a":
            self._in_link = False
        if self._open and self._open[-1][0] == tag:
            self._open.pop()

    def handle_data(self, data):
        if self._open and not self._in_link:
            self._open[-1][1] += data


def blocks(html, inside=""):
    parser = Blocks(inside)
    parser.feed(html)
    return [f"{tag}: {' '.join(text.split())}" for tag, text in parser.blocks if text.strip()]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("[a-z]*.md")), ids=lambda page: page.stem)
def test_a_page_reads_as_on_github(site, page):
    """Python-Markdown nests lists and code by four columns, CommonMark by the text of the item."""
    markdown_it = pytest.importorskip("markdown_it")
    rendered = markdown_it.MarkdownIt("commonmark").enable("table").render(page.read_text(encoding="utf-8"))
    assert blocks((site / f"{page.stem}.html").read_text(encoding="utf-8"), "article") == blocks(rendered)


@pytest.mark.parametrize("name", cli.command_names())
def test_a_command_has_a_page_with_all_options(site, name):
    html = (site / f"commands/{name}.html").read_text(encoding="utf-8")
    parser = cli.build_parser(name)
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.dest != "help"]
        assert not actions or re.search(rf"<h2[^>]*>{re.escape(group.title[0].upper() + group.title[1:])}<", html)
        for action in actions:
            for option in action.option_strings or [action.metavar]:
                assert f"<code>{option}" in html
            assert sum(f"<code>{option}" in html for option in action.option_strings) == len(action.option_strings)
    text = " ".join(blocks(html, "article"))
    module = cli.load(name)
    assert module.HELP[1:] in text
    for comment, command in module.EXAMPLES:
        assert f"# {comment}" in text and command in text.replace("\\ ", "")


def test_the_navigation_has_every_page(site):
    html = (site / "index.html").read_text(encoding="utf-8")
    for page in [*(ROOT / "docs").glob("[a-z]*.md"), *(Path(f"commands/{name}.md") for name in cli.command_names())]:
        place = f"commands/{page.stem}" if page.parent.name == "commands" else page.stem
        assert f'href="{place}.html" class="md-nav__link"' in html, place
    assert (site / "datasets/cards/lfw.html").exists() and not (site / "site").exists()


FAULTS = {  # in Markdown: what MkDocs says of it
    "[a page](none.md)": "contains a link 'none.md', but the target is not found",
    "[a part](data.md#no-such-part)": "does not contain an anchor '#no-such-part'",
    "![a picture](pictures/none.png)": "contains a link 'pictures/none.png', but the target is not found",
}


def test_broken_links_and_unlisted_pages_fail(tmp_path):
    """By the project's settings, without the hook that adds pages."""
    (tmp_path / "docs").mkdir()
    texts = {"README.md": "\n\n".join(FAULTS), "data.md": "# Data", "unlisted.md": "# Not listed"}
    for name, text in texts.items():
        (tmp_path / "docs" / name).write_text(text)
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    settings = re.sub(r"^(hooks|extra_css):.*\n(?:  .*\n)*", "", settings, flags=re.M)
    (tmp_path / "mkdocs.yml").write_text(settings + "nav: [README.md, data.md]\n")
    done = mkdocs(tmp_path / "out", tmp_path / "mkdocs.yml")
    messages = [*FAULTS.values(), 'not included in the "nav" configuration:\n  - unlisted.md']
    assert done.returncode == 1 and [text for text in messages if text not in done.stderr] == [], done.stderr
    assert done.stderr.count("WARNING") == len(messages)


def test_the_flow_is_drawn_as_its_file_says():
    flow = hook("flow")
    assert (ROOT / "docs/pictures/flow.svg").read_text(encoding="utf-8") == flow.svg()
    assert {command for way in flow.WAYS for command in way.commands} <= set(cli.command_names())


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module", params=[(name, width) for name in SHOWN for width in WIDTHS], ids=str)
def page(request, browser, address):
    name, width = request.param
    page = opened(browser, f"{address}/{name}.html", width)
    page.name = name
    yield page
    page.close()


class TestInABrowser:
    def test_all_pictures_are_shown(self, page):
        pictures = page.evaluate(PICTURES)
        assert len(pictures) >= SHOWN[page.name]
        for natural, width, room, alt in pictures:
            assert natural > 300 and 250 < width <= room and alt

    def test_nothing_overflows(self, page):
        wide, window = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide == window
        assert page.evaluate(OUTSIDE) == []

    def test_it_asks_nothing_of_other_hosts_and_complains_of_nothing(self, page, address):
        assert [url for url in page.requests if not url.startswith((address, "data:", "blob:"))] == []
        assert page.complaints == []


def test_the_search_finds_an_option(browser, address):
    page = opened(browser, f"{address}/index.html", WIDTHS[0])
    page.fill(".md-search__input", "triplet-alpha", force=True)  # its label is over it
    page.wait_for_selector(".md-search-result__item a[href*='commands/train']", state="attached", timeout=20000)
    page.close()
