"""A training run in a process of its own that kills itself: ``killed_run.py OPTIONS.json STEP FRACTION``.

It trains a small network with dropout (or the one that the options name). At step STEP, 0 for never, SIGKILL comes
from another thread, FRACTION of a step's time later: in the forward pass, the update, the writing of a file, wherever
the loop then is. Modules named in $KILLED_RUN_IMPORTS are imported first, to register their components.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time

from insight.nets import networks
from insight.nets.layers import ConvUnit, Style, forward_all
from insight.nets.network import Network, normalise_pixels
from insight.nets.outputs import Output
from insight.runs import journal

for module in filter(None, os.environ.get("KILLED_RUN_IMPORTS", "").split(",")):
    importlib.import_module(module)

from insight.train.loop import train  # noqa: E402  after what adds options
from insight.train.train_options import TrainOptions  # noqa: E402


@networks.register("tiny")
class Tiny(Network):
    """Two convolutions and the output E, which has dropout."""

    PRELU_FORMS = ("plain", "batchnorms", "relus")
    fastest_prelu = "batchnorms"
    default_embedding_size = 8

    def __init__(self, embedding_size=0, **common):
        super().__init__(embedding_size, **common)
        with self.name_scope():
            self.first = ConvUnit("conv_1_", 3, 8, 3, 8, 1, prelu=self.prelu)
            self.second = ConvUnit("conv_2_dw_", 8, 8, 14, groups=8, prelu=self.prelu)
            self.last = ConvUnit("conv_3_", 8, 8, act=False)
            self.output = Output("E", 8, (1, 1), self.embedding_size, Style(momentum=self.momentum))

    def hybrid_forward(self, F, x):
        x, _ = forward_all((self.first, self.second, self.last), normalise_pixels(x))
        return self.output(x)


@networks.register("tiny_residual")
class TinyResidual(Tiny):
    """With a sum of two branches of 8 channels, 14x14."""

    PRELU_FORMS = ("plain", "relus")
    fastest_prelu = "relus"

    def __init__(self, embedding_size=0, **common):
        super().__init__(embedding_size, **common)
        with self.name_scope():
            self.branch = ConvUnit("conv_res_", 8, 8, act=False)

    def hybrid_forward(self, F, x):
        x, _ = forward_all((self.first,), normalise_pixels(x))
        x, _ = forward_all((self.second, self.last), x + forward_all((self.branch,), x)[0])
        return self.output(x)


def kill_at(step: int, fraction: float) -> None:
    """Arrange for SIGKILL ``fraction`` of a step's time after the log has taken note of ``step``."""
    original, last = journal.Journal.step, [time.perf_counter()]

    def noted(self, number, *rest, **more):
        original(self, number, *rest, **more)
        now = time.perf_counter()
        if number == step:
            threading.Timer(fraction * (now - last[0]), os.kill, (os.getpid(), signal.SIGKILL)).start()
        last[0] = now

    journal.Journal.step = noted


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        wanted = TrainOptions(**json.load(file))
    if int(sys.argv[2]):
        kill_at(int(sys.argv[2]), float(sys.argv[3]))
    train(wanted)
