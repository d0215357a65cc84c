"""The training loop on a tiny real set: steps, logs, checkpoints, guards."""

import json
import re
import shutil

import numpy as np
import pytest

from insight import checkpoint
from insight._mxnet import mx
from insight.cli import run_command
from insight.errors import InsightError
from insight.formats import evalbin
from insight.machine.available import Available, resident
from insight.train import memory, resume
from insight.train.loop import train
from insight.train.train_options import TrainOptions


def options(set_dir, prefix, **more):
    base = {
        "network": "y1",
        "emb_size": 16,
        "per_batch_size": 8,
        "max_steps": 4,
        "target": "val",
        "frequent": 2,
        "ckpt": 2,
    }
    return TrainOptions(data_dir=str(set_dir), prefix=str(prefix), **{**base, **more})


def journal(prefix, kind):
    rows = [json.loads(line) for line in open(f"{prefix}-log.jsonl", encoding="utf-8")]
    return [row for row in rows if row["kind"] == kind]


def test_a_stage_then_the_next(set_dir, tmp_path, capfd):
    first = tmp_path / "a/model"
    # At the default rate four steps leave a network whose gradients depend on how the processor rounds.
    result = train(options(set_dir, first, loss_type="0", verbose=3, lr=0.01))
    assert (result.steps, result.last_checkpoint) == (4, 2)  # verified and saved at step 3 and at the end
    out, err = capfd.readouterr()
    assert re.search(r"^INFO:root:Epoch\[0\] Batch \[2\]\tSpeed: [\d.]+ samples/sec\tacc=[\d.]+\tloss=", err, re.M)
    assert re.search(r"^INFO:root:Epoch\[1\] Batch \[1\]\t", err, re.M)  # three batches an epoch
    for line in (r"testing verification\.\.", r"\(12, 16\)", r"\[val\]\[0\]XNorm: [\d.]+", r"saving 1", r"saving 2"):
        assert re.search(f"^{line}$", out, re.M), line
    assert re.search(r"^\[val\]\[3\]Accuracy-Flip: [01]\.\d{5}\+-[01]\.\d{5}$", out, re.M)
    assert re.search(r"^\[4\]Accuracy-Highest: [01]\.\d{5}$", out, re.M)
    assert [row["step"] for row in journal(first, "verification")] == [0, 3, 4]
    assert [row["step"] for row in journal(first, "step")] == [2, 4]
    assert [row["number"] for row in journal(first, "saved")] == [1, 2]

    second = tmp_path / "b/model"
    # Another seed: weights that were not loaded would differ by far more.
    train(options(set_dir, second, loss_type="4", pretrained=f"{first},2", max_steps=1, lr=1e-5, seed=1))
    assert "left fresh: fc7_weight" not in capfd.readouterr().out
    before, after = (checkpoint.load(str(p), e) for p, e in ((first, 2), (second, 1)))
    assert before.arg_params.keys() - after.arg_params.keys() == {"fc7_bias"}
    stem = [c.arg_params["conv_1_conv2d_weight"].asnumpy() for c in (before, after)]
    moved = np.abs(stem[1] - stem[0])
    assert 0 < moved.max() < 1e-3


def test_checkpoint_is_complete_and_loads_in_plain_mxnet(set_dir, tmp_path):
    prefix = tmp_path / "model"
    train(options(set_dir, prefix, max_steps=1))
    symbol, args, aux = mx.model.load_checkpoint(str(prefix), 1)
    assert symbol.list_outputs() == ["blockgrad0_output", "softmax_output"]
    assert {"fc1_output", "fc7_output"} <= set(symbol.get_internals().list_outputs())
    assert set(symbol.list_arguments()) - set(args) == {"data", "softmax_label"}
    assert set(symbol.list_auxiliary_states()) == set(aux)
    assert not [name for name in args if "unused" in name]
    module = mx.mod.Module(symbol, context=mx.cpu())
    module.bind([("data", (2, 3, 112, 112))], [("softmax_label", (2,))], for_training=False)
    module.set_params(args, aux)


def test_numbers_continue_and_nothing_is_overwritten(set_dir, tmp_path):
    prefix = tmp_path / "model"
    train(options(set_dir, prefix, max_steps=1))
    kept = checkpoint.params_path(str(prefix), 1).read_bytes()
    assert train(options(set_dir, prefix, max_steps=1, seed=1)).last_checkpoint == 2
    assert checkpoint.params_path(str(prefix), 1).read_bytes() == kept
    assert checkpoint.epochs(str(prefix)) == [1, 2]
    starts = journal(prefix, "start")
    assert [set(row["versions"]) for row in starts] == [{"insight", "mxnet", "numpy", "python"}] * 2


