"""Detection of failed and stalled ranks: a thread on each rank reports to rank 0 what the rank is doing.

Horovod itself only sees that a connection was closed, not whose, and waits forever for a missing rank. Here rank 0
knows the current operation of each rank and its number. It tells the others which rank has ended and why, and prints a
line if a rank keeps the others waiting.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Optional

from .group import RankFailed
from .standing import Standing, stall
from .wire import Connection, Listener, connect, reachable_names

BEAT = 0.5  # seconds between two messages of a rank
LOST = 45.0  # seconds without a message: the machine or the network is down, or the process is suspended
STALLED = 60.0  # seconds in one operation until a line names the rank that is waited for
LEAVE = 10.0  # seconds for a rank to end by itself after another has failed, if it waits in an operation
AT_WORK = 40.0  # additional seconds outside operations: it may be writing a file
EXPLAINED = 5.0  # seconds to wait for the reason why an operation failed
KILLED = "ended without a message (killed from outside, or for lack of memory)"
STALL_LIMIT = "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"  # Horovod's variable; 0: no limit


class Watch:
    """A rank's view of the other ranks.

    Parameters
    ----------
    rank : int
    hosts : list of str
        Host name of each rank.
    say : callable
        Called with each message about a stall.
    end : callable
        Called with a message; ends the process when the main thread does not return from an operation.
    """

    def __init__(
        self,
        rank: int,
        hosts: List[str],
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
        end: Callable[[str], None] = lambda line: _end(line),
    ):
        self.rank, self.hosts = rank, hosts
        self._say, self._end = say, end
        self._standing = Standing()
        self._failure: Optional[str] = None
        self._failed = threading.Event()
        self._left = False
        self._connections: Dict[int, Connection] = {}  # of rank 0: to all others; of others: to rank 0
        self._others: Dict[int, Standing] = {}  # on rank 0
        self._told = -1  # number of the operation whose stall was reported
        self._lock = threading.Lock()

    def start(self, connections: Dict[int, Connection]) -> None:
        """Start the threads that send and receive messages."""
        self._connections = connections
        for rank, connection in connections.items():
            self._others[rank] = Standing()
            threading.Thread(target=self._listen, args=(rank, connection), name="ranks", daemon=True).start()
        threading.Thread(target=self._beat, name="ranks", daemon=True).start()

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Context manager around an operation that all ranks take part in.

        Raises
        ------
        RankFailed
            Another rank has already ended.
        """
        if self._failure:
            raise RankFailed(self._failure)
        self._standing = Standing(name, self._standing.number + 1, time.monotonic())
        yield
        self._standing = self._standing._replace(name="", since=time.monotonic())

    def failure_behind(self, name: str, error: Exception) -> str:
        """Reason why an operation failed: the rank that ended, if it becomes known, else the error's last line."""
        self._failed.wait(EXPLAINED)
        last = (str(error).split("Stack trace")[0].strip().splitlines() or ["no reason"])[-1]
        return self._failure or f"rank {self.rank} ({self.hosts[self.rank]}): {name} failed: {last}"

    def leave(self, reason: str = "") -> None:
        """Tell the other ranks that this one ends: its work is done, or it failed for ``reason``."""
        self._left = True
        if reason:
            threading.Thread(target=self._end_late, args=("",), name="ranks", daemon=True).start()
        for connection in self._connections.values():
            connection.send({"failed": self.rank, "reason": f"failed: {reason}"} if reason else {"done": True})

    def _listen(self, rank: int, connection: Connection) -> None:
        """Receive the messages of one rank until its connection ends."""
        for message in connection.messages(LOST):
            if message is None:
                self._fail(rank, f"has not answered for {LOST:.0f} s")
                return
            if "failed" in message:
                self._fail(message["failed"], message["reason"])
            elif "done" in message:
                return
            elif self.rank == 0:
                self._others[rank] = Standing(message["name"], message["number"], time.monotonic() - message["for"])
        self._fail(rank, KILLED)

    def _fail(self, rank: int, reason: str) -> None:
        """Record the first failure of a rank, tell the other ranks, and make sure that this rank ends too."""
        with self._lock:
            if self._left or self._failure:
                return
            self._failure = f"rank {rank} of {len(self.hosts)} ({self.hosts[rank]}) {reason}"
        self._failed.set()
        if self.rank == 0:
            for other, connection in self._connections.items():
                if other != rank:
                    connection.send({"failed": rank, "reason": reason})
        self._end_late(self._failure)

    def _end_late(self, line: str) -> None:
        """End the process if it does not end by itself: Horovod may wait forever, in an operation or at exit."""
        time.sleep(LEAVE)
        latest = time.monotonic() + AT_WORK
        while not (self._left or self._standing.name) and time.monotonic() < latest:
            time.sleep(BEAT)
        self._end("" if self._left else line)

    def _beat(self) -> None:
        limit = float(os.environ.get(STALL_LIMIT) or 0)
        while not self._left and not self._failure:
            standing = self._standing
            for connection in self._connections.values():
                connection.send({"name": standing.name, "number": standing.number, "for": standing.seconds})
            if self.rank == 0:
                self._look_for_stalls({0: standing, **self._others}, limit)
            time.sleep(BEAT)

    def _look_for_stalls(self, standings: Dict[int, Standing], limit: float) -> None:
        late = stall(standings, self.hosts, STALLED)
        if late is None:
            self._told = -1
        elif late.number != self._told:
            self._told = late.number
            self._say(f"note: {late.line}")
        if late is not None and limit and late.seconds >= limit:
            self._fail(late.rank, f"did not come to {late.operation} within {limit:g} s ({STALL_LIMIT})")


def start_watch(ranks, host: str) -> Watch:
    """Connect all ranks to rank 0 and start the watch of this rank.

    Parameters
    ----------
    ranks : insight.ranks.group.Ranks
        Group whose operations tell the other ranks where rank 0 listens.
    host : str
        Name of this machine.

    Raises
    ------
    InsightError
        A rank cannot connect to rank 0.
    """
    watch = Watch(ranks.rank, [host] * ranks.size)
    ranks._watch = watch  # the operations below need a watch already
    token = secrets.token_hex(16) if ranks.rank == 0 else ""
    listener = Listener() if ranks.rank == 0 else None
    port = listener.port if listener else 0
    about = ranks.objects("watch", {"host": host, "names": reachable_names(host), "port": port, "token": token})
    watch.hosts = [one["host"] for one in about]
    root = about[0]
    if listener:
        connections = listener.accept(ranks.size - 1, token)
    else:
        names = ["127.0.0.1", *root["names"]] if root["names"] == about[ranks.rank]["names"] else root["names"]
        connections = {0: connect(names, root["port"], root["token"], ranks.rank)}
    watch.start(connections)
    return watch


def _end(line: str) -> None:
    """Print an error, if there is one, and end the process at once with status 2."""
    if line:
        print(f"error: {line}", file=sys.stderr, flush=True)
    os._exit(2)
