"""Options that a component declares: a network, a margin, a sampler or an objective.

    class LResNet(Network):
        OPTIONS = (Option("version_se", 0, "1 puts squeeze and excitation into each unit"),)

One declaration gives

- the flag: ``--version-se X`` of each command that takes such components, with the help and the default;
- the check: :func:`settle` gives a component its own values, and refuses a value that it would ignore;
- the record: the value is in the run's options under its name, in the log's ``start`` line and in ``--resume``.

Components may declare the same name, with the same type: it is one flag. Where their defaults differ, the flag's
default is None, which stands for the component's own.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .errors import InsightError


@dataclass(frozen=True)
class Option:
    """One option of a component.

    Attributes
    ----------
    name : str
        As in Python and in a run's record, ``version_se``; the flag is ``--version-se``.
    default : Any
        Of the component. False makes a switch, which takes no value.
    help : str
        One sentence with the unit, for ``--help``.
    type : callable, optional
        What reads the flag's text: ``int``, ``float``, ``str``; the default's type where missing.
    choices : tuple
        The values that the component takes; empty where it checks them itself.
    holds : callable, optional
        Value -> bool, whether the component takes a value, and ``rule`` in words for the message.
    rule : str
    """

    name: str
    default: Any
    help: str
    type: Optional[Callable[[str], Any]] = None
    choices: Tuple[Any, ...] = ()
    holds: Optional[Callable[[Any], bool]] = None
    rule: str = ""

    @property
    def flag(self) -> str:
        """The name as it is typed."""
        return "--" + self.name.replace("_", "-")

    @property
    def value_type(self) -> Callable[[str], Any]:
        """``type``, or that of the default."""
        return self.type or type(self.default)

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add the flag to a parser. Values are checked by :func:`settle`, which knows the component."""
        if self.default is False:
            parser.add_argument(self.flag, action="store_true", help=self.help)
        else:
            kind = self.value_type
            parser.add_argument(self.flag, type=kind, default=self.default, metavar="X", help=self.help)


def declared(components: Iterable[Tuple[str, Sequence[Option]]], defaults: bool = True) -> Tuple[Option, ...]:
    """All options of some components, one a name, in the order of their first declaration.

    Parameters
    ----------
    components : iterable of (str, sequence of Option)
        A component's name, for messages, and what it declares: ``((name, networks.get(name).OPTIONS) for name in …)``.
    defaults : bool
        False: the default of each is None, so that a value that equals the default counts as set; switches stay
        False.

    Returns
    -------
    tuple of Option
        With the default where all that declare the option have the same, else None; with the choices of all, and
        with each help text once.

    Raises
    ------
    InsightError
        Two components declare one name with different types.
    """
    found: Dict[str, List[Tuple[str, Option]]] = {}
    for component, options in components:
        for option in options:
            same = found.setdefault(option.name, [])
            if same and same[0][1].value_type is not option.value_type:
                raise InsightError(
                    f"{option.flag}: {same[0][0]} and {component} declare it with different types; rename one of them"
                )
            same.append((component, option))
    return tuple(_merged([option for _, option in same], defaults) for same in found.values())


def _merged(options: List[Option], defaults: bool) -> Option:
    first = options[0]
    alike = first.default is False or (defaults and all(option.default == first.default for option in options))
    texts = dict.fromkeys(option.help for option in options)
    choices = dict.fromkeys(choice for option in options for choice in option.choices)
    default = first.default if alike else None
    return Option(first.name, default, "; ".join(texts), first.value_type, tuple(choices))


def given(options: Iterable[Option], values: Mapping[str, Any]) -> Dict[str, Any]:
    """The values that were set: those that are not their option's default, nor None.

    Parameters
    ----------
    options : iterable of Option
        From :func:`declared`.
    values : mapping
        A run's options, by name; others beside them are ignored, and one that is missing was not set.
    """
    pairs = ((option, values.get(option.name)) for option in options)
    return {option.name: value for option, value in pairs if value not in (option.default, *_unset(option))}


def settle(
    own: Sequence[Option],
    values: Mapping[str, Any],
    user: str,
    refused: Optional[Mapping[tuple, str]] = None,
    elsewhere: Optional[Mapping[str, str]] = None,
) -> Dict[str, Any]:
    """Each option of a component with its value.

    Parameters
    ----------
    own : sequence of Option
        What the component declares.
    values : mapping
        What was set, by name, from :func:`given`; None stands for the default.
    user : str
        The component in messages, ``--loss-type arcface``.
    refused : mapping, optional
        (name, value) to the reason why the component does not take a value that people may try.
    elsewhere : mapping, optional
        Name of an option that the component does not declare, to what selects the one that people mean.

    Raises
    ------
    InsightError
        A value is for an option that the component does not declare, is not one of its choices, or breaks its rule.
    """
    by_name = {option.name: option for option in own}
    settled = {option.name: option.default for option in own}
    for name, value in values.items():
        if value is None:
            continue
        if name not in by_name:
            uses = ", ".join(option.flag for option in own) or "no such options"
            remedy = f"leave it out, or add {elsewhere[name]}" if name in (elsewhere or {}) else "leave it out"
            raise InsightError(f"{typed(_flag(name), value)}: does nothing with {user}, which uses {uses}; {remedy}")
        if not is_finite(value):
            raise InsightError(f"{_flag(name)} {value}: must be a finite number")
        choices = by_name[name].choices
        if choices and value not in choices:
            reason = (refused or {}).get((name, value), "is not known")
            takes = ", ".join(map(str, choices))
            raise InsightError(f"{typed(_flag(name), value)}: {reason}; {user} takes {takes}")
        settled[name] = value
    for option in own:
        if option.holds is not None and not option.holds(settled[option.name]):
            raise InsightError(f"{typed(option.flag, settled[option.name])}: {option.rule}")
    return settled


def is_finite(value: Any) -> bool:
    """Whether a value is one that is no number, or a number other than NaN and infinity."""
    return not isinstance(value, float) or math.isfinite(value)


def shown(value: Any) -> str:
    """A value in a message: 0.2, not 0.2000000001; 64, not 64.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def typed(flag: str, value: Any) -> str:
    """An option in a message, as it is typed: ``--margin-m 0.5``; a switch without its value."""
    return flag if value is True else f"{flag} {shown(value)}"


def differences(options: Iterable[Option], values: Mapping[str, Any], earlier: Mapping[str, Any]) -> List[str]:
    """Flags whose value a resumed run changed, with both values.

    A name that the earlier run did not record had its default: what declares it was not installed then.

    Parameters
    ----------
    options : iterable of Option
        From :func:`declared`.
    values, earlier : mapping
        The options of this run and of the earlier one, by name.
    """
    rows = []
    for option in options:
        now, was = (_recorded(option, record) for record in (values, earlier))
        if now != was:
            rows.append(f"{option.flag} {shown(now)} (was {shown(was)})")
    return rows


def _recorded(option: Option, record: Mapping[str, Any]) -> Any:
    """An option's value in a record."""
    value = record.get(option.name, option.default)
    return option.default if value in _unset(option) else value


def _unset(option: Option) -> tuple:
    """Values that stand for the component's own; an empty text is how earlier versions wrote that."""
    return (None, "") if option.default is None else (None,)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
