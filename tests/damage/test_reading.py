"""All commands that decode records: damaged ones are used, named once, and no decoder's line is printed."""

import json
import re

import numpy as np
import pytest
from damaged_faces import damaged_keys, usable
from small_networks import S, filled

from insight import checkpoint
from insight.check.check import check
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.face_embedding import FaceEmbedding
from insight.feed.loader import Loader
from insight.formats.evalbin import write_bin
from insight.formats.faceset import FaceSet
from insight.train.loop import train
from insight.train.train_options import TrainOptions


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint that takes 112x112 images."""
    x = (S.Variable("data", shape=(0, 3, 112, 112)) - 127.5) / 128
    x = S.Pooling(x, kernel=(14, 14), stride=(14, 14), pool_type="avg")
    prefix = tmp_path_factory.mktemp("m") / "m"
    checkpoint.save(str(prefix), 1, Checkpoint(*filled(S.FullyConnected(x, num_hidden=8, name="fc1"), size=112)))
    return f"{prefix},1"


@pytest.fixture
def bin_path(faces, tmp_path):
    """All images that decode, in pairs of neighbours and of strangers."""
    images = list(usable(faces).values())
    images = images[: len(images) // 4 * 4]
    folder = tmp_path / "sets"
    folder.mkdir()
    half = len(images) // 2
    order = [i for pair in range(half // 2) for i in (2 * pair, 2 * pair + 1)] + [
        i for pair in range(half // 2) for i in (half + pair, len(images) - 1 - pair)
    ]
    write_bin(folder / "val.bin", [images[i] for i in order], np.arange(len(order) // 2) < half // 2)
    return folder / "val.bin"


@pytest.fixture
def run(capfd):
    """Run a command in this process; (stdout, stderr), without lines of decoders."""
    from damaged_images import DECODER_WORDS

    def run(name, *arguments):
        capfd.readouterr()
        assert run_command(name, [str(argument) for argument in arguments]) == 0
        out, err = capfd.readouterr()
        for line in (out + err).splitlines():
            assert not line.lstrip().startswith(DECODER_WORDS), line
        return out, err

    return run


def test_a_deep_check_names_every_key_and_the_decoder_s_warning(faces, record_set, insight, tmp_path):
    keys = damaged_keys(faces)
    status, out, err = insight("dataset-check", record_set, "--deep", "--json", "check.json", "--num-workers", 3)
    assert (status, err) == (1, "")
    (finding,) = (
        f for f in json.loads((tmp_path / "check.json").read_text())["findings"] if f["code"] == "damaged-image"
    )
    assert finding["severity"] == "error"
    assert finding["count"] == len(keys)
    assert {s["key"]: s["found"] for s in finding["samples"]} == dict(sorted(keys.items())[:12])
    assert f"error    damaged-image  {len(keys)}" in out
    assert "damaged-image" not in insight("dataset-check", record_set)[1]  # by headers alone


def test_a_check_does_not_depend_on_the_workers(record_set):
    reports = [check(str(record_set), deep=True, workers=workers).as_dict() for workers in (1, 4)]
    assert reports[0] == reports[1]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_loader_reports_each_record_once_in_the_order_of_the_batches(faces, record_set, workers, capfd):
    keys = damaged_keys(faces)
    reported = []
    with FaceSet.open(str(record_set)) as records:
        loader = Loader(records, 4, seed=3, workers=workers, on_damage=lambda key, words: reported.append((key, words)))
        batches = loader.batches()
        order = []
        for _ in range(3 * loader.batches_per_epoch):
            batch = next(batches)
            order += [key for key in batch.keys.tolist() if key in keys and key not in order]
            assert [key for key, _ in reported] == order
        batches.close()
    assert dict(reported) == {key: keys[key] for key in order}
    assert len(reported) == len(loader.damage) == len(order) > 5
    assert capfd.readouterr() == ("", "")


def options(record_set, prefix, **more):
    base = {
        "network": "y1",
        "emb_size": 8,
        "per_batch_size": 6,
        "frequent": 1,
        "ckpt": 2,
        "target": "",
        "loss_type": "0",
    }
    return TrainOptions(data_dir=str(record_set), prefix=str(prefix), **{**base, **more})


def test_training_names_damaged_records_once_and_counts_them(faces, record_set, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("insight.runs.journal.DAMAGED_NAMED", 3)
    keys = damaged_keys(faces)
    train(options(record_set, tmp_path / "m", max_steps=13))  # two epochs
    out, err = capfd.readouterr()
    named = re.findall(r"^record (\d+) is damaged and used as decoded: (.+)$", out, re.M)
    assert len(named) == 3
    assert all(keys[int(key)] == words for key, words in named)
    rows = [json.loads(line) for line in open(tmp_path / "m-log.jsonl", encoding="utf-8")]
    assert [(row["key"], row["warning"]) for row in rows if row["kind"] == "damaged"] == [(int(k), w) for k, w in named]
    (in_all,) = (row["count"] for row in rows if row["kind"] == "damage")
    assert 3 < in_all <= len(keys)
    assert f"{in_all} damaged records were used as decoded; insight dataset-check" in out
    assert all(line.startswith("INFO:root:Epoch") for line in err.splitlines()), err


def test_a_resumed_run_does_not_name_them_again(record_set, tmp_path, capfd):
    train(options(record_set, tmp_path / "whole", max_steps=8, save_every=4))
    whole = re.findall(r"^record (\d+) is damaged", capfd.readouterr().out, re.M)
    train(options(record_set, tmp_path / "part", max_steps=4, save_every=4))
    train(options(record_set, tmp_path / "part", max_steps=8, save_every=4, resume=True))
    assert re.findall(r"^record (\d+) is damaged", capfd.readouterr().out, re.M) == whole


def warning(source, keys, what, total):
    """The line that names the first five."""
    named = ", ".join(f"{what} {key} ({words})" for key, words in sorted(keys.items())[:5])
    count = f"{len(keys)} of {total} images damaged, used as decoded"
    return f"warning: {source}: {count}: {named}, and {len(keys) - 5} others"


def test_embed(faces, record_set, model, run, tmp_path):
    rec = record_set / "train.rec"
    _, err = run("embed", "--model", model, "--input", rec, "--output", tmp_path / "e.npz", "--flip", "sum")
    assert err.splitlines() == [warning(rec, damaged_keys(faces), "record", len(usable(faces)))]
    embeddings = np.load(tmp_path / "e.npz")["embeddings"]
    run("embed", "--model", model, "--input", rec, "--output", tmp_path / "f.npz", "--flip", "sum", "--batch-size", 3)
    assert np.array_equal(np.load(tmp_path / "f.npz")["embeddings"].round(3), embeddings.round(3))


def test_verification_and_its_report(faces, bin_path, model, run):
    arguments = ["--data-dir", bin_path.parent, "--target", "val", "--model", model]
    out, err = run("verification", *arguments)
    assert len(err.splitlines()) == 1
    assert re.match(rf"warning: {bin_path}: \d+ of \d+ images damaged, used as decoded: image \d+ \(Corrupt", err)
    assert "Accuracy-Flip" in out


def test_identification_names_both_sides(faces, record_set, model, run, tmp_path):
    folder = tmp_path / "probes"
    folder.mkdir()
    for name in ("train.rec", "train.idx", "property"):
        (folder / name).write_bytes((record_set / name).read_bytes())
    paths = [record_set / "train.rec", folder / "train.rec"]
    _, err = run("identification", "--model", model, "--gallery", paths[0], "--probes", paths[1])
    total, keys = len(usable(faces)), damaged_keys(faces)
    assert err.splitlines() == [warning(path, keys, "record", total) for path in paths]


def test_merging_and_cleaning(faces, record_set, model, run, tmp_path):
    total, keys = len(usable(faces)), damaged_keys(faces)
    line = warning(record_set / "train.rec", keys, "record", total)
    _, err = run("dataset-clean", record_set, "--model", model, "--output", tmp_path / "clean", "--threshold", "-1")
    assert err.splitlines() == [line]
    _, err = run("dataset-merge", "--include", record_set, "--model", model, "--output", tmp_path / "both", "--within")
    assert err.splitlines() == [line]


def test_a_folder_and_rec2image(faces, record_set, model, run, tmp_path):
    """Files are named by their paths; commands that do not decode print nothing."""
    _, err = run("rec2image", record_set, tmp_path / "out")
    assert err == ""
    _, err = run("embed", "--model", model, "--input", tmp_path / "out", "--output", tmp_path / "e.npz")
    assert re.match(
        rf"warning: {tmp_path}/out: {len(faces.damaged)} of {len(usable(faces))} images damaged, .*: \S+/\S+\.jpg \(C",
        err,
    )
    assert err.count("\n") == 1


def test_the_class_for_services_is_silent(faces, model, capfd):
    embedding = FaceEmbedding(model)
    capfd.readouterr()
    for name in list(faces.damaged)[:4]:
        assert embedding.embed(faces.files[name]).shape == (8,)
    assert capfd.readouterr() == ("", "")


def test_images_for_a_parity_check(record_set, faces, model, run, tmp_path):
    _, err = run("export-onnx", "--model", model, "--output", tmp_path / "m.onnx", "--faces", record_set / "train.rec")
    assert err.count("\n") == 1
    assert err.startswith(f"warning: {record_set}/train.rec: ")


def test_a_png_is_inflated_for_the_check_once_only(tmp_path, monkeypatch):
    """Records are decoded each epoch; sound ones are not checked again."""
    import damaged_images as made

    from insight.formats.recordio import RecordWriter
    from insight.images import png as pngfile

    with RecordWriter(str(tmp_path / "train.rec")) as writer:
        for key in range(6):
            writer.write(key, made.pillow(key, kind="PNG"), float(key % 2), key)
    (tmp_path / "property").write_text("2,112,112\n")
    asked = []
    real = pngfile.without_extras

    def note(data, inflate=True):
        asked.append(inflate)
        return real(data, inflate)

    monkeypatch.setattr(pngfile, "without_extras", note)
    with FaceSet.open(str(tmp_path)) as records:
        batches = Loader(records, 6, workers=1).batches()
        for _ in range(3):
            next(batches)
        batches.close()
    assert asked[:6] == [True] * 6
    assert not any(asked[6:])
    assert len(asked) >= 18
