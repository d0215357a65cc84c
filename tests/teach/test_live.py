"""``--teacher-live``: a teacher that sees the batches of the training."""

from types import SimpleNamespace

import numpy as np
import pytest
from small_networks import S, filled, pixels
from small_sets import write_striped_set

from insight import checkpoint, engines
from insight._mxnet import mx
from insight.checkpoint import Checkpoint
from insight.errors import InsightError
from insight.formats.faceset import FaceSet
from insight.teach.live import LiveTeacher
from insight.train.train_options import TrainOptions


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A set, and networks ``one,0`` for it, ``zero,0`` whose embeddings are zero, ``small,0`` for 16x16 images."""
    folder = tmp_path_factory.mktemp("live")
    (folder / "set").mkdir()
    write_striped_set(folder / "set")
    for name, size in (("one", 112), ("zero", 112), ("small", 16)):
        pooled = S.Pooling(pixels(S.Variable("data", shape=(0, 3, size, size))), kernel=(8, 8), stride=(8, 8))
        symbol, args, aux = filled(S.FullyConnected(pooled, num_hidden=6, name="fc1"), 3, size=size)
        if name == "zero":
            args = {key: value * 0 for key, value in args.items()}
        checkpoint.save(f"{folder}/{name}", 0, Checkpoint(symbol, args, aux))
    return folder


@pytest.fixture(scope="module")
def faces(work):
    with FaceSet.open(str(work / "set")) as opened:
        yield opened


def batch_of(seed, count=4):
    pixels_B = np.random.default_rng(seed).integers(0, 256, (count, 3, 112, 112)).astype(np.float32)
    return SimpleNamespace(data=mx.nd.array(pixels_B), indices=np.arange(count), keys=np.arange(10, 10 + count))


def test_rows_are_of_the_pixels_of_the_batch(work, faces):
    teacher = LiveTeacher(f"{work}/one,0", faces)
    batch = batch_of(0)
    want = engines.load(f"{work}/one,0")(batch.data.asnumpy())
    rows = teacher.rows(batch)
    np.testing.assert_allclose(rows, want / np.linalg.norm(want, axis=1, keepdims=True), atol=1e-5)
    assert rows.dtype == np.float32 and (teacher.dimension, teacher.is_made, teacher.engine) == (6, True, None)
    assert teacher.describe() == f"taught by {work}/one,0 (6 values of each image as augmented)"
    assert teacher.identity["live"] and teacher.identity["model_sha256"]


def test_a_batch_is_embedded_once(work, faces):
    """AdaDistill and the cosine both ask for the rows of a batch."""
    teacher = LiveTeacher(f"{work}/one,0", faces)
    batch, calls, network = batch_of(0), [], teacher._network
    teacher._network = lambda images: calls.append(1) or network(images)
    assert teacher.rows(batch) is teacher.rows(batch) and len(calls) == 1
    other = teacher.rows(batch_of(1))
    assert len(calls) == 2 and np.abs(other - teacher.rows(batch)).max() > 1e-3


def test_an_embedding_without_direction_names_the_record(work, faces):
    with pytest.raises(InsightError, match="its embedding of record 10, as it was augmented, is zero or not finite"):
        LiveTeacher(f"{work}/zero,0", faces).rows(batch_of(0))


def test_images_of_another_size(work, faces):
    with pytest.raises(InsightError, match=r"small,0: takes images of 16x16 \(height x width\), those of .* 112x112"):
        LiveTeacher(f"{work}/small,0", faces)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"teacher": "t.npz"}, "--teacher-live: --teacher t.npz has embeddings of plain images"),
        ({"teacher": "t,0", "teacher_flips": "one"}, "--teacher-flips one: does nothing with --teacher-live"),
        ({"teacher": "t,0", "teacher_file": "t.npz"}, "--teacher-file t.npz: does nothing with --teacher-live"),
        ({}, "--teacher-live: does nothing without a --teacher"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InsightError, match=message):
        TrainOptions(data_dir="set", teacher_live=True, **options)
