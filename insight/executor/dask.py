"""Workers of a Dask cluster: the same tasks, done by dask.distributed on machines that share their files.

The task is pickled with what it needs to open, such as a model by its path. Each process of the cluster unpickles and
prepares it once, with its first item, and keeps it for the others. Before that it checks that it has the same version
of insight, and that it sees the paths of the run. Results are fetched as bytes, several at a time.

A task whose worker dies is done again by another worker, so tasks must give the same when they are done twice. The
scheduler gives up on one that has killed several workers (``distributed.scheduler.allowed-failures``).

Nothing of Dask is imported before a cluster is used.
"""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import uuid
from collections import OrderedDict
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, Callable, Dict, List, Sequence

from .. import __version__
from ..errors import InsightError
from ..progress import warn
from . import dask_worker
from .pool import Cluster, Pool, Ticket, Workforce

CONNECT_SECONDS = 30
FIRST_WORKER_SECONDS = 30  # until the first worker must have joined
LOOK_SECONDS = 10.0  # between two looks for workers, while a result is waited for
FETCH_SECONDS = 60.0  # for results that are there, until workers are looked for
SIGHT_SECONDS = 5.0  # network file systems show new files with a delay
FEWEST = 16  # tasks at once that a cluster gets work for, at least: it may grow with its work
FETCHED = 16  # results at a time
REMEDY = "run: pip install -e '.[cluster]'"


class DaskWorkers(Pool):
    """See :class:`insight.executor.Workers`.

    Raises
    ------
    InsightError
        Dask is not installed, no scheduler answers, it has no worker, or a worker has another version of insight or
        does not see one of the paths.
    """

    def __init__(
        self,
        task: Callable[[Any], Any],
        count: Workforce,
        prepare: Callable[[], None],
        paths: Sequence[str] = (),
    ):
        assert isinstance(count, Cluster)
        self._cluster = count
        sights = [dask_worker.sight_of(path) for path in paths]
        work = pickle.dumps((task, prepare), pickle.HIGHEST_PROTOCOL)
        self._job = pickle.dumps((__version__, _plain(sights), SIGHT_SECONDS, work))
        self._token = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._client = connect(count, sights)
        self.count = max(FEWEST, sum(self._client.nthreads().values()))
        self._futures: Dict[Ticket, Any] = OrderedDict()

    def submit(self, item: Any) -> Ticket:
        ticket = Ticket()
        data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        key = f"insight-{self._token}-{next(self._numbers)}"
        self._futures[ticket] = self._client.submit(dask_worker.answer, self._token, self._job, data, key=key)
        return ticket

    def take_in(self) -> None:
        """Results stay with the workers until the first of them is waited for."""

    def wait(self, ticket: Ticket) -> None:
        told = False
        while not ticket.done:
            future = self._futures[ticket]
            try:
                future.exception(timeout=LOOK_SECONDS)  # waits, and fetches nothing
                if future.status == "finished":
                    self._fetch()
            except Exception as error:
                # Not by its class: TimeoutError is another in Python 3.9 and 3.10 than in 3.11.
                if "Timeout" not in type(error).__name__:
                    ticket.settle(None, self._reason(error))
                else:
                    told = self._tell_of_no_worker(told)
            else:
                if future.status in ("error", "cancelled"):
                    ticket.settle(None, self._reason(future.exception() or CancelledError()))
        self._futures.pop(ticket, None)

    def _fetch(self) -> None:
        """Settle the next tickets whose results are there. Times out where they get lost with their workers."""
        following = itertools.islice(self._futures.items(), FETCHED)  # tickets are waited for in this order
        ready = {ticket: future for ticket, future in following if future.status == "finished"}
        gather = partial(self._client.gather, list(ready.values()), asynchronous=True)
        for ticket, answer in zip(ready, self._client.sync(gather, callback_timeout=FETCH_SECONDS)):
            ticket.settle_pickled(answer)
            del self._futures[ticket]

    def close(self, at_once: bool) -> None:
        """Drop what is queued; what has begun ends by itself."""
        if self._client is None:
            return
        client, self._client = self._client, None
        futures = list(self._futures.values())
        self._futures.clear()
        try:
            if futures:
                client.cancel(futures)
            if not at_once:
                client.run(dask_worker.forget, self._token, on_error="ignore")
        except Exception:  # the cluster has gone
            pass
        finally:
            client.close()

    def _tell_of_no_worker(self, told: bool) -> bool:
        """Tell the user, once, that no worker is left that could make the result; whether that is so."""
        try:
            alone = not self._client.nthreads()
        except Exception as error:
            raise self._reason(error) from None
        if alone and not told:
            warn(f"{self._cluster}: has no worker any more; waiting for one, which goes on with the work")
        return alone

    def _reason(self, error: BaseException) -> BaseException:
        """What a failure of the cluster itself means. Errors of tasks are answers, and do not come here."""
        name = type(error).__name__
        if name == "KilledWorker":
            return InsightError(
                f"{self._cluster}: one task has ended several workers, the last at {_last_worker(error)}; they may be "
                "short of memory: see their logs, and start them with more"
            )
        if isinstance(error, (CancelledError, OSError)):
            return InsightError(
                f"{self._cluster}: the connection to the scheduler was lost ({_line(error)}); start it, and run again"
            )
        return InsightError(
            f"{self._cluster}: a worker cannot do the task ({name}: {_line(error)}); install insight {__version__} and "
            "the same packages for all workers"
        )


