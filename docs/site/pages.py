"""A hook of MkDocs: the pages that are not in docs/, the links to them, and the navigation.

- A page for each command, made from its parser.
- The Markdown of the checkout beside docs/: the README is the first page, and the cards of the data sets. A link to a
  file that is no page of the site (a script, the licence) becomes its name.
- The navigation is the list in docs/README.md, by its headings, in place of that page: a page that is not listed
  there fails a strict build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import List

import command_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from insight.cli import command_names

ROOT = Path(__file__).resolve().parents[2]
CONTENTS = "docs/README.md"
OTHERS = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "datasets/README.md",
    "datasets/cards/*.md",
)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
HEADING = re.compile(r"^## (.+)$", re.M)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the navigation."""
    sections: List[dict] = [{"Home": "README.md"}]
    text = (ROOT / CONTENTS).read_text(encoding="utf-8")
    titles = HEADING.split(text)[1:]
    for title, listed in zip(titles[::2], titles[1::2]):
        pages = [{link[2]: _uri(posixpath.normpath(posixpath.join("docs", link[3])))} for link in LINK.finditer(listed)]
        sections.append({title: pages})
    commands = [{"All commands": "commands/index.md"}, *({name: f"commands/{name}.md"} for name in command_names())]
    config.nav = [*sections, {"Commands": commands}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of commands and of the Markdown outside docs/."""
    files.remove(files.get_file_from_path(_uri(CONTENTS)))
    for pattern in OTHERS:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, _uri(name), abs_src_path=str(path)))
    names = list(command_names())
    files.append(File.generated(config, "commands/index.md", content=command_page.index(names)))
    for name in names:
        files.append(File.generated(config, f"commands/{name}.md", content=command_page.page(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the checkout into links between pages."""
    path = page.file.abs_src_path
    if path is None:  # a command's
        return markdown
    folder = posixpath.dirname(Path(path).relative_to(ROOT).as_posix())

    def turned(match: re.Match) -> str:
        image, text, target, anchor = match.groups(default="")
        if not target or re.match(r"[a-z]+:", target):
            return match.group()
        place = posixpath.normpath(posixpath.join(folder, target))
        uri = _uri(place)
        if place == CONTENTS or (files.get_file_from_path(uri) is None and (ROOT / place).exists()):
            return text
        return f"{image}[{text}]({posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return LINK.sub(turned, markdown)


def _uri(path: str) -> str:
    """Where a file of the checkout is in the site."""
    return path[len("docs/") :] if path.startswith("docs/") else path
