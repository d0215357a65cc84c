"""Connection to a Dask cluster, and checks of its workers: their version of insight and the files that they see."""

from __future__ import annotations

import json
import logging
import os
import threading
import warnings
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Sequence

from .. import __version__
from ..errors import InsightError
from ..progress import warn
from . import dask_worker
from .pool import Cluster

CONNECT_SECONDS = 30
FIRST_WORKER_SECONDS = 30  # timeout for the first worker to join
LATE_SECONDS = 20.0  # after this time, a warning names a worker that does not answer
PATH_SECONDS = 5.0  # timeout for a worker to see a path, since network file systems show new files with a delay
REMEDY = "run: pip install -e '.[cluster]'"
PROTOCOL = ("dask", "distributed")  # packages whose versions must be compatible
LIBRARIES = ("numpy", "opencv-python", "opencv-python-headless", "scikit-image")  # packages that may change results


def connect(cluster: Cluster, states: Sequence[dask_worker.PathState] = ()) -> Any:
    """Connect to a cluster, and check that it has workers with this version of insight that see the given paths.

    Parameters
    ----------
    cluster : Cluster
    states : sequence of PathState
        Paths, and the states that workers must see there.

    Returns
    -------
    distributed.Client

    Raises
    ------
    InsightError
        As :class:`insight.executor.dask.DaskWorkers`.
    """
    client = _client(cluster)
    try:
        with _naming_the_late(client, cluster):
            _check_workers(client, cluster)
            _check_paths(client, states)
    except BaseException:
        client.close()
        raise
    return client


def check_cluster(cluster: Cluster) -> None:
    """Check that :func:`connect` works, before long work; warn if versions of packages differ.

    Raises
    ------
    InsightError
        As :func:`connect`.
    """
    client = connect(cluster)
    try:
        with _naming_the_late(client, cluster):
            versions = client.get_versions()
            libraries = client.run(dask_worker.installed, LIBRARIES, on_error="return")
    except Exception as error:
        raise lost(cluster, error) from None
    finally:
        client.close()
    versions["client"]["packages"].update(dask_worker.installed(LIBRARIES))
    for worker, found in libraries.items():
        if isinstance(found, dict) and worker in versions["workers"]:  # others have ended or joined meanwhile
            versions["workers"][worker]["packages"].update(found)
    difference = _difference(versions)
    if difference:
        warn(f"{cluster}: {difference}; results may differ: install the same versions")


def lost(cluster: Cluster, error: BaseException) -> InsightError:
    """Return the error to raise if the scheduler does not answer any more."""
    return InsightError(
        f"{cluster}: the connection to the scheduler was lost ({one_line(error)}); start it, and run again"
    )


