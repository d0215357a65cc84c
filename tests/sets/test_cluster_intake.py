"""What a worker does with a run of a list, and what is made of its results; a cluster does it in tests/flow."""

import pickle

import pytest
from made_faces import encode, face

from insight.errors import InsightError
from insight.files.places import Places
from insight.formats.lst import Entry
from insight.sets import cluster_intake
from insight.sets.cluster_intake import ClusterIntake, PrepareTask
from insight.sets.intake import prepare_all
from insight.sets.prepare import ImageTarget, Skip


@pytest.fixture
def entries(tmp_path, monkeypatch):
    """Images that are copied, converted, damaged, or none, in folders of two places."""
    monkeypatch.chdir(tmp_path)
    for name in ("root", "beside"):
        (tmp_path / name).mkdir()
    (tmp_path / "root/a.jpg").write_bytes(encode(face(0)))
    (tmp_path / "beside/b.png").write_bytes(encode(face(1, 80, 90), ".png"))
    (tmp_path / "here.jpg").write_bytes(encode(face(2))[:-200] + b"\xff\xd9")
    (tmp_path / "root/text.jpg").write_text("no image")
    points = (38.0, 73.0, 56.0, 41.0, 70.0, 51.0, 51.0, 71.0, 92.0, 92.0)
    return [
        Entry("a.jpg", 0),
        Entry("b.png", 1),
        Entry("here.jpg", 2),
        Entry("text.jpg", 3),
        Entry("none.jpg", 4),
        Entry("b.png", 5, False, None, points),
    ]


def test_a_worker_in_another_folder_prepares_the_same(entries, monkeypatch):
    places = Places("beside", "root")
    want = [outcome for _, outcome in prepare_all(entries, ImageTarget(), places)]
    task = pickle.dumps(PrepareTask(ImageTarget(), places, "decode"))
    monkeypatch.chdir("/")
    got = pickle.loads(pickle.dumps(pickle.loads(task)(entries))).outcomes
    assert list(map(repr, got)) == list(map(repr, want))
    assert [isinstance(outcome, Skip) for outcome in got] == [False, False, False, True, True, False]


class HereOnly:
    """A cluster's workers that see no file."""

    def __init__(self, task, cluster):
        self._task = task

    def in_order(self, items):
        for run in items:
            yield cluster_intake.PreparedRun([Skip("no such file in the working directory") for _ in run], "node7")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def test_a_file_that_only_the_worker_misses_is_an_error(entries, tmp_path, monkeypatch):
    """It would be skipped."""
    monkeypatch.setattr(cluster_intake, "Workers", HereOnly)
    intake = ClusterIntake(ImageTarget(), None)
    (chunk,) = intake.chunks(entries[4:5], Places("beside", "root"))
    assert isinstance(chunk.outcome(0), Skip)
    with pytest.raises(
        InsightError, match=rf"^a worker on node7 cannot read {tmp_path}/beside/b.png; all workers must"
    ):
        list(intake.chunks(entries[1:2], Places("beside", "root")))
