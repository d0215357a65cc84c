"""Components of other packages: entry points, by which an installed package adds a network, a command, a sampler.

    [project.entry-points."insight.networks"]
    y9 = "some_package.nets:Y9"

The name is the component's, the value is what a file of ours would register: a class, or a command's module.
Nothing is imported before a component is needed, and a package that cannot be imported stops only what needs it.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any, Dict, List, NamedTuple, Tuple

from .errors import InsightError

PREFIX = "insight."  # of the groups: insight.networks, insight.commands, …
METADATA = (".dist-info", ".egg-info")
ENTRY_POINTS = "entry_points.txt"


class Plugin(NamedTuple):
    """One entry point of an installed package.

    Attributes
    ----------
    name : str
        The component's.
    distribution : str
        The package and its version, ``my-package 1.0``.
    entry_point : importlib.metadata.EntryPoint
    """

    name: str
    distribution: str
    entry_point: Any

    def __str__(self) -> str:
        point = self.entry_point
        return f"{self.distribution} (entry point {point.group}: {point.name} = {point.value})"

    def defines(self, component: Any) -> bool:
        """Whether a component that has been registered already is this one: its module was imported before."""
        return getattr(component, "__module__", None) == self.entry_point.value.partition(":")[0].strip()

    def load(self) -> Any:
        """Import the component.

        Raises
        ------
        InsightError
            It cannot be imported, for any reason.
        """
        try:
            return self.entry_point.load()
        except (Exception, SystemExit) as error:
            reason = str(error).strip().partition("\n")[0]
            raise InsightError(
                f"{self}: cannot be imported ({type(error).__name__}: {reason}); repair or uninstall the package"
            ) from error


def of_group(group: str) -> List[Plugin]:
    """The entry points of a group (``insight.networks``), by package and name."""
    return _all_groups(tuple(sys.path)).get(group, [])


@functools.lru_cache(maxsize=1)
def _all_groups(path: Tuple[str, ...]) -> Dict[str, List[Plugin]]:
    """The entry points of all groups. The first of two packages of one name on the path counts, as for imports."""
    groups: Dict[str, List[Plugin]] = {}
    if not any(map(_may_have_some, path)):
        return groups
    import re
    from importlib import metadata  # takes a third of the time of `insight --help`: only where it is needed

    seen = set()
    for distribution in metadata.distributions(path=list(path)):
        name = distribution.metadata["Name"] or ""
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:
            continue
        seen.add(key)
        for point in distribution.entry_points:
            if point.group.startswith(PREFIX):
                plugin = Plugin(point.name, f"{name} {distribution.version}", point)
                groups.setdefault(point.group, []).append(plugin)
    return {group: sorted(plugins, key=lambda one: (one.distribution, one.name)) for group, plugins in groups.items()}


def _may_have_some(folder: str) -> bool:
    """Whether packages in a folder of the path may have entry points of ours; a quick check without a parser."""
    if os.path.isfile(folder):
        return True  # a zip file: the parser looks inside
    try:
        names = [name for name in os.listdir(folder or os.curdir) if name.endswith(METADATA)]
    except OSError:
        return False
    for name in names:
        try:
            with open(os.path.join(folder, name, ENTRY_POINTS), encoding="utf-8", errors="replace") as file:
                if f"[{PREFIX}" in file.read():
                    return True
        except OSError:  # most packages have none
            pass
    return False
