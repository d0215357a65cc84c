"""A killed embed resumes, with a byte-identical result; with other inputs or options it raises."""

import os
import signal
import subprocess
import sys
import time
from textwrap import dedent

import numpy as np
import pytest
from test_embed import SIZE, network, picture

from insight.errors import InsightError
from insight.faces.embed import embed, load, save
from insight.faces.parts import Parts, embed_to
from insight.faces.sources import image_source
from insight.formats import evalbin

COUNT = 42


class FakeEngine:
    """An engine around a function."""

    image_size, batch_size = SIZE, 4

    def __init__(self, run=network, name="fake engine 1"):
        self.seen = 0
        self._run = run
        self._name = name

    def __call__(self, images):
        self.seen += len(images)
        return self._run(images)

    def describe(self):
        return self._name


@pytest.fixture
def work(tmp_path):
    """A .bin, and a model's file."""
    evalbin.write_bin(tmp_path / "p.bin", [picture(i + 1) for i in range(COUNT)], [True] * (COUNT // 2))
    (tmp_path / "model").write_bytes(b"weights")
    return tmp_path


def run(work, engine=None, output="e.npz", flip="none", part_seconds=0.0, dtype="float32"):
    source = image_source(work / "p.bin")
    return embed_to(work / output, engine or FakeEngine(), source, flip, [work / "model"], part_seconds, dtype=dtype)


def stopped(work, after=3, **options):
    """Embed, and fail in the batch after ``after`` others; returns the folder of parts."""

    def failing(images):
        if engine.seen > 4 * after:
            raise KeyboardInterrupt
        return network(images)

    engine = FakeEngine(failing)
    with pytest.raises(KeyboardInterrupt):
        run(work, engine, **options)
    return work / "e.npz.parts"


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_the_result_equals_that_of_save(work):
    assert run(work, part_seconds=0.0) == (COUNT, 4)
    save(work / "whole.npz", embed(network, image_source(work / "p.bin"), SIZE, "none", 4))
    assert (work / "e.npz").read_bytes() == (work / "whole.npz").read_bytes()
    with np.load(work / "e.npz", allow_pickle=False) as stored:
        assert {name: (stored[name].dtype.kind, stored[name].shape) for name in stored.files} == {
            "embeddings": ("f", (COUNT, 4)),
            "keys": ("U", (COUNT,)),
            "labels": ("i", (COUNT,)),
        }
    assert names(work) == ["e.npz", "model", "p.bin", "whole.npz"]


def test_a_short_run_writes_no_part(work, monkeypatch):
    monkeypatch.setattr(Parts, "add", None)
    assert run(work, part_seconds=30.0) == (COUNT, 4)


def test_a_killed_run_resumes(work):
    run(work, output="straight.npz")
    child = f"""
        import sys, time
        sys.path[:0] = {[os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))]!r}
        from pathlib import Path
        import test_parts
        def slow(images):
            time.sleep(0.03)
            return test_parts.network(images)
        test_parts.run(Path({str(work)!r}), test_parts.FakeEngine(slow))
    """
    process = subprocess.Popen([sys.executable, "-c", dedent(child)])
    parts, deadline = work / "e.npz.parts", time.monotonic() + 60
    while not (parts / "part-000000000008.npy").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (work / "e.npz").exists()
    stored = len([name for name in names(parts) if name.startswith("part-")])
    engine = FakeEngine()
    run(work, engine)
    assert engine.seen == COUNT - 4 * stored
    assert (work / "e.npz").read_bytes() == (work / "straight.npz").read_bytes()
    assert not parts.exists()


def test_a_resumed_run_prints_where_it_resumes(work, capsys):
    parts = stopped(work)
    assert names(parts) == ["begun.json", *(f"part-{i:012d}.npy" for i in (0, 4, 8))]
    (parts / ".part-000000000012.npy.999999999.partial").write_bytes(b"half")  # as a kill leaves it
    run(work, part_seconds=30.0)
    assert f"e.npz: resuming after 12 of {COUNT} images" in capsys.readouterr().err
    assert load(work / "e.npz").embeddings.shape == (COUNT, 4)
    assert not parts.exists()


@pytest.mark.parametrize("left", [(), (".begun.json.999999999.partial",)])
def test_a_kill_before_the_first_part_leaves_no_parts(work, left):
    (work / "e.npz.parts").mkdir()
    for name in left:
        (work / "e.npz.parts" / name).touch()
    assert run(work) == (COUNT, 4)
    assert not (work / "e.npz.parts").exists()


def test_a_kill_while_parts_are_removed_can_be_resumed(work):
    parts = stopped(work)
    (parts / "part-000000000008.npy").unlink()
    engine = FakeEngine()
    run(work, engine)
    assert engine.seen == COUNT - 8


def test_both_orientations_in_float16(work):
    """For teachers: two arrays, equal to those of two runs, from the parts of a stopped run too."""
    both = {"flip": "both", "dtype": "float16"}
    assert run(work, output="straight.npz", part_seconds=30.0, **both) == (COUNT, 4)
    engine = FakeEngine()
    stopped(work, **both)
    run(work, engine, **both)
    assert engine.seen == 2 * (COUNT - 4)  # the first batch was stored
    assert (work / "e.npz").read_bytes() == (work / "straight.npz").read_bytes()
    source = image_source(work / "p.bin")
    images = np.stack([source.pixels(i, SIZE) for i in range(COUNT)])
    with np.load(work / "e.npz", allow_pickle=False) as stored:
        assert stored.files == ["embeddings", "mirrored", "keys", "labels"]
        for name, one in (("embeddings", images), ("mirrored", images[..., ::-1])):
            assert stored[name].dtype == np.float16
            np.testing.assert_array_equal(stored[name], network(one).astype(np.float16))
        assert (stored["embeddings"] != stored["mirrored"]).any()
    save(work / "whole.npz", embed(network, source, SIZE, "both", 4))
    run(work, output="full.npz", flip="both")
    assert (work / "whole.npz").read_bytes() == (work / "full.npz").read_bytes()


@pytest.mark.parametrize("value", [7e4, np.nan, 0.0, 1e-9])
def test_what_float16_cannot_hold_is_refused(work, value):
    def beyond(images):
        rows = network(images)
        rows[2:3] = value
        return rows

    with pytest.raises(InsightError, match=r"p.bin: image 2: its embedding is zero or not finite as float16"):
        run(work, FakeEngine(beyond), dtype="float16")
    assert run(work, FakeEngine(beyond)) == (COUNT, 4)


@pytest.mark.parametrize("first, then", [("float32", "float16"), ("float16", "float32")])
def test_another_type_is_refused(work, first, then):
    stopped(work, dtype=first)
    with pytest.raises(InsightError, match=f"was begun with output-dtype {first}, not {then};"):
        run(work, dtype=then)


def test_parts_of_earlier_versions_resume(work):
    begun = stopped(work) / "begun.json"
    begun.write_text(begun.read_text().replace(' "--output-dtype": "float32",\n', ""))
    assert "dtype" not in begun.read_text() and run(work) == (COUNT, 4)


def changed_model(work):
    (work / "model").write_bytes(b"other weights")


def changed_input(work):
    pictures = [picture(i + 2) for i in range(COUNT)]
    evalbin.write_bin(work / "p.bin", pictures, [True] * (COUNT // 2))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (changed_model, {}, "was begun with another model;"),
        (changed_input, {}, "was begun with another input;"),
        (None, {"flip": "sum"}, "was begun with flip none, not sum;"),
        (None, {"engine": FakeEngine(name="fake engine 2")}, "was begun with engine fake engine 1, not fake engine 2;"),
    ],
)
def test_resuming_with_other_inputs_raises(work, change, options, message):
    parts = stopped(work)
    before = names(parts)
    if change:
        change(work)
    with pytest.raises(InsightError, match=f"e.npz.parts: {message} give the same again to resume, or remove the fold"):
        run(work, **options)
    assert names(parts) == before
    assert not (work / "e.npz").exists()


def test_another_batch_size_is_refused(work):
    stopped(work)
    engine = FakeEngine()
    engine.batch_size = 5
    with pytest.raises(InsightError, match="was begun with batch-size 4, not 5"):
        run(work, engine)


def test_a_foreign_folder_is_not_changed(work):
    (work / "e.npz.parts").mkdir()
    (work / "e.npz.parts/mine.txt").write_text("x")
    with pytest.raises(InsightError, match=r"e.npz.parts: is not a folder of embed.s parts"):
        run(work)
    assert names(work / "e.npz.parts") == ["mine.txt"]


def test_two_runs_do_not_write_the_same_parts(work):
    stopped(work)

    def meanwhile(images):
        with pytest.raises(InsightError, match="another run is writing it"):
            run(work)
        return network(images)

    run(work, FakeEngine(meanwhile))


def test_a_folder_counts_as_changed_with_any_image(tmp_path):
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture(3))
    before = image_source(tmp_path).digest()
    assert image_source(tmp_path).digest() == before
    os.utime(tmp_path / "b/1.png", (1, 1))
    touched = image_source(tmp_path).digest()
    (tmp_path / "b/1.png").rename(tmp_path / "b/2.png")
    assert len({before, touched, image_source(tmp_path).digest()}) == 3
