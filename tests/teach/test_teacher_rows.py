"""A teacher's embeddings of a set: the rows of a batch, and files that are refused."""

import json
import os
import re
import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest
from small_sets import write_set

from insight.errors import InsightError
from insight.faces.embed import Embedded, save
from insight.formats.faceset import FaceSet
from insight.teach.teacher_rows import TeacherRows

COUNT, SIZE = 12, 5


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "set"
    write_set(folder, [[np.full(8, 10 * person + i) for i in range(4)] for person in range(3)])
    with FaceSet.open(str(folder)) as opened:
        yield opened


def embedded(faces, about=None, dtype=np.float16, mirrored=True, **changes):
    draw = np.random.default_rng(3)
    plain, other = (3 * draw.normal(size=(2, COUNT, SIZE))).astype(dtype)
    about = {"set": faces.fingerprint(), "model_sha256": "0"} if about is None else about
    whole = Embedded(plain, np.array([str(key) for key in faces.images]), faces.labels, about, other)
    return whole._replace(**({} if mirrored else {"mirrored": None}), **changes)


def test_rows_are_of_the_image_as_it_lies_in_the_batch(faces, tmp_path):
    stored = embedded(faces)
    save(tmp_path / "t.npz", stored)
    positions, mirrored = np.array([7, 0, 7, 11]), np.array([True, False, False, True])
    both = np.where(mirrored[:, None], stored.mirrored[positions], stored.embeddings[positions]).astype(np.float64)
    for flips, want in ((True, both), (False, stored.embeddings[positions].astype(np.float64))):
        rows = TeacherRows(tmp_path / "t.npz", faces, faces.fingerprint(), flips)
        assert (rows.flips, rows.dimension, rows.about) == (flips, SIZE, stored.about)
        found = rows.rows(positions, mirrored)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, want / np.linalg.norm(want, axis=1, keepdims=True), rtol=2e-7)
    save(tmp_path / "plain.npz", embedded(faces, mirrored=False))
    rows = TeacherRows(tmp_path / "plain.npz", faces, faces.fingerprint())
    assert not rows.flips
    np.testing.assert_array_equal(rows.rows(positions, mirrored), found)


def other_set(faces, tmp_path, people):
    write_set(tmp_path / "other", people)
    return FaceSet.open(str(tmp_path / "other"))


@pytest.mark.parametrize(
    "people",
    [
        [[np.full(8, 10 * person + i) for i in range(5)] for person in range(3)],
        [[np.full(8, 10 * person + i) for i in range(4 + (person == 0) - (person == 2))] for person in range(3)],
    ],
    ids=["more images", "other order"],
)
def test_another_set_or_order_is_refused(faces, tmp_path, people):
    save(tmp_path / "t.npz", embedded(faces))
    with other_set(faces, tmp_path, people) as other:
        with pytest.raises(InsightError, match=r"t.npz: has 12 embeddings of another set than .*other/train.rec .*emb"):
            TeacherRows(tmp_path / "t.npz", other, other.fingerprint())


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"about": {}}, "does not say of which set it is; `insight embed --input .*/train.rec` writes"),
        ({"embeddings": np.ones((COUNT, SIZE), np.int64)}, r"embeddings are int64 \(12, 5\), want floats"),
        (
            {"embeddings": np.ones((COUNT, 0), np.float16), "mirrored": None},
            r"embeddings are float16 \(12, 0\), want f",
        ),
        ({"mirrored": np.ones((COUNT, 2), np.float16)}, r"mirrored is float16 \(12, 2\), embeddings float16 \(12, 5\)"),
        ({"embeddings": np.full((COUNT, SIZE), np.nan, np.float16)}, "embedding of record 1 is zero or not finite"),
        ({"mirrored": np.zeros((COUNT, SIZE), np.float16)}, "embedding of record 1 is zero or not finite"),
    ],
)
def test_what_teaches_nothing_is_refused(faces, tmp_path, changes, says):
    save(tmp_path / "t.npz", embedded(faces)._replace(**changes))
    with pytest.raises(InsightError, match=f"^{tmp_path}/t.npz: .*{says}"):
        TeacherRows(tmp_path / "t.npz", faces, faces.fingerprint())


