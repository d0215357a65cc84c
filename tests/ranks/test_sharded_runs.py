"""Runs with ``--shard-classes`` and ``--sample-rate`` on real ranks: against copies of the head, killed, re-sharded.

With divided classes, matrix products and sums over classes are made in parts, so that a gradient differs by rounding.
At a rate at which the weights hardly move, five steps add up five such gradients. At an ordinary rate training itself
makes a difference grow, so there the bound is that of the same run in one process whose initial weights were each moved
to a neighbour in float32.
"""

import numpy as np
import pytest
from small_runs import RUN, run_alone, write_plan
from small_sets import striped_face
from test_failures import lines
from test_processes import BASE, alone, assert_close, log, state

from insight._mxnet import mx

CLASSES = 1000
HEADS = {"arcface": ("4", 2), "softmax": ("0", 3), "curricular": ("curricularface", 4)}


@pytest.fixture(scope="module")
def wide_set(tmp_path_factory):
    """1,000 identities of an image each."""
    folder = tmp_path_factory.mktemp("wide")
    draw = np.random.default_rng(0)
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    for key in range(CLASSES):
        header = mx.recordio.IRHeader(0, float(key), key, 0)
        record.write_idx(key, mx.recordio.pack(header, striped_face(key, draw)))
    record.close()
    (folder / "property").write_text(f"{CLASSES},112,112\n")
    return folder


@pytest.fixture(scope="module")
def options(horovodrun, wide_set, tmp_path_factory):
    """Of runs from one checkpoint with fc7 and its bias: initial weights depend on whether classes are divided."""
    common = {**BASE, "data_dir": str(wide_set), "target": "", "devices": "cpu", "emb_size": 64, "lr": 1e-4}
    folder = tmp_path_factory.mktemp("start") / "run"
    alone(folder, {**common, "loss_type": "0", "per_batch_size": 4, "max_steps": 1})
    return {**common, "max_steps": 5, "frequent": 1, "pretrained": f"{folder / 'model'},1"}


def assert_near(here, there):
    """The difference of two arrays is at most 1e-5 of their norm, or of a hundredth of the largest one of their kind:
    gradients of biases before a batch norm are zero but for rounding.
    """
    assert here.keys() == there.keys()
    kind = {name: name.partition("/")[0] for name in here}
    norms = {name: np.linalg.norm(array) for name, array in there.items()}
    largest = {k: max(norm for name, norm in norms.items() if kind[name] == k) for k in kind.values()}
    for name, array in here.items():
        error = np.linalg.norm(array - there[name]) / max(norms[name], largest[kind[name]] / 100)
        assert error < 1e-5, (name, error)


@pytest.fixture(scope="module", params=list(HEADS))
def runs(request, horovodrun, options, tmp_path_factory):
    """(folder, ranks): five steps as ``one``, in one process, and ``many``, on ranks with divided classes; at the rate
    of a real training, ``fast_one`` and ``fast_many``; and from neighbouring weights, ``fast_nudged``, ``fast_again``.
    """
    folder, (loss_type, ranks) = tmp_path_factory.mktemp(request.param), HEADS[request.param]
    slow = {**options, "loss_type": loss_type, "per_batch_size": 8, "devices": ",".join(["cpu"] * ranks)}
    fast, record = {**slow, "lr": 0.1}, (0, "record", 0)
    run_alone(
        write_plan(folder / "one", slow),
        write_plan(folder / "fast_one", fast, events={"0": [record]}),
        write_plan(folder / "fast_nudged", fast, events={"0": [record, (0, "nudge", 1)]}),
        write_plan(folder / "fast_again", fast, events={"0": [record, (0, "nudge", 2)]}),
    )
    divided, everyone = {"shard_classes": True, "devices": "cpu"}, {str(rank): [record] for rank in range(ranks)}
    done = horovodrun(
        ranks,
        RUN,
        write_plan(folder / "many", {**slow, **divided}),
        write_plan(folder / "fast_many", {**fast, **divided}, events=everyone),
    )
    assert done.returncode == 0, done.stdout
    return folder, ranks


def test_divided_classes_are_as_copies_in_one_process(runs):
    """Losses, weights and momenta, which are sums of gradients, after 5 steps."""
    folder, _ = runs
    assert_near(state(folder / "many"), state(folder / "one"))
    here, there = ([row["loss"] for row in log(folder / which, "step")] for which in ("many", "one"))
    assert len(here) == 5 and here == pytest.approx(there, rel=1e-5)
    files = [mx.nd.load(str(folder / which / "model-0001.params")) for which in ("many", "one")]
    assert_near(*({f"arg/{name}": array.asnumpy() for name, array in arrays.items()} for arrays in files))


def gradients(folder, step, ranks=1):
    """Of all parameters, as :mod:`rank_run` recorded them."""
    parts = []
    for rank in range(ranks):
        with np.load(folder / f"model-gradients-{rank}-{step}.npz") as arrays:
            parts.append(dict(arrays))
    divided = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name.startswith("fc7")}
    return {**parts[0], **divided}


def distance(here, there, kind=""):
    """Of the arrays of a kind, as one vector: the norm of the difference, as a share of the norm."""
    names = [name for name in there if name.startswith(kind) and "moving" not in name]
    squares = [
        (float(np.square(here[name] - there[name].astype(float)).sum()), float(np.square(there[name]).sum()))
        for name in names
    ]
    difference, whole = np.sqrt(np.sum(squares, axis=0))
    return difference / whole


