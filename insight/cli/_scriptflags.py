"""How a command takes the flags of InsightFace's scripts beside its own.

A command line is translated before it is parsed, so that these flags are in no parser: help, completion and examples
have the options of insight only. The flags are listed by command in ``_scripts``, and for people in docs/migrating.md.

Underscores are taken for dashes in any option: ``--batch_size`` is ``--batch-size``.
"""

from __future__ import annotations

import argparse
from typing import Callable, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import InsightError

SAID_NOTHING = ""  # for a value that asks for what the command does anyway
ANY_OTHER = "…"
TRUTHS = ("true", "false", "1", "0")


class Flag(NamedTuple):
    """A flag of a script.

    Attributes
    ----------
    names : str
        As the script spells them, separated by blanks; documents and messages have the last one.
    here : str
        What it is here. It has no effect if neither ``to`` nor ``values`` nor the script's ``complete`` knows it; then
        a note says so, with this as the reason.
    to : str
        Our option that gets the value, or, in capitals, our argument.
    value : callable, optional
        The value as ours is written; None: ``to`` is a switch.
    values : mapping
        Values that need no translation, with what an error says about them, or ``SAID_NOTHING``. ``ANY_OTHER`` stands
        for those that are not listed.
    nargs : int or str, optional
        As argparse has it; ``?`` takes only what is written for true or false, so that no other argument is lost.
    """

    names: str
    here: str = ""
    to: str = ""
    value: Optional[Callable[[str], str]] = str
    values: Mapping[str, str] = {}
    nargs: object = None

    @property
    def name(self) -> str:
        return self.names.split()[-1]

    @property
    def spellings(self) -> List[str]:
        """All names, also with dashes for underscores."""
        return list(dict.fromkeys(spelling for name in self.names.split() for spelling in (name, dashed(name))))


class Script(NamedTuple):
    """The flags of the scripts that a command replaces.

    Attributes
    ----------
    names : str
        File names of the scripts.
    flags : sequence of Flag
    joined : sequence of str
        Names of flags that ``complete`` reads.
    complete : callable, optional
        (values of the typed flags by name, the translated command line) to the command line with what several flags
        mean together.
    """

    names: str
    flags: Sequence[Flag]
    joined: Collection[str] = ()
    complete: Optional[Callable[[Mapping[str, str], List[str]], List[str]]] = None


class _Reader(argparse.ArgumentParser):
    """Takes a script's flags out of a command line."""

    def error(self, message: str):
        raise InsightError(f"{message}, as in InsightFace's script; see docs/migrating.md")


def dashed(option: str) -> str:
    """An option with dashes for underscores; the value behind ``=`` stays as it is."""
    name, equals, value = option.partition("=")
    return name.replace("_", "-") + equals + value


def translated(argv: Sequence[str], own: Collection[str], script: Optional[Script]) -> Tuple[List[str], List[str]]:
    """A command line in the command's own options, and the notes on flags without an effect.

    Parameters
    ----------
    argv : sequence of str
    own : collection of str
        The command's own options, ``--batch-size``.
    script : Script, optional

    Raises
    ------
    InsightError
        A value asks for something that the command does not do, or an option is given under two names.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    typed, rest = _taken_out([_own_spelling(word, own) for word in argv[:end]], script)
    arguments, options, idle = [], [], {}  # idle: reason to names
    for flag in script.flags if script else ():
        if flag.name not in typed:
            continue
        value = typed[flag.name]
        reason = flag.values.get(value, flag.values.get(ANY_OTHER))
        if reason:
            raise InsightError(f"{flag.name} {value}".rstrip() + f": {reason}")
        if reason == SAID_NOTHING or flag.name in script.joined:
            continue
        if flag.to.isupper():
            arguments.append(flag.value(value))
        elif flag.to:
            if flag.value is None:
                options.append(flag.to)
                continue
            refuse_both(flag.name, flag.to, rest)
            options.append(f"{flag.to}={flag.value(value)}")
        else:
            idle.setdefault(flag.here, []).append(flag.name)
    line = [*arguments, *rest, *options]
    if script and script.complete:
        line = script.complete(typed, line)
    reasons = [f"{', '.join(names)} ({reason})" for reason, names in idle.items()]
    return [*line, *argv[end:]], [f"without effect here: {', '.join(reasons)}"] if reasons else []


def value_in(line: Sequence[str], option: str) -> Optional[str]:
    """The value of an option in a command line; None if it is not there."""
    for i, word in enumerate(line):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else " ".join(line[i + 1 : i + 2])
    return None


def _own_spelling(word: str, own: Collection[str]) -> str:
    """A word with dashes for underscores, if it is an option that exists only so."""
    if word[:2] != "--" or word.partition("=")[0] in own:
        return word
    return dashed(word) if dashed(word).partition("=")[0] in own else word


def _taken_out(argv: List[str], script: Optional[Script]) -> Tuple[Dict[str, str], List[str]]:
    """The script's flags with their values, and the other words."""
    if script is None:
        return {}, argv
    reader = _Reader(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for flag in script.flags:
        kind = {"action": "store_true"} if flag.nargs == 0 else {"nargs": flag.nargs}
        if flag.nargs == "?":
            kind["const"] = ""
        reader.add_argument(*flag.spellings, dest=flag.name, **kind)
    found, rest = reader.parse_known_args(argv)
    values = {name: "" if value is True else value for name, value in vars(found).items()}
    for flag in script.flags:
        value = values.get(flag.name)
        if flag.nargs == "?" and value and value.lower() not in TRUTHS:
            rest.insert(0, value)
            values[flag.name] = ""
    return {name: " ".join(value) if isinstance(value, list) else value for name, value in values.items()}, rest


def refuse_both(name: str, option: str, line: Sequence[str]) -> None:
    """Raise InsightError for a flag whose option is in the command line, too."""
    if value_in(line, option) is not None:
        raise InsightError(f"{name}: means {option}, which is given too; leave one of them out")
