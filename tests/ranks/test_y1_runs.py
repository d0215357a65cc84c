"""Five steps of MobileFaceNet on two and four ranks, against one process with as many devices: minutes of all cores.

Other tests have smaller networks, and two steps of this one.
"""

import os

import pytest
from small_runs import BASE, RUN, assert_close, log, run_alone, state, write_plan

HEADS = {"arcface": "4", "softmax": "0", "curricular": "curricularface"}
Y1 = {
    **{"network": "y1", "emb_size": 128, "target": "", "per_batch_size": 2, "lr": 0.1, "wd": 5e-4},
    **{"max_steps": 5, "save_every": 5, "frequent": 1},
}
pytestmark = pytest.mark.skipif(
    os.environ.get("INSIGHT_FULL_CONTRACT") != "1",
    reason="five steps of y1 on ranks: INSIGHT_FULL_CONTRACT=1 runs them",
)


@pytest.fixture(scope="module", params=[2, 4])
def runs(request, horovodrun, striped_set, tmp_path_factory):
    """The folder of the runs ``one/HEAD`` and ``many/HEAD``."""
    folder, size = tmp_path_factory.mktemp("y1"), request.param
    common = {**BASE, **Y1, "data_dir": str(striped_set)}

    def plans(where, devices):
        named = HEADS.items()
        return [write_plan(folder / where / n, {**common, "loss_type": t, "devices": devices}) for n, t in named]

    run_alone(*plans("one", ",".join(["cpu"] * size)))
    done = horovodrun(size, RUN, *plans("many", "cpu"))
    assert done.returncode == 0, done.stdout
    return folder


@pytest.mark.parametrize("head", HEADS)
def test_copied_heads_are_equal_to_the_bit(runs, head):
    """Losses, weights, and momenta, which are sums of the gradients."""
    one, many = runs / "one" / head, runs / "many" / head
    assert len(log(one, "step")) == 5 and log(many, "step") == log(one, "step")
    assert sum(name.startswith("momentum/") for name in state(one)) > 150
    assert_close(state(many), state(one), 0)
