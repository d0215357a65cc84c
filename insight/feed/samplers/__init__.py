"""Which images each batch holds; a sampler a file."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Iterable, Mapping, Tuple

from ...options import Option, given
from ...registry import Registry, declared_options

samplers = Registry("sampler", __name__, "insight.samplers")


def options(taken: Iterable[str] = ()) -> Tuple[Option, ...]:
    """What the samplers declare.

    Parameters
    ----------
    taken : iterable of str
        As in :func:`insight.registry.declared_options`.
    """
    return declared_options(samplers, taken=taken)


def chosen(name: str, values: Mapping[str, Any], devices: int = 1, elsewhere: Iterable[Option] = ()) -> Callable:
    """A sampler with its options, for :class:`insight.feed.loader.Loader`, which supplies the rest.

    Parameters
    ----------
    name : str
        As registered.
    values : mapping
        A run's options by name, those of other samplers among them.
    devices : int
        That share each batch.
    elsewhere : iterable of Option
        What other components of the run use: of these, the sampler gets its own, and the rest is not refused.

    Raises
    ------
    InsightError
        No sampler has that name. Calling what is returned raises for an option that does nothing with it.
    """
    sampler = samplers.get(name)
    used = {option.name for option in elsewhere} - {option.name for option in sampler.OPTIONS}
    own = {option: value for option, value in given(options(), values).items() if option not in used}
    return partial(sampler, devices=devices, **own)
