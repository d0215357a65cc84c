"""``--teacher-features``: a live teacher that shows the features of its stages."""

import numpy as np
import pytest
from small_networks import S, filled, pixels, residual
from small_sets import write_striped_set
from test_live import batch_of

from insight import checkpoint
from insight._mxnet import mx
from insight.checkpoint import Checkpoint
from insight.errors import InsightError
from insight.formats.faceset import FaceSet
from insight.teach.live import LiveTeacher
from insight.teach.stage_teacher import StageTeacher
from insight.train.train_options import TrainOptions


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A set, and networks: ``stages,0``, ``none,0`` without sums, ``small,0`` for 16x16 images."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "set").mkdir()
    write_striped_set(folder / "set")
    checkpoint.save(f"{folder}/stages", 0, Checkpoint(*filled(residual(), 5)))
    for name, size in (("none", 112), ("small", 16)):
        x = pixels(S.Variable("data", shape=(0, 3, size, size)))
        x = x if name == "none" else x + S.relu(x)
        symbol = S.FullyConnected(S.Pooling(x, kernel=(8, 8), stride=(8, 8)), num_hidden=6, name="fc1")
        checkpoint.save(f"{folder}/{name}", 0, Checkpoint(*filled(symbol, 3, size=size)))
    return folder


@pytest.fixture(scope="module")
def faces(work):
    with FaceSet.open(str(work / "set")) as opened:
        yield opened


def test_rows_are_those_of_any_live_teacher_and_features_those_of_the_graph(work, faces):
    teacher = StageTeacher(f"{work}/stages,0", faces)
    assert teacher.channels == {(14, 14): 6}
    for seed, count in ((0, 4), (1, 4), (2, 27)):  # the last one in batches of 8, 8, 8, 2 and 1
        batch = batch_of(seed, count)
        (features,) = teacher.features(batch, [(14, 14)])
        np.testing.assert_allclose(teacher.rows(batch), LiveTeacher(f"{work}/stages,0", faces).rows(batch), atol=1e-5)
        saved = checkpoint.load(f"{work}/stages", 0)
        sums = [name for name in saved.symbol.get_internals().list_outputs() if "_plus" in name]
        symbol = saved.symbol.get_internals()[sums[-1]]
        arrays = {**saved.arg_params, "data": batch.data}
        known = {name: arrays[name] for name in symbol.list_arguments()}
        auxiliary = {name: saved.aux_params[name] for name in symbol.list_auxiliary_states()}
        (want,) = symbol.bind(mx.cpu(), known, aux_states=auxiliary, grad_req="null").forward(is_train=False)
        np.testing.assert_allclose(
            features.asnumpy(), want.asnumpy(), rtol=1e-3, atol=1e-3 * np.abs(want.asnumpy()).max()
        )


def test_the_log_and_the_identity(work, faces):
    teacher = StageTeacher(f"{work}/stages,0", faces)
    assert teacher.describe() == f"taught by {work}/stages,0 (6 values of each image as augmented)"
    identity = teacher.identity
    assert identity["live"] and identity["engine"].endswith("with the features of its stages")
    assert identity["model_sha256"] == LiveTeacher(f"{work}/stages,0", faces).identity["model_sha256"]


@pytest.mark.parametrize(
    "name, message",
    [
        ("none", "none,0: has no sums of two branches, at which its stages would end"),
        ("small", r"small,0: takes images of 16x16 \(height x width\), those of .*train.rec are 112x112; a teacher"),
        ("absent", "absent-0000.params: no such checkpoint"),
    ],
)
def test_teachers_that_cannot_be_used(work, faces, name, message):
    with pytest.raises(InsightError, match=message):
        StageTeacher(f"{work}/{name},0", faces)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"teacher": "t,0"}, "--teacher-features 5: does nothing without --teacher-live"),
        ({"teacher": "t.onnx", "teacher_live": True}, "--teacher-features: --teacher t.onnx gives embeddings only"),
        (
            {"teacher": "t,0", "teacher_live": True, "teacher_features": -1.0},
            "--teacher-features -1: must be 0 or more",
        ),
        ({}, "--teacher-features 5: does nothing without a --teacher"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InsightError, match=message):
        TrainOptions(**{"data_dir": "set", "teacher_features": 5.0, **options})
