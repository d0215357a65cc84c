"""Named components: networks, heads, engines.

A component registers itself where it is defined; the registry imports all modules of its package in sorted order (never
a name given by a user), so one new file adds one new name.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, Callable, Iterator

from .errors import InsightError


def normalise(name: str) -> str:
    """Normalise a name: ``CosFace`` -> ``cosface``, ``multi-step`` -> ``multi_step``."""
    return str(name).strip().lower().replace("-", "_")


class Registry:
    """Names to components. Duplicates raise, unknown names list the known ones.

    Parameters
    ----------
    kind : str
        Kind of the components, for messages: ``network``, ``head``.
    package : str
        The package whose modules define them; imported on first use.
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self.package = package
        self._entries: dict[str, Any] = {}
        self._primary: list[str] = []
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

    def names(self) -> list[str]:
        """Primary names, sorted, without aliases."""
        self._load()
        return sorted(self._primary)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: str) -> bool:
        self._load()
        return normalise(name) in self._entries

    def get(self, name: str) -> Any:
        """The component of that name or alias.

        Raises
        ------
        InsightError
            The name is unknown; the message lists the known ones.
        """
        self._load()
        try:
            return self._entries[normalise(name)]
        except KeyError:
            known = ", ".join(self.names())
            raise InsightError(f"{self.kind} {name!r} is not known; known: {known}") from None