def one_line(error: BaseException) -> str:
    """Return the message of an error as one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _client(cluster: Cluster) -> Any:
    try:
        from distributed import Client
        from distributed.versions import VersionMismatchWarning
    except ImportError as error:
        raise InsightError(f"{cluster}: needs Dask, which is not installed ({error}); {REMEDY}") from None
    if cluster.scheduler_file:
        _check_file(cluster)
    # This package reports these failures and differences of versions itself. The level must be set for each logger
    # below "distributed" too, because Dask's configuration gives some of them their own levels.
    below = [name for name in logging.root.manager.loggerDict if name.startswith("distributed.")]
    for name in ("distributed", *below, "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore", VersionMismatchWarning)
    where = {"scheduler_file": cluster.scheduler_file} if cluster.scheduler_file else {"address": cluster.address}
    client = Client.__new__(Client)
    try:
        client.__init__(timeout=CONNECT_SECONDS, set_as_default=False, name="insight", **where)
        return client
    except Exception as error:  # a wrong address raises errors of several classes
        client.status = "closed"  # otherwise its finalizer waits a minute for the start that has failed
        raise InsightError(
            f"{cluster}: no Dask scheduler answers there ({one_line(error)}); start it, or correct the option"
        ) from None


def _check_file(cluster: Cluster) -> None:
    """Check that the file was written by a scheduler; for another file, Dask raises AssertionError or waits."""
    wanted = "want the one that `dask scheduler --scheduler-file` has written"
    if not os.path.isfile(cluster.scheduler_file):
        raise InsightError(f"{cluster}: no such file; {wanted}")
    try:
        with open(cluster.scheduler_file, encoding="utf-8") as file:
            about = json.load(file)
    except (OSError, ValueError) as error:
        raise InsightError(f"{cluster}: cannot be read ({one_line(error)}); {wanted}") from None
    if not isinstance(about, dict) or not isinstance(about.get("address"), str):
        raise InsightError(f"{cluster}: has no address of a scheduler; {wanted}")


@contextmanager
def _naming_the_late(client: Any, cluster: Cluster) -> Iterator[None]:
    """Warn if the block, which waits for all workers, takes long, and name the worker that was silent for longest.

    This is not an error: a worker may need long for its first imports, and the scheduler eventually removes a machine
    that has stopped without closing its connections.
    """

    def late() -> None:
        try:
            seen = {address: worker["last_seen"] for address, worker in client.scheduler_info()["workers"].items()}
        except Exception:  # the scheduler was shut down
            return
        if not seen:  # no worker has joined yet
            return
        name = f"worker {min(seen, key=seen.__getitem__)}"
        warn(
            f"{cluster}: {name} has not answered for {LATE_SECONDS:g} s; waiting, until Dask gives it up "
            "(distributed.scheduler.worker-ttl: 5 minutes, if nobody has changed it)"
        )

    timer = threading.Timer(LATE_SECONDS, late)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check_workers(client: Any, cluster: Cluster) -> None:
    """Check that the cluster has a worker, and that each worker has this version of insight."""
    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER_SECONDS)
        versions = client.run(dask_worker.version, on_error="return")
    except Exception as error:
        raise InsightError(f"{cluster}: has no worker ({one_line(error)}); start some: dask worker ADDRESS") from None
    for worker, version in sorted(versions.items()):
        if isinstance(version, OSError):  # the worker has ended meanwhile
            continue
        if isinstance(version, BaseException):
            raise InsightError(
                f"{cluster}: worker {worker} cannot import insight ({one_line(version)}); install {__version__} for it"
            )
        if version != __version__:
            raise InsightError(dask_worker.other_version(worker, version, __version__))


def _check_paths(client: Any, states: Sequence[dask_worker.PathState]) -> None:
    if not states:
        return
    plain = [tuple(state) for state in states]
    problems = client.run(dask_worker.check_paths, plain, PATH_SECONDS, on_error="return")
    for worker, problem in sorted(problems.items()):
        if problem and not isinstance(problem, OSError):  # OSError: the worker has ended meanwhile
            raise InsightError(f"worker {worker}: {problem}")


def _difference(versions: Dict[str, Any]) -> str:
    """Describe how the first of scheduler and workers that has other package versions differs; "" if none does.

    Parameters
    ----------
    versions : dict
        From ``distributed.Client.get_versions``, with the ``LIBRARIES`` of this process and of the workers added.
    """
    here = versions["client"]["packages"]
    others = {"the scheduler": (versions["scheduler"], PROTOCOL)}
    for address, reported in sorted(versions["workers"].items()):
        others[f"worker {address}"] = reported, (*PROTOCOL, *LIBRARIES)
    for name, (reported, packages) in others.items():
        there = reported["packages"]
        different = [package for package in packages if there.get(package) != here.get(package)]
        if different:
            return f"{name} has {_listed(different, there)}, and this machine {_listed(different, here)}"
    return ""


def _listed(packages: List[str], versions: Dict[str, Any]) -> str:
    return ", ".join(f"{package} {versions.get(package) or 'not at all'}" for package in packages)
