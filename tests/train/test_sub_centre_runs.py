"""Runs with several centres an identity: from one centre and back, the checkpoint's tools, and the cleaning by it."""

import shutil

import numpy as np
from written_files import rows

from insight import checkpoint
from insight.cli import run_command
from insight.objectives.fc7 import stated_centres
from insight.train.loop import train
from insight.train.train_options import TrainOptions


def run(set_dir, prefix, **more):
    base = {"network": "y1", "emb_size": 16, "per_batch_size": 8, "max_steps": 1, "target": "", "lr": 1e-6}
    train(TrainOptions(data_dir=str(set_dir), prefix=str(prefix), ckpt=2, loss_type="arcface", **{**base, **more}))
    return f"{prefix},1"


def weight(spec):
    prefix, epoch = checkpoint.parse_spec(spec)
    return checkpoint.load(prefix, epoch).arg_params["fc7_weight"].asnumpy()


def test_one_centre_then_three_then_one_and_what_reads_them(set_dir, tmp_path, capfd):
    def command(name, *argv):
        status = run_command(name, [str(part) for part in argv])
        return (status, *capfd.readouterr())

    one = run(set_dir, tmp_path / "one/model")
    assert stated_centres(checkpoint.load_symbol(str(tmp_path / "one/model"))) == 1
    capfd.readouterr()
    three = run(set_dir, tmp_path / "three/model", centres=3, pretrained=one, seed=1)
    out = capfd.readouterr().out
    assert f"loaded {one}; left fresh: nothing" in out
    assert f"note: {one}: fc7_weight has one centre an identity: the first of 3 here; the others are fresh" in out
    assert stated_centres(checkpoint.load_symbol(str(tmp_path / "three/model"))) == 3
    by_class = weight(three).reshape(3, 3, 16)
    np.testing.assert_allclose(by_class[:, 0], weight(one), atol=1e-4)
    assert np.abs(by_class[:, 1:] - weight(one)[:, None]).max() > 0.1

    run(set_dir, tmp_path / "again/model", pretrained=three)
    out = capfd.readouterr().out
    assert "left fresh: fc7_weight" in out
    assert f"note: {three}: 3 centre(s) an identity in fc7_weight, 1 here: all are left fresh" in out

    slim = tmp_path / "slim"
    assert command("model-slim", "--model", three, "--output", slim)[0] == 0
    status, _, err = command("dataset-clean", set_dir, "--by-centres", f"{slim},0", "--dry-run")
    assert (status, err) == (
        2,
        f"error: --by-centres {slim},0: has no fc7_weight; want a checkpoint of train-softmax, not slimmed\n",
    )

    for spec in (one, three):  # untrained: only what all angles hold is certain
        report = tmp_path / f"{spec.split('/')[-2]}.csv"
        arguments = ("dataset-clean", set_dir, "--by-centres", spec, "--angle", 180, "--dry-run", "--report", report)
        status, out, err = command(*arguments)
        assert status == 0, err
        assert "24 images of 3 identities: 24 kept" in out
        assert len(rows(report)) == 24
    other = shutil.copytree(set_dir, tmp_path / "other")
    lines = (other / "train.idx").read_text().splitlines(keepends=True)
    (other / "train.idx").write_text("".join(lines[:-1]))  # as many identities
    status, _, err = command("dataset-clean", other, "--by-centres", three, "--dry-run")
    assert status == 2 and f"error: --by-centres {three}: was trained on another set than {other}/train.rec" in err
    for option, judge in (("--threshold", "--by-centres"), ("--angle", "--model")):
        status, _, err = command("dataset-clean", set_dir, judge, three, option, 1, "--dry-run")
        assert (status, err) == (2, f"error: {option}: does nothing with {judge}; leave it out\n")
