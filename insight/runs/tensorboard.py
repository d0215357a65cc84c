"""Scalars for TensorBoard, with one event file per run in ``PREFIX-tensorboard/``.

Events are written by tensorboardX's low-level ``EventsWriter`` and flushed one by one. ``SummaryWriter`` passes events
to a thread through a queue, whose content is lost if the run is killed.
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

TAGS = {"acc_free": "acc_nomargin"}  # tags that differ from the names of the figures


class EventFile:
    """An event file with scalars by step.

    Parameters
    ----------
    prefix : str
        Prefix of the checkpoints.
    first_step : int
        TensorBoard hides values of earlier event files in the folder from this step on, because a resumed run writes
        them again, and a new run under the same prefix replaces them. The earlier files are not deleted.
    """

    def __init__(self, prefix: str, first_step: int):
        folder = atomic.make_folder(Path(f"{prefix}-tensorboard"))
        # TensorBoard reads files in order of names, which begin with the time in seconds. The suffix makes names of
        # runs that start in the same second distinct.
        self._writer = EventsWriter(str(folder / "events"), f".{first_step:09d}.{os.getpid()}")
        begin = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=first_step, session_log=begin))
        self._writer.flush()

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the values of a step, tagged by :data:`TAGS` or their names. Values that are not finite are skipped."""
        finite = {TAGS.get(name, name): x for name, x in scalars.items() if math.isfinite(x)}
        values = [Summary.Value(tag=tag, simple_value=x) for tag, x in finite.items()]
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