def test_at_an_ordinary_rate_they_differ_as_little_as_neighbouring_weights(runs):
    folder, ranks = runs
    one = folder / "fast_one"
    assert distance(gradients(folder / "fast_many", 0, ranks), gradients(one, 0)) < 1e-6  # 3 to 6e-7
    for kind in ("parameter/", "momentum/"):
        natural = max(distance(state(folder / which), state(one), kind) for which in ("fast_nudged", "fast_again"))
        assert 5e-8 < natural and distance(state(folder / "fast_many"), state(one), kind) < 3 * natural
    here, there = ([row["loss"] for row in log(folder / which, "step")] for which in ("fast_many", "fast_one"))
    assert here == pytest.approx(there, rel=1e-5)


def test_a_killed_run_goes_on_to_the_same_bits_and_on_other_ranks_too(train_ranks, wide_set, tmp_path):
    options = {**BASE, "data_dir": str(wide_set), "target": "", "loss_type": "4", "devices": "cpu"}
    options.update(shard_classes=True, sample_rate=0.4, per_batch_size=6, max_steps=8, save_every=3, verbose=100)
    done = train_ranks(2, tmp_path / "whole", options)
    assert done.returncode == 0, done.stdout
    done = train_ranks(2, tmp_path / "killed", options, events={"1": [[4, "kill", 0]]})
    assert done.returncode != 0
    done = train_ranks(2, tmp_path / "killed", options)
    assert done.returncode == 0 and "resumed at step 3 of 8" in done.stdout, done.stdout
    assert_close(state(tmp_path / "killed"), state(tmp_path / "whole"), 0)
    whole = state(tmp_path / "whole")
    assert whole["parameter/fc7_weight@0"].shape == whole["momentum/fc7_weight"].shape == (CLASSES, 8)
    for size, steps in ((3, 10), (1, 12)):
        done = train_ranks(size, tmp_path / "whole", {**options, "per_batch_size": 12 // size, "max_steps": steps})
        assert done.returncode == 0 and f"resumed at step {steps - 2} of {steps}" in done.stdout, done.stdout
    assert np.isfinite(state(tmp_path / "whole")["parameter/fc7_weight@0"]).all()


def test_ranks_may_draw_no_identity(train_ranks, wide_set, tmp_path):
    """Where the images of a step have as many identities as are drawn, and all are of one rank."""
    for name in ("train.rec", "train.idx"):
        (tmp_path / name).symlink_to(wide_set / name)
    (tmp_path / "property").write_text(f"{4 * CLASSES},112,112\n")
    options = {**BASE, "data_dir": str(tmp_path), "target": "", "loss_type": "4", "devices": "cpu", "max_steps": 3}
    options.update(shard_classes=True, sample_rate=32 * 4 / (4 * CLASSES), per_batch_size=40, verbose=100)
    done = train_ranks(4, tmp_path / "run", options)
    assert done.returncode == 0, done.stdout
    moved = state(tmp_path / "run")["momentum/fc7_weight"].any(axis=1)
    assert moved.shape == (4 * CLASSES,) and moved[:CLASSES].sum() > 400 and not moved[CLASSES:].any()


def test_a_state_goes_from_1_process_over_2_and_3_to_1_unchanged(train_ranks, wide_set, tmp_path):
    options = {**BASE, "data_dir": str(wide_set), "target": "", "loss_type": "0", "devices": "cpu", "max_steps": 8}
    options.update(shard_classes=True, per_batch_size=12)
    done = train_ranks(1, tmp_path / "1", options, events={"0": [[4, "stop", 0]]})
    assert "stopped at step 5 of 8" in done.stdout, done.stdout
    first, here = state(tmp_path / "1"), tmp_path / "1"
    assert first["momentum/fc7_weight"].any() and first["momentum/fc7_bias"].any()
    for number, size in enumerate((2, 3, 1)):
        there = tmp_path / f"{number}-{size}"
        there.mkdir()
        again = {**options, "per_batch_size": 12 // size}
        done = train_ranks(size, here, again, again=str(there / "model"))
        assert done.returncode == 0, done.stdout
        here, arrays = there, state(there)
        for name, array in first.items():  # each rank has running statistics of its own
            assert array.tobytes() == arrays[name].tobytes(), name
    assert arrays.keys() == first.keys()


def test_a_full_disk_on_one_rank_ends_all_with_a_line(train_ranks, wide_set, tmp_path):
    options = {**BASE, "data_dir": str(wide_set), "target": "", "loss_type": "4", "devices": "cpu", "per_batch_size": 6}
    done = train_ranks(2, tmp_path, {**options, "shard_classes": True}, events={"1": [[1, "full", 0]]})
    assert done.returncode != 0
    (other,), (own,) = lines(done.stdout, 0), lines(done.stdout, 1)
    assert other.startswith("rank 1: ") and "File too large" in other and "model-resume.npz" in other
    assert "File too large" in own and "model-resume.npz" in own
    assert not any("Traceback" in line for line in done.stdout.splitlines() if line.startswith("["))  # horovodrun's own
