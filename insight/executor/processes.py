"""Forked worker processes, each with one pipe for tasks and one for results.

``concurrent.futures.ProcessPoolExecutor`` is more general, but importing it and starting its threads and processes
takes as long as packing some thousand images. Here the first process forks the others after it has imported what all
need. A process exits when the other end of one of its pipes is closed, so none is left if the parent is killed.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import struct
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, List, NoReturn, Optional, Sequence, Tuple

from ..errors import InsightError
from .pool import Pool, Ticket, bind_wanted, pickled_answer

_DEPTH = 2  # maximum number of tasks at a process: one that runs, and one to continue with
_HEAD = struct.Struct("<Q")  # size of a result's pickle in bytes
_DEFECT = 70  # exit status of a process that did not end normally

Pipes = List[Tuple[int, int]]


class Processes(Pool):
    """Forked worker processes; see :class:`insight.executor.Workers`."""

    def __init__(self, task: Callable[[Any], Any], count: int, prepare: Callable[[], None], paths: Sequence[str] = ()):
        self.count = count
        tasks, results = ([os.pipe() for _ in range(count)] for _ in range(2))
        self._first = os.fork()
        if not self._first:
            _live(task, prepare, tasks, results)
        _lead_group(self._first)
        for (reads_task, _), (_, writes_result) in zip(tasks, results):
            os.close(reads_task)
            os.close(writes_result)
        self._links = [_Link(tasks[k][1], results[k][0]) for k in range(count)]
        self._readers = {link.results: link for link in self._links}
        self._writers: Dict[int, _Link] = {}  # links with unsent bytes, because their pipe was full
        self._poll = select.poll()
        for descriptor in self._readers:
            self._poll.register(descriptor, select.POLLIN)
        self._backlog: Deque[Tuple[Ticket, bytes]] = deque()

    def submit(self, item: Any) -> Ticket:
        ticket = Ticket()
        self._backlog.append((ticket, pickle.dumps(item, pickle.HIGHEST_PROTOCOL)))
        return ticket

    def take_in(self) -> None:
        """Send tasks to processes, and read results that are ready."""
        self._hand_out()
        self._exchange(0)

    def wait(self, ticket: Ticket) -> None:
        self._hand_out()
        while not ticket.done:
            self._exchange(None)

    def close(self, at_once: bool) -> None:
        if not self._first:
            return
        if at_once:
            os.killpg(self._first, signal.SIGKILL)
        for link in self._links:
            os.close(link.tasks)  # close all before draining any, as the first process waits for the others to end
        for link in self._links:
            link.drain()
            os.close(link.results)
        os.waitpid(self._first, 0)
        self._first = 0

    def _exchange(self, milliseconds: Optional[int]) -> None:
        for descriptor, _ in self._poll.poll(milliseconds):
            if descriptor in self._readers:
                self._readers[descriptor].receive()
            elif self._writers[descriptor].flush():
                self._poll.unregister(descriptor)
                del self._writers[descriptor]
        self._hand_out()

    def _hand_out(self) -> None:
        while self._backlog:
            link = min(self._links, key=_Link.load)
            if link.load() >= _DEPTH:
                return
            ticket, data = self._backlog.popleft()
            if not link.send(ticket, data) and link.tasks not in self._writers:
                self._writers[link.tasks] = link
                self._poll.register(link.tasks, select.POLLOUT)


class _Link:
    """The parent's ends of the two pipes of a process."""

    def __init__(self, tasks: int, results: int):
        self.tasks = tasks
        self.results = results
        self._tickets: Deque[Ticket] = deque()
        self._unsent = b""
        self._rooms = self._results()
        self._room = next(self._rooms)
        os.set_blocking(tasks, False)  # a blocking write would deadlock with a process that is writing a result

    def load(self) -> int:
        """Return the number of tasks at the process."""
        return len(self._tickets)

    def send(self, ticket: Ticket, data: bytes) -> bool:
        """Send a task; return whether all of its bytes were written."""
        self._tickets.append(ticket)
        self._unsent += data
        return self.flush()

    def flush(self) -> bool:
        """Write unsent bytes; return whether all were written."""
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self.tasks, self._unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            raise _died() from None
        return not self._unsent

    def receive(self) -> None:
        """Read available bytes, and settle the ticket of a result that is complete."""
        count = os.readv(self.results, [self._room])
        if not count:
            raise _died()
        self._room = self._room[count:]
        if not self._room:
            self._room = next(self._rooms)

    def drain(self) -> None:
        """Read and discard until the process has closed its end of the pipe."""
        while os.read(self.results, 1 << 16):
            pass

    def _results(self) -> Iterator[memoryview]:
        """Settle results in an endless loop; yield each buffer that must be filled before the next step."""
        while True:
            head = bytearray(_HEAD.size)
            yield memoryview(head)
            body = bytearray(_HEAD.unpack(head)[0])
            yield memoryview(body)
            self._tickets.popleft().settle_pickled(body)


def _died() -> InsightError:
    return InsightError(
        "a worker process was killed; the machine may be short of memory: run again with fewer --num-workers"
    )


def _lead_group(process: int) -> None:
    """Make a process the leader of a new process group, so that it can be killed together with its children."""
    try:
        os.setpgid(process, 0)
    except ProcessLookupError:  # it has ended already
        pass


def _live(task: Callable, prepare: Callable, tasks: Pipes, results: Pipes) -> NoReturn:
    """Run the first process, and the processes that it forks, until they exit."""
    status = _DEFECT
    try:
        _lead_group(0)  # the parent does the same, since either may come first
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and stops its workers
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for (_, writes_task), (reads_result, _) in zip(tasks, results):
            os.close(writes_task)
            os.close(reads_result)
        problem: Optional[BaseException] = None
        try:
            prepare()
        except BaseException as error:  # every task raises it
            problem = error
        number, others = 0, []
        for k in range(1, len(tasks)):
            child = os.fork()
            if not child:
                number, others = k, []
                break
            others.append(child)
        for k in range(len(tasks)):
            if k != number:
                os.close(tasks[k][0])
                os.close(results[k][1])
        _serve(task, problem, tasks[number][0], results[number][1])
        for child in others:
            os.waitpid(child, 0)
        status = 0
    finally:
        os._exit(status)  # do not run the parent's exit handlers or flush its buffers


def _serve(task: Callable, problem: Optional[BaseException], tasks: int, results: int) -> None:
    """Run tasks until the parent closes a pipe."""
    parent = os.getppid()
    bind_wanted(lambda: os.getppid() == parent)

    def work(item: Any) -> Any:
        if problem is not None:
            raise problem
        return task(item)

    with os.fdopen(tasks, "rb") as source:
        while True:
            try:
                item = pickle.load(source)
            except EOFError:
                return
            answer = pickled_answer(work, item)
            left = memoryview(_HEAD.pack(len(answer)) + answer)
            try:
                while left:
                    left = left[os.write(results, left) :]
            except BrokenPipeError:
                return
