"""Workers of a Dask cluster, which run tasks by dask.distributed on machines that share their files.

The task is pickled, with all that it needs, such as the path of a model. Each process of the cluster unpickles and
prepares it once, for its first item, and keeps it for further items. Before this, it checks that it has the same
version of insight, and that it sees the paths of the run. Results are fetched as bytes, several at a time.

If a worker dies, another one repeats its task, so a task must give the same result if it is repeated. The scheduler
gives up a task that has killed several workers (``distributed.scheduler.allowed-failures``).

Dask is not imported before a cluster is used.
"""

from __future__ import annotations

import itertools
import pickle
import uuid
from collections import OrderedDict
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, Callable, Dict, Sequence

from .. import __version__
from ..errors import InsightError
from ..progress import warn
from . import dask_worker
from .dask_client import PATH_SECONDS, connect, lost, one_line
from .pool import Cluster, Pool, Ticket, Workforce

POLL_SECONDS = 10.0  # interval of the check that there are workers, while waiting for a result
FORGET_SECONDS = 10.0  # timeout for workers to drop the task of a run that has ended; one may not answer
FETCH_SECONDS = 60.0  # timeout for fetching finished results, after which the workers are checked
MIN_COUNT = 16  # lower bound of the number of workers that is assumed, since a cluster may grow with its load
FETCHED = 16  # maximum number of results that are fetched together


class DaskWorkers(Pool):
    """Workers of a Dask cluster; see :class:`insight.executor.Workers`.

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
        states = [dask_worker.state_of(path) for path in paths]
        work = pickle.dumps((task, prepare), pickle.HIGHEST_PROTOCOL)
        self._job = pickle.dumps((__version__, [tuple(state) for state in states], PATH_SECONDS, work))
        self._token = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._client = connect(count, states)
        self.count = max(MIN_COUNT, sum(self._client.nthreads().values()))
        self._futures: Dict[Ticket, Any] = OrderedDict()

    def submit(self, item: Any) -> Ticket:
        ticket = Ticket()
        data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        key = f"insight-{self._token}-{next(self._numbers)}"
        try:
            self._futures[ticket] = self._client.submit(dask_worker.answer, self._token, self._job, data, key=key)
        except Exception as error:  # the client has given up reconnecting
            raise lost(self._cluster, error) from None
        return ticket

    def take_in(self) -> None:
        """Do nothing: results stay on the workers until :meth:`wait` fetches them."""

    def wait(self, ticket: Ticket) -> None:
        warned = False
        while not ticket.done:
            future = self._futures[ticket]
            try:
                future.exception(timeout=POLL_SECONDS)  # waits, and fetches nothing
                if future.status == "finished":
                    self._fetch()
            except Exception as error:
                # Compare names: Python 3.9 and 3.10 have several classes for timeouts.
                if "Timeout" not in type(error).__name__:
                    ticket.settle(None, self._reason(error))
                else:
                    warned = self._warn_of_no_worker(warned)
            else:
                if future.status in ("error", "cancelled"):
                    ticket.settle(None, self._reason(future.exception() or CancelledError()))
        self._futures.pop(ticket, None)

    def _fetch(self) -> None:
        """Settle the next tickets whose results are ready. Raises a timeout if these are lost with their workers."""
        following = itertools.islice(self._futures.items(), FETCHED)  # in the order in which the caller waits
        ready = {ticket: future for ticket, future in following if future.status == "finished"}
        gather = partial(self._client.gather, list(ready.values()), asynchronous=True)
        for ticket, answer in zip(ready, self._client.sync(gather, callback_timeout=FETCH_SECONDS)):
            ticket.settle_pickled(answer)
            del self._futures[ticket]

    def close(self, at_once: bool) -> None:
        """Cancel queued tasks and disconnect. Tasks that have begun are not interrupted."""
        if self._client is None:
            return
        client, self._client = self._client, None
        futures = list(self._futures.values())
        self._futures.clear()
        try:
            if futures:
                client.cancel(futures)
            if not at_once:
                forget = partial(client.run, dask_worker.forget, self._token, on_error="ignore")
                client.sync(forget, callback_timeout=FORGET_SECONDS)
        except Exception:  # the cluster was shut down
            pass
        finally:
            client.close()

    def _warn_of_no_worker(self, warned: bool) -> bool:
        """Return whether the cluster has no worker, and warn if so, unless ``warned`` is set."""
        try:
            empty = not self._client.nthreads()
        except Exception as error:
            raise lost(self._cluster, error) from None
        if empty and not warned:
            warn(f"{self._cluster}: has no worker any more; waiting for one, which goes on with the work")
        return empty

    def _reason(self, error: BaseException) -> BaseException:
        """Return the error to raise for a failure of the cluster itself; errors of tasks are part of their results."""
        name = type(error).__name__
        if name == "KilledWorker":
            return InsightError(
                f"{self._cluster}: one task has ended several workers, the last at {_last_worker(error)}; they may be "
                "short of memory: see their logs, and start them with more"
            )
        if isinstance(error, (CancelledError, OSError)):
            return lost(self._cluster, error)
        return InsightError(
            f"{self._cluster}: a worker cannot do the task ({name}: {one_line(error)}); install insight {__version__} "
            "and the same packages for all workers"
        )


def _last_worker(error: BaseException) -> str:
    return getattr(getattr(error, "last_worker", None), "address", "an unknown address")
