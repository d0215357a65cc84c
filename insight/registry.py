"""Named components: networks, margins, samplers, engines.

A component registers itself where it is defined; its package imports its own sibling files in sorted order (never a
string that came from a user), so one new file adds one new name. Packages installed beside ours add theirs by entry
points (:mod:`insight.plugins`).
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, Callable, Dict, Iterable, Iterator, List, Sequence, Tuple

from .errors import InsightError
from .options import Option, declared
from .plugins import Plugin, of_group
from .progress import warn


def normalise(name: str) -> str:
    """One spelling per name: ``CosFace`` -> ``cosface``, ``multi-step`` -> ``multi_step``."""
    return str(name).strip().lower().replace("-", "_")


class Registry:
    """Names to components. Our own files come first, then the entry points of installed packages.

    A name of ours that is registered twice is a defect and raises. A package that brings a name which already
    exists, or that cannot be imported, is reported in one line, and matters only to what asks for it.

    Parameters
    ----------
    kind : str
        What the components are, for messages: ``network``, ``margin``.
    package : str
        The package whose sibling files define them; imported on first use.
    group : str
        The entry points' group: ``insight.networks``.
    """

    def __init__(self, kind: str, package: str, group: str):
        self.kind = kind
        self.package = package
        self.group = group
        self._entries: Dict[str, Any] = {}
        self._primary: List[str] = []
        self._plugins: Dict[str, Plugin] = {}
        self._failures: Dict[str, InsightError] = {}  # of plugins
        self._loaded = False

    def register(self, name: str, *aliases: str) -> Callable[[Any], Any]:
        """Decorator: file a component under a name, and under other names for it."""

        def add(component: Any) -> Any:
            for key in map(normalise, (name, *aliases)):
                if key in self._entries:
                    raise ValueError(f"{self.kind} {key!r} is registered twice")
                self._entries[key] = component
            self._primary.append(normalise(name))
            return component

        return add

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self.package)
        for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
            importlib.import_module(f"{self.package}.{module}")
        for plugin in of_group(self.group):
            name = normalise(plugin.name)
            if (name in self._entries and not plugin.defines(self._entries[name])) or name in self._plugins:
                other = self._plugins[name].distribution if name in self._plugins else "insight"
                warn(f"{plugin}: {self.kind} {plugin.name!r} exists already in {other}; ignored")
            else:
                self._plugins[name] = plugin

    def names(self) -> List[str]:
        """Primary names, sorted; aliases are left out, and plugins that proved useless."""
        self._load()
        return sorted({*self._primary, *self._plugins} - set(self._failures))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: str) -> bool:
        self._load()
        return normalise(name) in self._entries or normalise(name) in self._plugins

    def get(self, name: str) -> Any:
        """The component of that name or alias.

        Raises
        ------
        InsightError
            The name is unknown; the message lists the known ones. Or it is an installed package's, and cannot be
            imported or used.
        """
        self._load()
        key = normalise(name)
        if key in self._failures:
            raise self._failures[key]
        if key in self._entries:
            return self._entries[key]
        if key not in self._plugins:
            raise InsightError(f"{self.kind} {name!r} is not known; known: {', '.join(self.names())}")
        component = self._plugins[key].load()
        self._entries.setdefault(key, component)  # it may have registered itself, as a file of ours does
        return component

    def components(self) -> List[Tuple[str, Any]]:
        """(name, component) of all that can be imported, sorted; a warning names each plugin that cannot."""
        found = []
        for name in self.names():
            try:
                found.append((name, self.get(name)))
            except InsightError as error:
                self._fail(name, error)
        return found

    def is_plugin(self, name: str) -> bool:
        """Whether an installed package brings that name."""
        self._load()
        return normalise(name) in self._plugins

    def reject(self, name: str, error: InsightError) -> None:
        """Report a plugin that proved useless, once; :meth:`get` raises the error from now on.

        Raises
        ------
        ValueError
            The component is ours: a defect.
        """
        if not self.is_plugin(name):
            raise ValueError(str(error))
        self._fail(name, InsightError(f"{self._plugins[name]}: {error}"))

    def _fail(self, name: str, error: InsightError) -> None:
        self._failures[name] = error
        warn(f"{error}; {self.kind} {name!r} is ignored")


def declared_options(*registries: Registry, taken: Iterable[str] = (), defaults: bool = True) -> Tuple[Option, ...]:
    """What all components declare in their ``OPTIONS``, one option a name; see :func:`insight.options.declared`.

    Parameters
    ----------
    *registries : Registry
    taken : iterable of str
        Names that a command has for itself. A plugin that declares one of them, or an option of another component
        with another type, is rejected.
    defaults : bool
        As in :func:`insight.options.declared`.
    """
    named = [(registry, name, component) for registry in registries for name, component in registry.components()]
    named.sort(key=lambda one: one[0].is_plugin(one[1]))  # ours first: a conflict is the plugin's
    fitting: List[Tuple[str, Sequence[Option]]] = []
    for registry, name, component in named:
        try:
            for option in component.OPTIONS:
                if option.name in taken:
                    raise InsightError(f"{option.flag} exists already; rename the option")
            declared([*fitting, (name, component.OPTIONS)])
        except InsightError as error:
            registry.reject(name, error)
        else:
            fitting.append((name, component.OPTIONS))
    return declared(fitting, defaults)
