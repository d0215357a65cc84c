"""Two and four real processes compute what one does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from insight._mxnet import mx

HERE = Path(__file__).parent
BASE = {
    "network": "tiny",
    "emb_size": 8,
    "max_steps": 6,
    "target": "val",
    "verbose": 4,
    "save_every": 3,
    "frequent": 2,
    "ckpt": 2,
    "lr": 0.02,
    "color": 1,
    "num_workers": 1,
    "resume": True,
}
MARGINS = {"softmax": {"loss_type": "0"}, "arcface": {"loss_type": "4"}, "curricular": {"loss_type": "curricularface"}}


def alone(folder, options):
    """The same run as one process, which is one of the fixtures' plans."""
    folder.mkdir()
    plan = {"options": {**options, "prefix": str(folder / "model")}}
    (folder / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, str(HERE / "rank_run.py"), str(folder / "plan.json")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)


def state(folder):
    with np.load(folder / "model-resume.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name != "meta"}


def log(folder, *kinds):
    """The log's rows of these kinds, without what a machine measures."""
    rows = [json.loads(line) for line in (folder / "model-log.jsonl").read_text().splitlines()]
    own = ("time", "speed", "wait", "cpu", "path")
    return [{name: value for name, value in row.items() if name not in own} for row in rows if row["kind"] in kinds]


def assert_close(here, there, tolerance):
    """All arrays, to a share of each one's largest number."""
    assert here.keys() == there.keys()
    for name, array in here.items():
        most = np.abs(there[name]).max() or 1.0
        np.testing.assert_allclose(array, there[name], rtol=0, atol=tolerance * most, err_msg=name)


@pytest.mark.parametrize("size", [2, 4])
def test_every_operation(horovodrun, size):
    done = horovodrun(size, HERE / "exchange_rank.py")
    assert done.returncode == 0, done.stdout
    assert f"{size} ranks agree" in done.stdout


@pytest.mark.parametrize("name", list(MARGINS))
def test_two_ranks_are_one_process_with_two_devices(train_ranks, striped_set, tmp_path, name):
    """Images, dropout and local batch norm are the same, and two numbers are added up: every bit is the same."""
    options = {**BASE, **MARGINS[name], "data_dir": str(striped_set), "per_batch_size": 4, "ema": 0.9}
    alone(tmp_path / "one", {**options, "devices": "cpu,cpu"})
    done = train_ranks(2, tmp_path / "two", {**options, "devices": "cpu"})
    assert done.returncode == 0, done.stdout
    one, two = state(tmp_path / "one"), state(tmp_path / "two")
    assert "parameter/conv_1_batchnorm_moving_mean@1" in one
    assert_close(two, one, 0)
    kinds = ("step", "verification", "saved")
    assert len(log(tmp_path / "two", "step")) == 3
    assert log(tmp_path / "two", *kinds) == log(tmp_path / "one", *kinds)
    for number in (1, 2):
        assert_close(
            *(
                {k: v.asnumpy() for k, v in mx.nd.load(str(tmp_path / f / f"model-000{number}.params")).items()}
                for f in ("two", "one")
            ),
            1e-6,
        )


def test_four_ranks_resume_on_two(train_ranks, striped_set, tmp_path):
    """Sums of four numbers round differently, which a small rate keeps small; a step still takes the same images."""
    options = {**BASE, "loss_type": "4", "data_dir": str(striped_set), "per_batch_size": 3, "target": "", "lr": 1e-3}
    alone(tmp_path / "one", {**options, "devices": "cpu,cpu,cpu,cpu"})
    done = train_ranks(4, tmp_path / "four", {**options, "devices": "cpu", "max_steps": 4})
    assert done.returncode == 0, done.stdout
    done = train_ranks(2, tmp_path / "four", {**options, "devices": "cpu,cpu"})
    assert done.returncode == 0, done.stdout
    assert "resumed at step 4 of 6" in done.stdout
    assert_close(state(tmp_path / "four"), state(tmp_path / "one"), 1e-5)
    done = train_ranks(3, tmp_path / "four", {**options, "devices": "cpu", "max_steps": 8})
    assert done.returncode != 0
    assert "--per-batch-size 3: on 3 devices a step takes 9 images" in done.stdout
    assert "it took 12 on 4; give --per-batch-size 4" in done.stdout


def test_triplets_are_mined_over_all_ranks(train_ranks, striped_set, tmp_path):
    """Of a batch that no rank has as a whole."""
    options = {
        **{**BASE, "data_dir": str(striped_set), "per_batch_size": 6, "max_fall": 0.0},
        **{"loss_type": "triplet", "images_per_identity": 3, "people_per_batch": 2, "negatives": "violating"},
    }
    alone(tmp_path / "one", {**options, "devices": "cpu,cpu"})
    done = train_ranks(2, tmp_path / "two", {**options, "devices": "cpu"})
    assert done.returncode == 0, done.stdout
    assert_close(state(tmp_path / "two"), state(tmp_path / "one"), 0)
    steps, others = (log(tmp_path / folder, "step", "histogram") for folder in ("two", "one"))
    assert steps == others
    assert any(row.get("figures", row).get("triplets", 0) for row in steps)


def test_a_bag_is_embedded_in_shares(train_ranks, striped_set, tmp_path):
    options = {
        **{**BASE, "data_dir": str(striped_set), "per_batch_size": 3, "max_fall": 0.0, "max_steps": 4, "target": ""},
        **{
            "loss_type": "triplet_bag",
            "triplet_bag_size": 18,
            "images_per_identity": 6,
            "triplet_alpha": 1.0,
            "lr": 1e-3,
        },
    }
    alone(tmp_path / "one", {**options, "devices": "cpu,cpu"})
    done = train_ranks(2, tmp_path / "two", {**options, "devices": "cpu"})
    assert done.returncode == 0, done.stdout
    assert_close(state(tmp_path / "two"), state(tmp_path / "one"), 1e-5)
