"""One rank of a training run, started by horovodrun: ``rank_run.py PLAN.json``.

PLAN has ``options`` of the run; ``of_rank``, more options by rank; and by rank, what is to happen in the step that
``at`` says: ``kill`` (SIGKILL comes), ``stop`` (SIGTERM comes), ``sleep`` (for so many seconds), ``full`` (files cannot
grow any more).
"""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "train"))
import killed_run  # noqa: F401  registers the network "tiny"

from insight.cli._failures import fail
from insight.train.learner import Learner
from insight.train.loop import train
from insight.train.train_options import TrainOptions


def arrange(at: int, what: str, value: float) -> None:
    """Let something happen before the gradients of a step are computed."""
    learn = Learner.learn

    def watched(self, batch, step, frozen):
        if step == at and what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if step == at and what == "stop":
            os.kill(os.getpid(), signal.SIGTERM)
        if step == at and what == "sleep":
            time.sleep(value)
        if step == at and what == "full":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        return learn(self, batch, step, frozen)

    Learner.learn = watched


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rank = os.environ.get("HOROVOD_RANK", "0")
    for event in plan.get("events", {}).get(rank, []):
        arrange(*event)
    try:
        train(TrainOptions(**{**plan["options"], **plan.get("of_rank", {}).get(rank, {})}))
    except BaseException as error:
        sys.exit(fail(error, sys.argv))