def test_a_row_without_direction_is_named_when_it_is_met(faces, tmp_path, monkeypatch):
    monkeypatch.setattr("insight.teach.teacher_rows.TRIED", 1)
    stored = embedded(faces)
    stored.embeddings[6, 2] = np.inf
    save(tmp_path / "t.npz", stored)
    rows = TeacherRows(tmp_path / "t.npz", faces, faces.fingerprint())
    rows.rows(np.array([5, 6]), np.array([False, True]))
    with pytest.raises(InsightError, match=f"the embedding of record {faces.images[6]} is zero or not finite"):
        rows.rows(np.array([5, 6]), np.array([True, False]))


def test_other_files_are_refused(faces, tmp_path):
    path = tmp_path / "t.npz"
    with pytest.raises(InsightError, match=r"t.npz: no such file; `insight embed --flip both"):
        TeacherRows(path, faces, faces.fingerprint())
    path.write_bytes(b"PK no zip")
    with pytest.raises(InsightError, match=r"t.npz: not a teacher's embeddings \(File is not a zip file\)"):
        TeacherRows(path, faces, faces.fingerprint())
    about = np.array(json.dumps({"set": faces.fingerprint()}))
    np.savez_compressed(path, embeddings=np.ones((COUNT, SIZE)), about=about)
    with pytest.raises(InsightError, match=r"not a teacher's embeddings \(embeddings is compressed"):
        TeacherRows(path, faces, faces.fingerprint())
    np.savez(path, rows=np.ones((COUNT, SIZE)), about=about)
    with pytest.raises(InsightError, match="not a teacher's embeddings .*embeddings.npy"):
        TeacherRows(path, faces, faces.fingerprint())


def test_damaged_headers_are_refused_in_one_line(faces, tmp_path):
    """One byte of the zip's or an array's header changed: the file opens, or the message says what is wrong."""
    save(tmp_path / "sound.npz", embedded(faces))
    sound, path = (tmp_path / "sound.npz").read_bytes(), tmp_path / "t.npz"
    headers = {at.start() + i for at in re.finditer(b"PK", sound) for i in range(0, 130, 3)}
    messages = []
    for position in sorted(headers & set(range(len(sound)))):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 0xFF]) + sound[position + 1 :])
        try:
            TeacherRows(path, faces, faces.fingerprint())
        except InsightError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(message.startswith(f"{path}: ") and message.isprintable() for message in messages)
    assert not any("embeddings ()" in message for message in messages)


def test_a_file_that_is_cut_short_in_a_run_is_named(faces, tmp_path):
    save(tmp_path / "t.npz", embedded(faces))
    rows = TeacherRows(tmp_path / "t.npz", faces, faces.fingerprint())
    os.truncate(tmp_path / "t.npz", 100)
    with pytest.raises(InsightError, match="t.npz: cannot be read any more .*; restore it and resume the run"):
        rows.rows(np.array([5, 6]), np.array([True, False]))


MAPPED = """
    import sys
    from types import SimpleNamespace
    import numpy as np
    from insight.teach.teacher_rows import TeacherRows

    def resident():
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

    class Faces(SimpleNamespace):
        __len__ = lambda self: len(self.images)

    faces = Faces(images=np.arange(1, 100_001), rec_path="a.rec")
    draw = np.random.default_rng(0)
    before = resident()
    rows = TeacherRows(sys.argv[1], faces, "0")
    for _ in range(20):
        rows.rows(draw.integers(0, 100_000, 64), draw.random(64) < 0.5)
    print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_large_file_is_not_read_whole(tmp_path):
    """100,000 x 256 x 2 orientations are 102 MB; a memory map would keep the pages of every row that was read."""
    keys = np.zeros(100_000, "U1")
    one = np.ones((100_000, 256), np.float16)
    save(tmp_path / "t.npz", Embedded(one, keys, np.zeros(100_000, np.int64), {"set": "0"}, one))
    done = subprocess.run(
        [sys.executable, "-c", dedent(MAPPED), str(tmp_path / "t.npz")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 30  # MB
