"""Samplers: they choose the images of each batch. One file for each sampler."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Iterable, Mapping, Tuple

from ...options import Option, given
from ...registry import Registry, declared_options

samplers = Registry("sampler", __name__, "insight.samplers")


def options(taken: Iterable[str] = ()) -> Tuple[Option, ...]:
    """The options of all samplers.

    Parameters
    ----------
    taken : iterable of str
        As in :func:`insight.registry.declared_options`.
    """
    return declared_options(samplers, taken=taken)


def chosen(name: str, values: Mapping[str, Any], devices: int = 1, elsewhere: Iterable[Option] = ()) -> Callable:
    """A sampler's class with its options bound; :class:`insight.feed.loader.Loader` supplies the other arguments.

    Parameters
    ----------
    name : str
        The registered name.
    values : mapping
        All options of a run by name, including those of other samplers.
    devices : int
        Number of devices that share each batch.
    elsewhere : iterable of Option
        Options that other components of the run use too. Those that the sampler does not have are ignored instead of
        refused.

    Raises
    ------
    InsightError
        No sampler has that name. Calling the partial raises if an option is set that the sampler does not have.
    """
    sampler = samplers.get(name)
    used = {option.name for option in elsewhere} - {option.name for option in sampler.OPTIONS}
    own = {option: value for option, value in given(options(), values).items() if option not in used}
    return partial(sampler, devices=devices, **own)
