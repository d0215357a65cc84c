"""Connection of this process to the other ranks, as its environment describes them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Iterator

from .group import Ranks
from .single import Single

# Environment variables with the number of processes: of horovodrun with Gloo, of Open MPI, of MPICH and Slurm.
SIZES = ("HOROVOD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def connect_ranks() -> Ranks:
    """Group of the processes that were started together. For a single process, Horovod is not imported.

    Raises
    ------
    InsightError
        This process is one of several, and Horovod is not installed or does not find the others.
    """
    size = started_together()
    if size == 1:
        return Single()
    from .horovod import Horovod

    return Horovod(size)


def started_together() -> int:
    """Number of processes W, from the environment that ``horovodrun`` or ``mpirun`` sets; 1 without them."""
    sizes = [os.environ[name] for name in SIZES if os.environ.get(name, "").isdecimal()]
    return max(map(int, sizes), default=1)


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Context manager for :func:`connect_ranks`: closes the group at the end; tells the other ranks of an error."""
    ranks = connect_ranks()
    try:
        yield ranks
    except BaseException as error:
        ranks.fail(" ".join(str(error).split()) or type(error).__name__)
        raise
    ranks.close()
