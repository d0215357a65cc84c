"""The ``insight`` command: one file per subcommand in this package.

A command's file defines ``HELP`` (one line), ``add_arguments(parser)`` and
``run(args)``, which calls one library function and returns None or an exit status.
Nothing heavy is imported at the top of such a file: ``insight --help`` reads them all.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import pkgutil
import sys
from typing import Optional, Sequence

from .. import __version__
from ..errors import InsightError
from ._sigint import never_lose

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def command_names() -> list[str]:
    """Every command's name, with dashes, sorted."""
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__) if m.name[0] != "_")


def load(name: str):
    """The module of a command name (dashes or underscores)."""
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults behind each option; the description keeps its lines."""

    def _get_help_string(self, action: argparse.Action) -> Optional[str]:
        if action.default in (None, "", False):
            return action.help
        return super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise InsightError(f"{message}; see {self.prog} --help")


def build_parser(name: str, prog: Optional[str] = None) -> argparse.ArgumentParser:
    """The parser of one command."""
    module = load(name)
    text = module.HELP + ("\n\n" + module.__doc__.strip() if module.__doc__ else "")
    parser = _Parser(prog=prog or f"insight {name}", description=text, formatter_class=_Formatter, allow_abbrev=False)
    module.add_arguments(parser)
    return parser


def overview() -> str:
    """What ``insight --help`` prints."""
    rows = [f"  {name:<15} {load(name).HELP}" for name in command_names()]
    head = "usage: insight COMMAND [options]\n\nTrain, check and ship face-embedding networks.\n\ncommands:"
    foot = "\n`insight COMMAND --help` says more. Exit status: 0 done, 1 the check failed, 2 bad input or usage."
    return "\n".join([head, *rows, foot])


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Entry point of the console script."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"insight {__version__}")
        return 0
    return run_command(argv[0], argv[1:])


def run_command(name: str, argv: Sequence[str], prog: Optional[str] = None) -> int:
    """Run one command; every expected failure becomes one line on stderr and a status."""
    never_lose()
    try:
        if name.replace("_", "-") not in command_names():
            raise InsightError(f"no command {name!r}; commands: {', '.join(command_names())}")
        name = name.replace("_", "-")
        args = build_parser(name, prog).parse_args(argv)
        status = int(load(name).run(args) or 0)
        sys.stdout.flush()  # a full disk or a reader that left shows here, not as noise at exit
        return status
    except InsightError as error:
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our stdout went away: `insight ... | head`
        _drop_output()
        return 0
    except MemoryError:
        return _fail("out of memory; use a smaller --batch-size or fewer workers", 2)
    except OSError as error:
        if error.errno in _MACHINE_TROUBLE:
            _drop_output()
            return _fail(f"{error.filename or 'writing'}: {error.strerror}", 2)
        raise


_MACHINE_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
_MACHINE_TROUBLE |= {errno.ENAMETOOLONG, errno.ELOOP}  # paths that no file can have


def _drop_output() -> None:
    """Let Python's own flush at exit succeed where stdout no longer takes anything."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, status: int) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return status


def script(path: str) -> None:
    """Run the command that a thin file in tools/ or deploy/ is named after."""
    name = os.path.splitext(os.path.basename(path))[0]
    sys.exit(run_command(name, sys.argv[1:], prog=os.path.basename(path)))
