"""The group that this process belongs to, by how it was started."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Iterator

from .group import Ranks
from .single import Single

# How many processes were started together: by horovodrun with Gloo, by Open MPI, by MPICH and Slurm.
SIZES = ("HOROVOD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def connect_ranks() -> Ranks:
    """The group of the processes that were started together; of one process, without importing Horovod.

    Raises
    ------
    InsightError
        It is one of several, and Horovod is not there or does not find the others.
    """
    size = started_together()
    if size == 1:
        return Single()
    from .horovod import Horovod

    return Horovod(size)


def started_together() -> int:
    """W, as ``horovodrun`` or ``mpirun`` says in the environment; 1 without them."""
    sizes = [os.environ[name] for name in SIZES if os.environ.get(name, "").isdecimal()]
    return max(map(int, sizes), default=1)


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """The group, as :func:`connect_ranks`, for as long as the work takes; the others learn of an error that ends it."""
    ranks = connect_ranks()
    try:
        yield ranks
    except BaseException as error:
        ranks.fail(" ".join(str(error).split()) or type(error).__name__)
        raise
    ranks.close()
