"""What a worker of a cluster reads is what the command reads; in another folder, from its own files."""

import pickle

import pytest
from cut_sets import in_shards
from planted_set import CLEAN, IMAGES, Rec

from insight.check.duplicates import open_excluded
from insight.check.layout import Layout
from insight.check.records import Records
from insight.check.rules import Findings
from insight.formats.evalbin import write_bin
from insight.formats.framing import INDEXED_FRAME


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Relative paths of a set in one file, the same in shards, a damaged one and a .bin."""
    for name in ("one", "damaged"):
        (tmp_path / name).mkdir()
        Rec(tmp_path / name).write()
    in_shards(tmp_path / "one", tmp_path / "shards", [2, 9])
    damaged = tmp_path / "damaged/train.rec"
    data = bytearray(damaged.read_bytes())
    at = data.index(CLEAN[3]) - INDEXED_FRAME.size
    data[at : at + 4] = b"none"
    damaged.write_bytes(data)
    write_bin(tmp_path / "val.bin", CLEAN, [True] * (IMAGES // 2))
    monkeypatch.chdir(tmp_path)
    return ["one/train.rec", "shards/train-00000-of-00003.rec", "damaged/train.rec", "val.bin"]


def assert_same_elsewhere(payloads, monkeypatch):
    here = [bytes(payloads.read(i)) for i in range(payloads.count)]
    places = [*payloads.places(0, 5), *payloads.places(5, payloads.count)]
    read_at = pickle.dumps(payloads.read_at)
    with monkeypatch.context() as patch:
        patch.chdir("/")
        assert list(map(bytes, map(pickle.loads(read_at), places))) == here
    return here


def test_a_set_that_is_checked(paths, monkeypatch):
    for path, missing in ((paths[0], []), (paths[1], []), (paths[2], [3])):
        payloads = Layout(Records(path, Findings()), Findings()).payloads()
        want = [data for i, data in enumerate(CLEAN) if i not in missing]
        assert assert_same_elsewhere(payloads, monkeypatch) == want
        assert len(payloads.paths) == (3 if path == paths[1] else 1)


def test_a_set_that_is_excluded(paths, monkeypatch):
    for path in (paths[0], paths[1], "shards", paths[3]):
        payloads = open_excluded(path).payloads
        assert assert_same_elsewhere(payloads, monkeypatch) == CLEAN
        assert len(payloads.paths) == (3 if "shards" in path else 1)
