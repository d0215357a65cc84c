"""A config.py: the file is executed, and its tables are joined for one network, data set and loss."""

from __future__ import annotations

import ast
import os
import sys
import tokenize
import traceback
import types
from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

from ..errors import InsightError

TABLES = ("config", "network", "dataset", "loss", "default")
JOIN = "generate_config"
ENTRIES = ("loss", "network", "dataset")  # in the order in which they are joined: the last one prevails
HINT = "`insight train --print-config` writes such a file"


class Names(NamedTuple):
    """Which entry of each table a run takes."""

    network: str
    dataset: str
    loss: str

    @property
    def folder(self) -> str:
        """The run's folder in ``models_root``."""
        return f"{self.network}-{self.loss}-{self.dataset}"


class ConfigFile:
    """An executed config.py.

    Executing it runs the user's Python. It may import modules of its own folder.

    Parameters
    ----------
    path : str
        For messages and tracebacks.
    source : str

    Raises
    ------
    InsightError
        The file cannot be executed (the message has the line), or a table is missing.
    """

    def __init__(self, path: str, source: str):
        self.path = path
        with self._errors():
            code = compile(source, path, "exec")
        self._lines = _assignments(ast.parse(source))
        self._module = types.ModuleType("config")
        self._module.__file__ = path
        with self._errors(), _importable(os.path.dirname(os.path.abspath(path))):
            exec(code, self._module.__dict__)
        for table in TABLES:
            if not isinstance(getattr(self._module, table, None), Mapping):
                raise InsightError(
                    f"{path}: has no table {table}; want {', '.join(TABLES)}, as in InsightFace's sample_config.py; "
                    f"{HINT}"
                )

    @classmethod
    def read(cls, path: str) -> ConfigFile:
        """Execute a file.

        Raises
        ------
        InsightError
            As the constructor, or there is no such file.
        """
        if not os.path.isfile(path):
            raise InsightError(f"--config {path}: no such file; {HINT}")
        try:
            with tokenize.open(path) as file:
                source = file.read()
        except (SyntaxError, UnicodeDecodeError) as error:
            raise InsightError(f"{path}: not a Python file ({error})") from None
        return cls(path, source)

    def table(self, name: str) -> Mapping:
        """One of ``TABLES``."""
        return getattr(self._module, name)

    def at(self, *names: str) -> str:
        """Where a value is assigned, for messages: ``config.py:63: network.r100.num_layers``."""
        line = next((self._lines[names[:n]] for n in range(len(names), 0, -1) if names[:n] in self._lines), None)
        return f"{self.path}:{line}: {'.'.join(names)}" if line else f"{self.path}: {'.'.join(names)}"

    def join(self, network: Optional[str] = None, dataset: Optional[str] = None, loss: Optional[str] = None) -> Joined:
        """Join the tables, by the file's own ``generate_config`` where it has one.

        Parameters
        ----------
        network, dataset, loss : str, optional
            Entries of the tables; None: those of ``default``.

        Raises
        ------
        InsightError
            A table has no such entry, ``default`` names none, or ``generate_config`` fails.
        """
        names = Names(*(self._entry(*pair) for pair in zip(Names._fields, (network, dataset, loss))))
        before = {"config": dict(self.table("config")), "default": dict(self.table("default"))}
        own: Callable[..., Any] = getattr(self._module, JOIN, None) or self._join
        with self._errors():
            own(*names)
        return Joined(self, names, before)

    def _entry(self, table: str, name: Optional[str]) -> str:
        entries, default = self.table(table), self.table("default")
        if name is None and table not in default:
            raise InsightError(f"{self.path}: default names no {table}; give --{table}")
        chosen = default[table] if name is None else name
        if not isinstance(entries.get(chosen), Mapping):
            where = self.at("default", table) if name is None else f"--{table}"
            raise InsightError(f"{where} {chosen}: {self.path} has no {table}.{chosen}; it has {', '.join(entries)}")
        return chosen

    def _join(self, *names: str) -> None:
        """What the samples' ``generate_config`` does."""
        config, default = self.table("config"), self.table("default")
        chosen = Names(*names)
        for table in ENTRIES:
            for key, value in self.table(table)[getattr(chosen, table)].items():
                config[key] = value
                if key in default:
                    default[key] = value

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn whatever the user's Python raises into one line with the file's line number."""
        try:
            yield
        except (Exception, SystemExit) as error:
            if isinstance(error, SyntaxError) and error.filename == self.path:
                line: Any = error.lineno
            else:
                frames = traceback.extract_tb(error.__traceback__)
                line = next((frame.lineno for frame in reversed(frames) if frame.filename == self.path), None)
            where = f"{self.path}:{line}" if line else self.path
            text = error.msg if isinstance(error, SyntaxError) else str(error)
            raise InsightError(f"{where}: {type(error).__name__}: {text}") from error


class Joined:
    """The tables of a file, joined for one run.

    Attributes
    ----------
    file : ConfigFile
    names : Names
    values : dict
        Every key of ``config`` and ``default`` with its value; where both have it, ``default``'s, which train.py reads
        by its command line.
    shadowed : list of str
        Keys that the file assigns in ``config`` itself although ``default`` has another value.
    """

    def __init__(self, file: ConfigFile, names: Names, before: Dict[str, Dict[str, Any]]):
        self.file = file
        self.names = names
        config, default = file.table("config"), file.table("default")
        self.values = {**config, **default}
        for name in Names._fields:
            self.values.pop(name, None)
        own = before["config"]
        self.shadowed = [key for key in own if key in default and not _same(own[key], self.values.get(key))]
        self._before = before

    def at(self, key: str) -> str:
        """Where the value of a key was assigned, for messages."""
        for table in reversed(ENTRIES):
            name = getattr(self.names, table)
            entry = self.file.table(table)[name]
            if key in entry and _same(entry[key], self.values[key]):
                return self.file.at(table, name, key)
        table = "default" if key in self._before["default"] else "config"
        return self.file.at(table, key)


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and repr(a) == repr(b)


def _assignments(tree: ast.Module) -> Dict[Tuple[str, ...], int]:
    """Dotted name to the line of its last assignment: ``network.r50.num_layers``, ``network["r50"]``.

    Assignments in functions count for names that are assigned nowhere else.
    """
    lines: Dict[Tuple[str, ...], int] = {}
    for node in [*ast.walk(tree), *tree.body]:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                names = _dotted(target)
                if names:
                    lines[names] = node.lineno
    return lines


def _dotted(node: ast.AST) -> Tuple[str, ...]:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        return (*_dotted(node.value), node.attr)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return (*_dotted(node.value), str(node.slice.value))
    return ()


@contextmanager
def _importable(folder: str) -> Iterator[None]:
    """While the file is executed: modules of its folder."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
