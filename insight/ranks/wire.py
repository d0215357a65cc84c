"""JSON lines between ranks over TCP: rank 0 listens, the others connect with a token that they got by Horovod."""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import threading
import time
from typing import Any, Dict, Iterator, List, Optional

from ..errors import InsightError

WITHIN = 30.0  # seconds for all ranks to connect


class Connection:
    """One end of a connection. Sending never raises; the receiving thread detects that the other end is gone."""

    def __init__(self, end: socket.socket):
        self._end = end
        self._lock = threading.Lock()
        with contextlib.suppress(OSError):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: Dict[str, Any]) -> None:
        """Send a message, if the other end is still there."""
        with self._lock, contextlib.suppress(OSError):
            self._end.sendall(json.dumps(message).encode() + b"\n")

    def messages(self, patience: float) -> Iterator[Optional[Dict[str, Any]]]:
        """Yield the messages of the other end until it closes, and None after ``patience`` seconds without one."""
        self._end.settimeout(patience)
        rest = b""
        while True:
            try:
                data = self._end.recv(1 << 16)
            except socket.timeout:
                yield None
                continue
            except OSError:
                return
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from map(json.loads, lines)


class Listener:
    """Listening socket of rank 0, on a free port."""

    def __init__(self) -> None:
        self._door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._door.bind(("", 0))
        self._door.listen(128)
        self.port: int = self._door.getsockname()[1]

    def accept(self, count: int, token: str) -> Dict[int, Connection]:
        """Accept the connections of ``count`` other ranks, and close the socket; returns rank to connection.

        Raises
        ------
        InsightError
            Not all ranks have connected within 30 seconds.
        """
        connections: Dict[int, Connection] = {}
        end = time.monotonic() + WITHIN
        try:
            while len(connections) < count:
                self._door.settimeout(max(0.001, end - time.monotonic()))
                other, _ = self._door.accept()
                other.settimeout(5.0)
                rank = _rank_of(other, token)
                if rank is None:
                    other.close()  # not a rank of this run
                else:
                    connections[rank] = Connection(other)
        except socket.timeout:
            raise InsightError(
                f"rank 0 listens on port {self.port}, and {count - len(connections)} of the {count} other ranks have "
                f"not connected within {WITHIN:.0f} s; allow connections between the machines"
            ) from None
        finally:
            self._door.close()
        return connections


def connect(names: List[str], port: int, token: str, rank: int) -> Connection:
    """Connect to rank 0 by the first of its names or addresses that works.

    Raises
    ------
    InsightError
        None of them works.
    """
    for name in names:
        with contextlib.suppress(OSError):
            end = socket.create_connection((name, port), WITHIN / 3)
            end.sendall(json.dumps({"rank": rank, "token": token}).encode() + b"\n")
            return Connection(end)
    raise InsightError(
        f"rank {rank} cannot connect to rank 0 at {', '.join(names)}, port {port}; allow connections between the "
        "machines"
    )


def reachable_names(host: str) -> List[str]:
    """Names and IPv4 addresses under which other machines may reach this one."""
    names = [host, socket.gethostname()]
    with contextlib.suppress(OSError):
        names += [entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return list(dict.fromkeys(name for name in names if not name.startswith("127.")))


def _rank_of(other: socket.socket, token: str) -> Optional[int]:
    """Rank of the process that connected, from its first line; None if it does not send the token."""
    line = b""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        while not line.endswith(b"\n") and len(line) < 1000:
            byte = other.recv(1)
            if not byte:
                return None
            line += byte
        message = json.loads(line)
        return int(message["rank"]) if hmac.compare_digest(str(message["token"]), token) else None
    return None