@pytest.mark.parametrize("mode, saved", [(0, []), (1, [1]), (3, [1])])
def test_ckpt_modes(set_dir, tmp_path, mode, saved):
    prefix = tmp_path / "model"
    train(options(set_dir, prefix, max_steps=1, ckpt=mode))
    assert checkpoint.epochs(str(prefix)) == saved


def test_same_seed_same_bits(set_dir, tmp_path):
    for name, workers in (("a", 1), ("b", 3)):
        train(options(set_dir, tmp_path / name, max_steps=3, num_workers=workers, target="", seed=5))
    assert (tmp_path / "a-0001.params").read_bytes() == (tmp_path / "b-0001.params").read_bytes()
    train(options(set_dir, tmp_path / "c", max_steps=3, target="", seed=6))
    assert (tmp_path / "a-0001.params").read_bytes() != (tmp_path / "c-0001.params").read_bytes()


def test_it_learns(set_dir, tmp_path):
    train(options(set_dir, tmp_path / "model", loss_type="0", max_steps=12, lr=0.05, frequent=3, target=""))
    losses = [row["loss"] for row in journal(tmp_path / "model", "step")]
    assert losses[-1] < 0.5 * losses[0]


def test_label_without_a_class_names_its_record(set_dir, tmp_path, capfd):
    (tmp_path / "set").mkdir()
    for name in ("train.rec", "train.idx"):
        (tmp_path / "set" / name).write_bytes((set_dir / name).read_bytes())
    (tmp_path / "set/property").write_text("2,112,112\n")
    status = run_command("train-softmax", ["--data-dir", str(tmp_path / "set"), "--prefix", str(tmp_path / "m/model")])
    assert status == 2
    err = capfd.readouterr().err
    assert re.fullmatch(
        r"error: .*train\.rec: record 2 has label 2, the property file says 2 classes \(8 such .*\n", err
    )
    assert not (tmp_path / "m").exists()


def test_non_finite_loss_stops_before_the_update(set_dir, tmp_path, capfd):
    prefix = tmp_path / "model"
    with pytest.raises(InsightError, match=r"step \d+: the (loss|gradient) is not finite any more") as info:
        train(options(set_dir, prefix, loss_type="0", lr=1e25, max_steps=40, target="", frequent=100))
    step = int(re.search(r"step (\d+)", str(info.value)).group(1))
    rows = (tmp_path / f"model-nonfinite-{step}.tsv").read_text().splitlines()
    assert rows[0] == "key\tlabel\tloss" and len(rows) == 9
    assert all(int(row.split("\t")[0]) % 3 == int(row.split("\t")[1]) for row in rows[1:])  # the set's own labels
    for number in checkpoint.epochs(str(prefix)):  # what is kept is finite
        args, aux = checkpoint.load_params(str(prefix), number)
        assert all(np.isfinite(a.asnumpy()).all() for a in {**args, **aux}.values())


def test_fc7_multipliers_and_frozen_backbone(set_dir, tmp_path):
    first = tmp_path / "a"
    train(options(set_dir, first, loss_type="0", max_steps=2, target=""))
    before = checkpoint.load(str(first), 1).arg_params
    more = {"pretrained": f"{first},1", "loss_type": "0", "target": ""}
    train(options(set_dir, tmp_path / "b", max_steps=2, freeze_backbone_steps=2, **more))
    frozen = checkpoint.load(str(tmp_path / "b"), 1).arg_params
    moved = {name for name in before if not np.array_equal(before[name].asnumpy(), frozen[name].asnumpy())}
    assert moved == {"fc7_weight", "fc7_bias"}
    train(options(set_dir, tmp_path / "c", max_steps=2, fc7_lr_mult=0, **more))
    still = checkpoint.load(str(tmp_path / "c"), 1).arg_params
    assert {n for n in before if np.array_equal(before[n].asnumpy(), still[n].asnumpy())} >= {"fc7_weight", "fc7_bias"}
    assert not np.array_equal(before["conv_1_conv2d_weight"].asnumpy(), still["conv_1_conv2d_weight"].asnumpy())
    train(options(set_dir, tmp_path / "d", max_steps=3, freeze_backbone_steps=2, **more))
    thawed = checkpoint.load(str(tmp_path / "d"), 1).arg_params["conv_1_conv2d_weight"]
    assert not np.array_equal(before["conv_1_conv2d_weight"].asnumpy(), thawed.asnumpy())


