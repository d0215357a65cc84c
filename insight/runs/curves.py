"""TensorBoard curves: one event file a run, in ``PREFIX-tensorboard/``.

Events are written and flushed as they come, by the writer underneath tensorboardX's ``SummaryWriter``: the latter
hands them to a thread through a queue, and a killed run would lose what stands there.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from ..files import atomic


class Curves:
    """Scalars over steps.

    Parameters
    ----------
    prefix : str
        Of the checkpoints.
    first_step : int
        TensorBoard hides what earlier event files of the folder hold from this step on: a resumed run writes
        it again, and a new run under the same prefix replaces it. The files stay.
    """

    def __init__(self, prefix: str, first_step: int):
        folder = atomic.make_folder(Path(f"{prefix}-tensorboard"))
        # Files are read in the order of their names, which hold the second; two runs may begin in the same one.
        self._writer = EventsWriter(str(folder / "events"), f".{first_step:09d}.{os.getpid()}")
        begin = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=first_step, session_log=begin))
        self._writer.flush()

    def add(self, step: int, **scalars: float) -> None:
        """Write the value of each tag at a step; those that are not finite are left out."""
        values = [Summary.Value(tag=tag, simple_value=x) for tag, x in scalars.items() if math.isfinite(x)]
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
