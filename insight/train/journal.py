"""What a run says: InsightFace's lines for people and their scripts, and JSONL for programs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from ..errors import InsightError

LR_LINE_EVERY = 1000


class Journal:
    """Log lines on the terminal, and ``PREFIX-log.jsonl`` beside the checkpoints.

    The JSONL is appended to: a ``start`` object opens each run. Kinds of objects: ``start``,
    ``step``, ``verification``, ``saved``.
    """

    def __init__(self, prefix: str, batch_size: int, batches_per_epoch: int, frequent: int):
        self.path = Path(f"{prefix}-log.jsonl")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "a", encoding="utf-8")
        self._batch_size = batch_size
        self._batches = batches_per_epoch
        self._frequent = frequent
        self._pending: list = []
        self._mark = time.perf_counter()
        self._waited = 0.0

    def close(self) -> None:
        self._file.close()

    def write(self, kind: str, **values) -> None:
        """Append one JSON object."""
        self._file.write(json.dumps({"kind": kind, "time": round(time.time(), 3), **values}) + "\n")
        self._file.flush()

    def say(self, line: str) -> None:
        """A line for people, on stdout, at once."""
        print(line, flush=True)

    def step(self, step: int, result, lr: float, waited: float) -> None:
        """Take note of a finished step (1-based); every ``frequent`` steps, log their mean.

        Raises
        ------
        InsightError
            The loss is not finite any more.
        """
        self._pending.append(result)
        epoch, batch = divmod(step - 1, self._batches)
        if step % LR_LINE_EVERY == 0:
            self.say(f"lr-batch-epoch: {lr:g} {batch} {epoch}")
        if step % self._frequent:
            return
        loss, acc, acc_free = (float(np.mean([r[i].asnumpy().mean() for r in self._pending])) for i in range(3))
        now = time.perf_counter()
        seconds = now - self._mark
        speed = len(self._pending) * self._batch_size / seconds
        wait = (waited - self._waited) / seconds
        self._pending, self._mark, self._waited = [], now, waited
        print(
            f"INFO:root:Epoch[{epoch}] Batch [{batch + 1}]\tSpeed: {speed:.2f} samples/sec\tacc={acc:.6f}"
            f"\tloss={loss:.4f}\tacc-nomargin={acc_free:.6f}\twait={wait:.1%}",
            file=sys.stderr,
            flush=True,
        )
        self.write("step", step=step, epoch=epoch, lr=lr, loss=loss, acc=acc, acc_free=acc_free, speed=speed, wait=wait)
        if not np.isfinite(loss):
            raise InsightError(
                f"step {step}: the loss is {loss}; start again from the last checkpoint with a lower --lr "
                "(for margins, from a softmax checkpoint by --pretrained)"
            )

    def restart_clock(self) -> None:
        """After a pause that is not training (a verification), so that speeds stay honest."""
        self._mark = time.perf_counter()
