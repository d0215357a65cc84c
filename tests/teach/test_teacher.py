"""``--teacher``: a model whose embeddings are computed once and used again, or a file; and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from small_networks import S, filled, pixels
from small_sets import write_striped_set

from insight import checkpoint, engines
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.errors import InsightError
from insight.faces.embed import load
from insight.formats.faceset import FaceSet
from insight.teach.teacher import Teacher


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A set of 24 images; networks ``one,0`` and ``other,0`` for it, and ``small,0`` for 16x16 images."""
    folder = tmp_path_factory.mktemp("teacher")
    (folder / "set").mkdir()
    write_striped_set(folder / "set")
    for seed, (name, size) in enumerate((("one", 112), ("other", 112), ("small", 16))):
        pooled = S.Pooling(pixels(S.Variable("data", shape=(0, 3, size, size))), kernel=(8, 8), stride=(8, 8))
        symbol = S.FullyConnected(pooled, num_hidden=6, name="fc1")
        checkpoint.save(f"{folder}/{name}", 0, Checkpoint(*filled(symbol, seed, size=size)))
    return folder


@pytest.fixture(scope="module")
def faces(work):
    with FaceSet.open(str(work / "set")) as opened:
        yield opened


def teacher_of(work, faces, path, spec="one,0", **more):
    return Teacher(f"{work}/{spec}", str(path), faces, faces.fingerprint(), **more)


def batch_of(positions, mirrored):
    return SimpleNamespace(indices=np.array(positions), mirrored=np.array(mirrored))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_model_is_computed_once(work, faces, tmp_path, monkeypatch):
    path = tmp_path / "runs/model-teacher.npz"
    teacher = teacher_of(work, faces, path)
    assert (teacher.dimension, teacher.is_made, teacher.passes, teacher.notes) == (6, False, 48, [])
    identity = teacher.identity
    assert not path.parent.exists()
    stand_in = teacher.rows(batch_of([1, 2], [False, True]))
    np.testing.assert_allclose(np.linalg.norm(stand_in, axis=1), 1, rtol=1e-6)
    teacher.make()
    assert teacher.is_made and teacher.engine is None and teacher.passes == 0 and path.exists()
    network = engines.load(f"{work}/one,0")
    images = np.stack([image.transpose(2, 0, 1) for image in decoded(faces)])
    plain, mirrored = network(images), network(np.ascontiguousarray(images[..., ::-1]))
    want = unit(np.stack([mirrored[5], plain[0], plain[5]]))
    np.testing.assert_allclose(teacher.rows(batch_of([5, 0, 5], [True, False, False])), want, atol=2e-3)
    assert np.abs(unit(plain) - unit(mirrored)).max() > 0.05

    monkeypatch.setattr(engines, "load", None)
    again = teacher_of(work, faces, path)
    assert again.is_made and again.identity == teacher.identity == identity
    again.make()
    assert again.describe() == f"taught by {work}/one,0 (6 values of image and mirror image)"
    one = teacher_of(work, faces, path, flips="one")
    np.testing.assert_allclose(one.rows(batch_of([5], [True])), unit(plain[5:6]), atol=2e-3)
    assert one.identity != teacher.identity and one.describe().endswith("one,0 (6 values)")
    with pytest.raises(
        InsightError, match=rf"{path}: has the embeddings of another teacher than --teacher .*other,0; n"
    ):
        teacher_of(work, faces, path, "other,0")


def decoded(faces):
    from insight.images.pixels import decode_rgb

    return [decode_rgb(faces.payload(i), "image") for i in range(len(faces))]


def test_a_killed_computation_resumes(work, faces, tmp_path, monkeypatch):
    straight = teacher_of(work, faces, tmp_path / "straight.npz")
    straight.make()
    teacher = teacher_of(work, faces, tmp_path / "t.npz")
    monkeypatch.setattr("insight.faces.parts.PART_SECONDS", 0.0)
    monkeypatch.setattr("insight.faces.parts.embed_to.__defaults__", (0.0, None, "float32", None))
    run, calls = teacher.engine._run, []

    def failing(images):
        calls.append(len(images))
        if len(calls) > 3:
            raise KeyboardInterrupt
        return run(images)

    teacher.engine._run = failing
    with pytest.raises(KeyboardInterrupt):
        teacher.make()
    assert (tmp_path / "t.npz.parts").is_dir() and not (tmp_path / "t.npz").exists()
    for other, words in (({"spec": "other,0"}, "another model"), ({"flips": "one"}, "flip both, not none")):
        with pytest.raises(InsightError, match=rf"t\.npz\.parts: was begun with {words}; give the same again"):
            teacher_of(work, faces, tmp_path / "t.npz", **other).make()
    teacher_of(work, faces, tmp_path / "t.npz").make()
    assert (tmp_path / "t.npz").read_bytes() == (tmp_path / "straight.npz").read_bytes()


def test_a_file_of_embed(work, faces, tmp_path):
    def embed(name, *more):
        words = ["--model", f"{work}/one,0", "--input", f"{work}/set/train.rec", "--output", str(tmp_path / name)]
        assert run_command("embed", [*words, *more]) == 0
        return Teacher(str(tmp_path / name), "nowhere.npz", faces, faces.fingerprint())

    both = embed("both.npz", "--flip", "both", "--output-dtype", "float16")
    assert both.is_made and both.notes == [] and both.path == str(tmp_path / "both.npz")
    computed = teacher_of(work, faces, tmp_path / "t.npz")
    computed.make()
    assert (tmp_path / "t.npz").read_bytes() == (tmp_path / "both.npz").read_bytes()
    assert both.identity == computed.identity
    plain = embed("plain.npz")
    (note,) = plain.notes
    assert note == f"{plain.path}: has no embeddings of mirror images; mirrored images get those of the plain ones"
    np.testing.assert_array_equal(
        plain.rows(batch_of([3, 3], [True, False]))[0], plain.rows(batch_of([3, 3], [False, False]))[1]
    )
    assert load(tmp_path / "both.npz").embeddings.dtype == np.float16
    with pytest.raises(InsightError, match=r"plain.npz: has no embeddings of mirror images; embed .* --flip both"):
        Teacher(str(tmp_path / "plain.npz"), "", faces, faces.fingerprint(), flips="both")
    unmirrored = Teacher(str(tmp_path / "plain.npz"), "", faces, faces.fingerprint(), mirrored=False)
    assert unmirrored.notes == []


@pytest.mark.parametrize(
    "spec, more, says",
    [
        (
            "small,0",
            {},
            r"--teacher .*small,0: takes images of 16x16 \(height x width\), those of .* are 112x112;",
        ),
        ("absent,0", {}, "absent-0000.params: no such checkpoint"),
        ("set", {}, "--teacher .*/set: unknown kind of model"),
        (
            "one,0",
            {"flips": "both", "mirrored": False},
            r"--teacher-flips both: no image is mirrored",
        ),
    ],
)
def test_refusals(work, faces, tmp_path, spec, more, says):
    with pytest.raises(InsightError, match=says):
        teacher_of(work, faces, tmp_path / "t.npz", spec, **more)


def test_a_file_is_not_replaced(work, faces, tmp_path):
    (tmp_path / "t.npz").write_text("mine")
    with pytest.raises(InsightError, match=r"t.npz: not a teacher's embeddings"):
        teacher_of(work, faces, tmp_path / "t.npz")
    assert (tmp_path / "t.npz").read_text() == "mine"
