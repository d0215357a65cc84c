"""The page of a command: its help text, and its options as they are declared in its parser."""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import List

from insight import cli
from insight.cli._images import is_default

OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*)")
CODE = re.compile(r"(`[^`\n]*`)")
BLOCK = re.compile(r"(?:^ {2,}.*\n?(?:\n(?= {2}))?)+", re.M)  # indented lines, and blank ones between them


def page(name: str) -> str:
    """Markdown: what the command does, examples, and a table for each group of options."""
    module, parser = cli.load(name), cli.build_parser(name)
    parser.format_help()  # sets the usage line
    examples = "\n\n".join(cli.example_lines(example, indent="") for example in module.EXAMPLES)
    parts = [f"# {name}", _sentence(module.HELP), _fenced(parser.usage.replace("%%", "%"))]
    parts += [_description(module.__doc__ or ""), "## Examples", _fenced(examples, "sh")]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if actions:
            parts += [f"## {_sentence(group.title, '')}", _table(parser, actions)]
    return "\n\n".join(filter(None, parts)) + "\n"


def index(names: List[str]) -> str:
    """Markdown: all commands, one a row."""
    rows = [f"| [`{name}`]({name}.md) | {_text(cli.load(name).HELP)} |" for name in names]
    head = "# Commands\n\n`insight COMMAND --help` prints what these pages show.\n\n| command | does |\n|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _sentence(text: str, end: str = ".") -> str:
    return _text(text[0].upper() + text[1:] + end)


def _description(text: str) -> str:
    """A docstring as Markdown: paragraphs, and blocks that are indented as they are."""
    parts, end = [], 0
    text = text.strip("\n") + "\n"
    for block in BLOCK.finditer(text):
        parts += [_text(text[end : block.start()].strip()), _fenced(textwrap.dedent(block.group()).strip("\n"), "text")]
        end = block.end()
    return "\n\n".join(filter(None, [*parts, _text(text[end:].strip())]))


def _table(parser: argparse.ArgumentParser, actions: List[argparse.Action]) -> str:
    rows = [f"| {_names(action)} | {_default(action)} | {_help(parser, action)} |" for action in actions]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])


def _names(action: argparse.Action) -> str:
    """How an argument is typed, with an anchor: commands/embed.html#--flip."""
    names = list(action.option_strings) or [_placeholder(action)]
    value = f" {_placeholder(action)}" if action.option_strings and action.nargs != 0 else ""
    typed = [*names[:-1], names[-1] + value]
    return f'<a id="{names[0]}"></a>' + " ".join(f"`{text}`" for text in typed)


def _placeholder(action: argparse.Action) -> str:
    """What stands for the value: ``H,W``, ``{sum,none}``, ``LOG ...``."""
    many = " ..." if action.nargs in ("+", "*") else ""
    if action.metavar:
        return f"{action.metavar}{many}"
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}" + many
    return (action.dest.upper() if action.option_strings else action.dest) + many


def _default(action: argparse.Action) -> str:
    default = action.default
    if default is None or default is argparse.SUPPRESS or action.nargs == 0:
        return ""
    if is_default(default):
        return "all cores"  # not the number of those of the machine that builds the site
    text = ",".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)
    return f"`{text}`" if text else ""


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    required = "**required**; " if action.required and action.option_strings else ""
    return required + _text(argparse.HelpFormatter(parser.prog)._expand_help(action))


def _text(text: str) -> str:
    """Plain text as Markdown: options as code, and nothing that Markdown would read as its own."""
    pieces = CODE.split(text)
    return "".join(piece if CODE.fullmatch(piece) else _escaped(piece) for piece in pieces)


def _escaped(text: str) -> str:
    text = re.sub(r"([*_\[\]|])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    return OPTION.sub(r"`\1`", text)


def _fenced(text: str, language: str = "text") -> str:
    return f"```{language}\n{text}\n```"
