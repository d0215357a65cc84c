"""Names in the documents and recipes exist: commands, flags, files, links."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from insight.cli import build_parser, command_names

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "datasets").rglob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    ]
)


def commands_in(text):
    """Lines that start with ``insight NAME``, with continuation lines joined, as lists of words."""
    text = text.replace("\\\n", " ")
    for line in re.findall(r"^ {4,}(?:\.venv/bin/)?insight ([a-z].*)$", text, re.M):
        yield shlex.split(line, comments=True)


def quickstart_commands():
    script = ROOT / "recipes/quickstart.sh"
    run = subprocess.run(["bash", str(script), "--dry-run"], capture_output=True, text=True, check=True)
    return list(commands_in(run.stdout))


def parse(words):
    if words[0] == "COMMAND" or words[1:] in (["--help"], []):
        assert words[0] in (*command_names(), "COMMAND")
        return
    words = words[: words.index(">")] if ">" in words else words  # the shell's
    words = [re.sub(r"^\[|\]$", "", word) for word in words]
    build_parser(words[0]).parse_args(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_commands(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not re.match(r"[a-z]+:", link):
            assert (page.parent / link).exists(), link
    for words in commands_in(text):
        parse(words)


def test_all_commands_are_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [name for name in command_names() if f"`{name}`" not in readme]
    assert not missing


def test_all_benchmarks_are_in_their_readme():
    readme = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    for script in (ROOT / "benchmarks").glob("*.py"):
        assert f"benchmarks/{script.name}" in readme


def test_quickstart_calls_existing_commands():
    commands = quickstart_commands()
    assert len(commands) == 12  # the stages, and the estimate before the training
    for words in commands:
        parse(words)


def test_a_wrong_flag_is_found():
    from insight.errors import InsightError

    with pytest.raises(InsightError, match="--no-such-flag"):
        parse(["train-softmax", "--data-dir", "x", "--no-such-flag", "1"])