def connect(cluster: Cluster, sights: Sequence[dask_worker.Sight] = ()) -> Any:
    """A ``distributed.Client`` of a cluster whose workers, one at least, have this version of insight, and see paths.

    Raises
    ------
    InsightError
        As :class:`DaskWorkers`.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InsightError(f"{cluster}: needs Dask, which is not installed ({error}); {REMEDY}") from None
    if cluster.scheduler_file and not os.path.isfile(cluster.scheduler_file):
        raise InsightError(f"{cluster}: no such file; want the one that `dask scheduler --scheduler-file` has written")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it logs becomes an error or a warning here
    where = {"scheduler_file": cluster.scheduler_file} if cluster.scheduler_file else {"address": cluster.address}
    try:
        client = Client(timeout=CONNECT_SECONDS, set_as_default=False, name="insight", **where)
    except Exception as error:  # of a wrong address, several kinds
        raise InsightError(
            f"{cluster}: no Dask scheduler answers there ({_line(error)}); start it, or correct the option"
        ) from None
    try:
        _check_workers(client, cluster, sights)
    except BaseException:
        client.close()
        raise
    return client


def _check_workers(client: Any, cluster: Cluster, sights: Sequence[dask_worker.Sight]) -> None:
    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER_SECONDS)
        versions = client.run(dask_worker.version, on_error="return")
    except Exception as error:
        raise InsightError(f"{cluster}: has no worker ({_line(error)}); start some: dask worker ADDRESS") from None
    _check_versions(versions, cluster)
    if sights:
        seen = client.run(dask_worker.look, _plain(sights), SIGHT_SECONDS, on_error="return")
        for worker, problem in sorted(seen.items()):
            if problem:
                raise InsightError(f"worker {worker}: {problem}")


def _plain(sights: Sequence[dask_worker.Sight]) -> List[tuple]:
    """As tuples, which a worker of any version unpickles."""
    return [tuple(sight) for sight in sights]


def _check_versions(versions: Dict[str, Any], cluster: Cluster) -> None:
    for worker, version in sorted(versions.items()):
        if isinstance(version, BaseException):
            raise InsightError(
                f"{cluster}: worker {worker} cannot import insight ({_line(version)}); install {__version__} for it"
            )
        if version != __version__:
            raise InsightError(dask_worker.of_another_version(worker, version, __version__))


def _last_worker(error: BaseException) -> str:
    return getattr(getattr(error, "last_worker", None), "address", "an unknown address")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
