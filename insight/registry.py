"""Named components: networks, margins, samplers, engines.

A component registers itself where it is defined; the registry imports all modules of its package in sorted order (never
a name given by a user), so one new file adds one new name. Packages installed beside ours add theirs by entry points
(:mod:`insight.plugins`).
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
    """Normalise a name: ``CosFace`` -> ``cosface``, ``multi-step`` -> ``multi_step``."""
    return str(name).strip().lower().replace("-", "_")


class Registry:
    """Names to components: from our own files first, then from the entry points of installed packages.

    If a name of ours is registered twice, that is a defect and raises ValueError. An entry point whose name already
    exists is ignored with a warning; one that cannot be imported raises InsightError only when it is used.

    Parameters
    ----------
    kind : str
        Kind of the components, for messages: ``network``, ``margin``.
    package : str
        The package whose modules define them; imported on first use.
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
        self._failures: Dict[str, InsightError] = {}  # errors of plugins
        self._loaded = False

    def register(self, name: str, *aliases: str) -> Callable[[Any], Any]:
        """Decorator: register a component under a name and its aliases."""

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
                warn(f"{plugin}: {self.kind} {plugin.name!r} already exists in {other}; ignored")
            else:
                self._plugins[name] = plugin

    def names(self) -> List[str]:
        """Primary names, sorted, without aliases and without plugins that failed."""
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
            The name is unknown (the message lists the known ones), or its component is in an installed package and
            cannot be imported or used.
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
        self._entries.setdefault(key, component)  # it may have registered itself, like our own files
        return component

    def components(self) -> List[Tuple[str, Any]]:
        """(name, component) of all components that can be imported, sorted; warns about plugins that cannot."""
        components = []
        for name in self.names():
            try:
                components.append((name, self.get(name)))
            except InsightError as error:
                self._fail(name, error)
        return components

    def is_plugin(self, name: str) -> bool:
        """Whether the component of that name is in another installed package."""
        self._load()
        return normalise(name) in self._plugins

    def reject(self, name: str, error: InsightError) -> None:
        """Warn about a plugin that cannot be used; :meth:`get` raises the error from now on.

        Raises
        ------
        ValueError
            The component is our own, which is a defect.
        """
        if not self.is_plugin(name):
            raise ValueError(str(error))
        self._fail(name, InsightError(f"{self._plugins[name]}: {error}"))

    def _fail(self, name: str, error: InsightError) -> None:
        self._failures[name] = error
        warn(f"{error}; {self.kind} {name!r} is ignored")


def declared_options(*registries: Registry, taken: Iterable[str] = (), defaults: bool = True) -> Tuple[Option, ...]:
    """Options that components declare in their ``OPTIONS``, one per name; see :func:`insight.options.declared`.

    Parameters
    ----------
    *registries : Registry
    taken : iterable of str
        Names of a command's own options. A plugin that declares one of them, or an option of another component with
        another type, is rejected.
    defaults : bool
        As in :func:`insight.options.declared`.
    """
    named = [(registry, name, component) for registry in registries for name, component in registry.components()]
    named.sort(
        key=lambda entry: entry[0].is_plugin(entry[1])
    )  # ours first, so that the plugin of a conflict is rejected
    fitting: List[Tuple[str, Sequence[Option]]] = []
    for registry, name, component in named:
        try:
            for option in component.OPTIONS:
                if option.name in taken:
                    raise InsightError(f"{option.flag} already exists; rename the option")
            declared([*fitting, (name, component.OPTIONS)])
        except InsightError as error:
            registry.reject(name, error)
        else:
            fitting.append((name, component.OPTIONS))
    return declared(fitting, defaults)