def test_a_target_of_one_kind_is_skipped_beside_others(set_dir, tmp_path, capfd):
    folder = tmp_path / "set"
    shutil.copytree(set_dir, folder)
    images, issame = evalbin.read_bin(folder / "val.bin")
    evalbin.write_bin(folder / "same.bin", images, np.ones(len(issame), bool))
    assert set(train(options(folder, tmp_path / "a", max_steps=1, target="same,val")).accuracies) == {"val"}
    reason = f"all {len(issame)} pairs are same; accuracy needs pairs of both kinds"
    assert f"note: verification set skipped: same ({reason})\n" in capfd.readouterr().out
    with pytest.raises(InsightError, match=re.escape(f"{folder}/same.bin: {reason}")):
        train(options(folder, tmp_path / "b", max_steps=1, target="same,none"))
    assert not (tmp_path / "b-log.jsonl").exists()


def test_another_number_of_classes_is_no_error(set_dir, tmp_path, capfd):
    first = tmp_path / "a"
    train(options(set_dir, first, max_steps=1, target=""))
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("train.rec", "train.idx"):
        (folder / name).write_bytes((set_dir / name).read_bytes())
    (folder / "property").write_text("5,112,112\n")
    train(options(folder, tmp_path / "b", max_steps=1, target="", pretrained=f"{first},1"))
    out = capfd.readouterr().out
    assert f"loaded {first},1; left fresh: fc7_weight\n" in out
    assert re.search(r"^note: .*2 of 5 identities have no image", out, re.M)


@pytest.fixture
def sparse_dir(set_dir, tmp_path):
    """The set with a property file that says five million classes."""
    folder = tmp_path / "sparse"
    folder.mkdir()
    for name in ("train.rec", "train.idx"):
        (folder / name).write_bytes((set_dir / name).read_bytes())
    (folder / "property").write_text("5000000,112,112\n")
    return folder


def test_sparse_labels_have_a_remedy_where_memory_is_short(sparse_dir, tmp_path, monkeypatch):
    remedy = "labels are sparse: 3 identities have images, the largest label is 2; `insight dataset-repair "
    with pytest.raises(InsightError, match=f"--emb-size 512 with 5000000 identities: .*{remedy}"):
        train(options(sparse_dir, tmp_path / "m/model", emb_size=512))
    monkeypatch.setattr(memory, "available", lambda: Available(1 << 30, "this machine has 1.1 GB"))
    with pytest.raises(InsightError, match=f"--per-batch-size 8: training needs .* 1.1 GB are available .*{remedy}"):
        train(options(sparse_dir, tmp_path / "m/model"))
    assert not (tmp_path / "m").exists()


def test_a_note_where_the_estimate_alone_is_too_large(set_dir, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(memory, "LEAST", 0.0)
    monkeypatch.setattr(memory, "available", lambda: Available(resident() + 200_000_000, "a small machine"))
    train(options(set_dir, tmp_path / "model", max_steps=1, target=""))
    out = capfd.readouterr().out
    assert re.search(r"^note: training needs .* \(a small machine\); .* may still fit$", out, re.M), out


def test_a_damaged_state_is_refused_before_a_file_is_changed(set_dir, tmp_path):
    prefix = tmp_path / "model"
    small = {"target": "", "per_batch_size": 2, "frequent": 1, "ckpt": 0}
    train(options(set_dir, prefix, max_steps=1, **small))
    path = resume.state_path(prefix)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with open(f"{prefix}-log.jsonl", "a") as log:
        log.write('{"kind": "step"}\n')  # beyond the state, to be cut off when the run goes on
    before = {file.name: file.read_bytes() for file in tmp_path.glob("model-*.*")}
    with pytest.raises(InsightError, match="model-resume.npz: not the state of a training run .*CRC"):
        train(options(set_dir, prefix, max_steps=2, resume=True, **small))
    assert {file.name: file.read_bytes() for file in tmp_path.glob("model-*.*")} == before
    path.write_bytes(whole)
    train(options(set_dir, prefix, max_steps=2, resume=True, **small))
    assert [row["step"] for row in journal(prefix, "step")] == [1, 2]


@pytest.mark.parametrize(
    "more, message",
    [
        ({"image_size": "128,128"}, "--image-size 128,128: .* holds images of 112,112"),
        ({"devices": "tpu"}, "--devices tpu: must be numbers"),
        ({"devices": "cpu,0"}, "--devices cpu,0: must be numbers"),
        ({"devices": "7"}, r"--devices 7: MXNet sees \d+ GPU"),
        ({"dtype": "float16", "devices": "cpu"}, "--dtype float16: .* use bfloat16"),
        ({"images_filter": 100}, "--images-filter"),
        ({"network": "r51"}, "network 'r51' is not known"),
        ({"wd": float("inf")}, "--wd inf: must be a finite number"),
    ],
)
def test_refusals_write_nothing(set_dir, tmp_path, more, message):
    with pytest.raises(InsightError, match=message):
        train(options(set_dir, tmp_path / "m/model", **more))
    assert not (tmp_path / "m").exists()
