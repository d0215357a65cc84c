"""Scalars for TensorBoard: one event file a run, in ``PREFIX-tensorboard/``.

Events are written and flushed one by one, by the writer underneath tensorboardX's ``SummaryWriter``: the latter passes
them to a thread through a queue, and a killed run would lose what is in the queue.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Mapping

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from ..files import atomic

TAGS = {"acc_free": "acc_nomargin"}  # other figures are their own tags


class EventFile:
    """Scalars over steps.

    Parameters
    ----------
    prefix : str
        Of the checkpoints.
    first_step : int
        TensorBoard hides what earlier event files of the folder hold from this step on: a resumed run writes
        it again, and a new run under the same prefix replaces it. The files are kept.
    """

    def __init__(self, prefix: str, first_step: int):
        folder = atomic.make_folder(Path(f"{prefix}-tensorboard"))
        # TensorBoard reads files by name; a name begins with the second, and two runs may start in the same one.
        self._writer = EventsWriter(str(folder / "events"), f".{first_step:09d}.{os.getpid()}")
        begin = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=first_step, session_log=begin))
        self._writer.flush()

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the values of a step, under :data:`TAGS` or their names; skip those that are not finite."""
        finite = {TAGS.get(name, name): x for name, x in scalars.items() if math.isfinite(x)}
        values = [Summary.Value(tag=tag, simple_value=x) for tag, x in finite.items()]
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
