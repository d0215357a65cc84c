"""The ``insight`` command: one file per subcommand in this package.

A command's file defines ``HELP`` (one line), ``EXAMPLES`` ((what it does, command line), two or more),
``add_arguments(parser)``, which puts every argument into a group, and ``run(args)``, which calls one library function
and returns None or an exit status. It imports nothing heavy at module level, because ``insight --help`` imports all of
them.
An installed package adds commands by entry points of the group ``insight.commands``, whose values are such modules.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import pkgutil
import re
import sys
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from .. import __version__
from ..errors import InsightError
from ..plugins import Plugin, of_group
from ..progress import warn
from ._failures import fail
from ._scriptflags import translated
from ._scripts import SCRIPTS
from ._sigint import never_lose

GROUP = "insight.commands"
ALIASES = {"face2rec2": "face2rec"}  # names of InsightFace's scripts, of files in tools/
WIDEST = 80  # characters of a line of an example


@functools.lru_cache(maxsize=1)
def command_names() -> Tuple[str, ...]:
    """The names of our own commands, with dashes, sorted."""
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__) if m.name[0] != "_"))


@functools.lru_cache(maxsize=1)
def plugin_commands() -> Dict[str, Plugin]:
    """The commands of installed packages by name, with dashes; warns about names that already exist."""
    commands: Dict[str, Plugin] = {}
    for plugin in of_group(GROUP):
        name = plugin.name.replace("_", "-")
        if name in command_names() or name in commands:
            other = commands[name].distribution if name in commands else "insight"
            warn(f"{plugin}: command {name!r} already exists in {other}; ignored")
        else:
            commands[name] = plugin
    return commands


def load(name: str):
    """The module of a command name (dashes or underscores).

    Raises
    ------
    InsightError
        The command is in an installed package and cannot be imported.
    """
    name = name.replace("_", "-")
    if name not in command_names() and name in plugin_commands():
        return plugin_commands()[name].load()
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows the default of each option, and keeps the lines of the description."""

    def _get_help_string(self, action: argparse.Action) -> Optional[str]:
        if action.default in (None, "", False):
            return action.help
        return super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    """Its usage line has what a command needs, and not its options, of which some have a hundred.

    It also takes the flags of the scripts that the command replaces, and prints a note on those without an effect.
    """

    def __init__(self, command: str, **about):
        super().__init__(**about)
        self._script = SCRIPTS.get(command)

    def parse_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else list(args)
        line, notes = translated(words, self._option_string_actions, self._script)
        parsed = super().parse_args(line, namespace)
        printed = getattr(parsed, "print_config", False)  # then stdout is a file
        for note in notes:
            print(f"note: {note}", file=sys.stderr if printed else sys.stdout, flush=True)
        return parsed

    def error(self, message: str):
        raise InsightError(f"{message}; see {self.prog} --help")

    def format_help(self) -> str:
        self.usage = self._short_usage().replace("%", "%%")
        return super().format_help()

    def _short_usage(self) -> str:
        either = [group for group in self._mutually_exclusive_groups if group.required]
        alternatives = [action for group in either for action in group._group_actions]
        needed = [one for one in self._actions if one.required or not one.option_strings or one in alternatives]
        formatter = self._get_formatter()
        formatter.add_usage(None, needed, either, prefix="")
        return formatter.format_help().strip() + " [options]"


def build_parser(name: str, prog: Optional[str] = None) -> argparse.ArgumentParser:
    """The parser of one command."""
    module = load(name)
    parser = _Parser(
        name.replace("_", "-"),
        prog=prog or f"insight {name}",
        description=module.HELP + ("\n\n" + module.__doc__.strip() if module.__doc__ else ""),
        epilog="\n".join(["examples:", *map(example_lines, module.EXAMPLES)]) if has_examples(module) else None,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return parser


def has_examples(module) -> bool:
    """Whether a command has examples: ours do, those of installed packages may."""
    return bool(getattr(module, "EXAMPLES", ()))


def example_lines(example: Tuple[str, str], indent: str = "  ") -> str:
    """An example as it is typed: a comment, and the command line, continued on the next lines where it is long."""
    comment, command = example
    lines = [indent]
    for part in re.split(r" (?=--)", command):
        if len(lines[-1] + part) > WIDEST - len(" \\") and lines[-1].strip():
            lines[-1] += "\\"
            lines.append(indent + "    ")
        lines[-1] += part + " "
    return "\n".join([f"{indent}# {comment}", *(line.rstrip() for line in lines)])


def overview() -> str:
    """The text of ``insight --help``."""
    rows = [f"  {name:<15} {load(name).HELP}" for name in command_names()]
    head = "usage: insight COMMAND [options]\n\nTrain, check and export face-embedding networks.\n\ncommands:"
    more = _plugin_rows()
    more = ["\nof installed packages:", *more] if more else []
    foot = (
        "\n`insight COMMAND --help` shows its options. Exit status: 0 done, 1 the check failed, 2 bad input or usage,"
        "\n70 a defect of insight. INSIGHT_TRACEBACK=1 prints the traceback of a failure."
    )
    return "\n".join([head, *rows, *more, foot])


def _plugin_rows() -> List[str]:
    """Lines for the commands of installed packages; warns about those that cannot be imported."""
    rows = []
    for name in sorted(plugin_commands()):
        try:
            rows.append(f"  {name:<15} {load(name).HELP}")
        except InsightError as error:
            warn(str(error))
    return rows


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Entry point of the console script."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        return _guarded(lambda: print(overview()) or (0 if argv else 2), ["insight", *argv])
    if argv[0] == "--version":
        return _guarded(lambda: print(f"insight {__version__}"), ["insight", *argv])
    return run_command(argv[0], argv[1:])


def run_command(name: str, argv: Sequence[str], prog: Optional[str] = None) -> int:
    """Run one command; every failure becomes one line on stderr and a status (see ``_failures``)."""

    def run() -> Optional[int]:
        command = name.replace("_", "-")
        if command not in command_names() and command not in plugin_commands():
            known = sorted([*command_names(), *plugin_commands()])
            raise InsightError(f"no command {name!r}; commands: {', '.join(known)}")
        args = build_parser(command, prog).parse_args(argv)
        return load(command).run(args)

    return _guarded(run, ["insight", name, *argv])


def _guarded(run: Callable[[], Optional[int]], argv: Sequence[str]) -> int:
    """Call ``run`` and return its status, or that of its failure.

    It is not a failure if the reader of stdout has closed it after all work was done: ``insight ... | head``.
    """
    never_lose()
    _print_any_name()
    try:
        status = int(run() or 0)
    except SystemExit:  # --help
        _finish_output()
        raise
    except KeyboardInterrupt as error:
        return fail(error, argv)
    except Exception as error:
        _finish_output()
        return fail(error, argv)
    lost = _finish_output()  # a full disk is reported here, not by Python at exit
    return status if lost is None or isinstance(lost, BrokenPipeError) else fail(lost, argv)


def _print_any_name() -> None:
    """Print file names that are not UTF-8, or not in the terminal's encoding, with escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _finish_output() -> Optional[OSError]:
    """Flush stdout; if that fails, discard the rest so that Python's own flush at exit succeeds.

    Returns
    -------
    OSError or None
        The error of a failed flush.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return error
    return None


def script(path: str) -> None:
    """Run the command that a thin file in tools/ or deploy/ is named after."""
    name = os.path.splitext(os.path.basename(path))[0]
    sys.exit(run_command(ALIASES.get(name, name), sys.argv[1:], prog=os.path.basename(path)))
