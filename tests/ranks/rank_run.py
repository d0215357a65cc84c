"""One rank of training runs, started by horovodrun or alone: ``rank_run.py PLAN.json …``, one run after the other.

The runs share one group, as starting it takes longer than they do. A plan has ``options``; ``of_rank``, more options
by rank; ``stalled``, the seconds after which ranks that wait say so; ``again``, a prefix: the run's state is only read,
by these ranks, and written there; and ``events`` by rank, (STEP, WHAT, VALUE), in the step before gradients are
computed:

kill     SIGKILL comes
stop     SIGTERM comes
sleep    for VALUE seconds
full     files cannot grow beyond VALUE bytes
pairs    in this and all later steps, the gradients of devices 0 and 1 are summed first, those of 2 and 3, and so on
nudge    every weight becomes one of its neighbours in float32, the upper or the lower one at random, of seed VALUE
nan      in this and all later steps, the gradient of the network's first array is not finite
record   in this and all later steps, gradients, summed over devices and ranks, go to PREFIX-gradients-RANK-STEP.npz
"""

import dataclasses
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "train"))
import killed_run  # noqa: F401  registers the network "tiny"
import numpy as np

from insight._mxnet import mx
from insight.cli._failures import fail
from insight.ranks import connection, watch
from insight.train import learner, resume
from insight.train.loop import train
from insight.train.start import prepare
from insight.train.train_options import TrainOptions


def fill(size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))


HAPPENS = {
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "sleep": time.sleep,
    "full": fill,
}


class Events:
    """What happens in the steps of a run."""

    def __init__(self, events, gradients):
        self.events, self.gradients = events, gradients
        self.step = 0

    def learn(self, learn):
        def watched(itself, batch, step, frozen):
            self.step = step
            for at, what, value in self.events:
                if at == step and what in HAPPENS:
                    HAPPENS[what](value)
                elif at == step and what == "nudge":
                    nudge(itself.model.params, value)
                elif at == step and what == "nan":
                    itself.model.backward = poisoned(itself.model)
            return learn(itself, batch, step, frozen)

        return watched

    def update(self, update):
        def watched(trainer, *options):
            if any(what == "pairs" and at <= self.step for at, what, _ in self.events):
                for parameter in trainer._params:
                    first = iter(parameter.list_grad())
                    for even, odd in zip(first, first):
                        even += odd.as_in_context(even.context)
                        odd[:] = 0
            norm = update(trainer, *options)
            if any(what == "record" and at <= self.step for at, what, _ in self.events):
                arrays = {p.name: p.list_grad()[0].asnumpy() for p in trainer._params}
                np.savez(f"{self.gradients}-{self.step}.npz", **arrays)
            return norm

        return watched


def poisoned(model):
    """The model's backward pass, which leaves a gradient that is not finite."""
    backward = model.backward

    def poisonous(*arguments):
        figures = backward(*arguments)
        learned = [p for p in model.network.kept().values() if p.grad_req != "null"]
        learned[0].list_grad()[0][:] = np.nan
        return figures

    return poisonous


def nudge(params, seed):
    """Move every learned number to the next one in float32, above or below it."""
    draw = np.random.default_rng(int(seed))
    for name in sorted(params):
        if params[name].grad_req != "null":
            value = params[name].list_data()[0].asnumpy()
            towards = np.where(draw.random(value.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
            params[name].set_data(mx.nd.array(np.nextafter(value, towards)))


def save_again(options, prefix):
    with connection.joined_ranks() as ranks:
        setup = prepare(TrainOptions(**options), ranks)
        made = learner.Learner(setup)
        made.read(setup.state)
        now = {"devices": made.model.statistics.count, "options": dataclasses.asdict(setup.options)}
        resume.save(
            prefix, {**setup.state.meta, **now}, {name: equal[0] for name, equal in made.arrays().items()}, ranks
        )


def run(plan, rank):
    options = {**plan["options"], **plan.get("of_rank", {}).get(rank, {})}
    events = Events(plan.get("events", {}).get(rank, []), f"{options['prefix']}-gradients-{rank}")
    watch.STALLED = plan.get("stalled", watch.STALLED)
    if plan.get("again"):
        save_again(options, plan["again"])
        return
    with mock.patch.object(learner.Learner, "learn", events.learn(learner.Learner.learn)):
        with mock.patch.object(learner, "update", events.update(learner.update)):
            train(TrainOptions(**options))


if __name__ == "__main__":
    try:
        ranks = connection.connect_ranks()
        close, ranks.close = ranks.close, lambda: None
        with mock.patch.object(connection, "connect_ranks", return_value=ranks):
            for path in sys.argv[1:]:
                run(json.loads(Path(path).read_text(encoding="utf-8")), str(ranks.rank))
        close()
    except BaseException as error:
        sys.exit(fail(error, sys.argv))
