"""Sets in shards are the sets in one file."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from cut_sets import in_shards
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.errors import InsightError
from insight.formats import shards
from insight.formats.faceset import FaceSet, find_rec
from insight.formats.framing import MAGIC_BYTES
from insight.formats.property import Property, write_property
from insight.formats.recordio import RecordFile, RecordWriter
from insight.formats.recordmap import DamagedRecord

SIZES = [3, 1, 2, 4]


def write_single(folder, sizes=SIZES, indexed=True, payload=b"image"):
    """An indexed or a plain set in one file; a payload with the magic number is in parts."""
    folder.mkdir(parents=True)
    labels = np.repeat(np.arange(len(sizes)), sizes).tolist()
    with RecordWriter(str(folder / "train.rec")) as writer:
        for key, label in enumerate(labels, int(indexed)):
            writer.write(key, payload * key + MAGIC_BYTES * (key % 3), (label, 1) if indexed else label, key)
        if indexed:
            first, ends = len(labels) + 1, np.cumsum(sizes) + 1
            writer.write(0, b"", (first, first + len(sizes)))
            for key, end, size in zip(range(first, first + len(sizes)), ends.tolist(), sizes):
                writer.write(key, b"", (end - size, end), key)
    write_property(folder, Property(len(sizes), 112, 112))
    return folder


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.booleans(), st.data())
def test_a_set_in_shards_is_that_in_one_file(tmp_path_factory, sizes, indexed, data):
    folder = tmp_path_factory.mktemp("sets")
    single = write_single(folder / "one", sizes, indexed)
    records = sum(sizes) + (len(sizes) + 1) * indexed
    cuts = sorted(data.draw(st.lists(st.integers(0, records), min_size=1, max_size=4)))  # shards may be empty
    paths = in_shards(single, folder / "shards", cuts)
    with FaceSet.open(str(paths[-1])) as ours, FaceSet.open(str(single)) as theirs:
        assert ours.rec_path == str(paths[0])
        assert ours.images.tolist() == theirs.images.tolist()
        assert np.array_equal(ours.labels, theirs.labels) and np.array_equal(ours.identities, theirs.identities)
        assert [bytes(ours.payload(i)) for i in range(len(ours))] == [
            bytes(theirs.payload(i)) for i in range(len(theirs))
        ]
        assert ours.fingerprint() == theirs.fingerprint()
        assert ours.notes == [note.replace(str(single / "train.rec"), str(paths[0])) for note in theirs.notes]
        assert [(at, bytes(r.payload)) for at, r in ours.records.scan()] == [
            (at, bytes(r.payload)) for at, r in theirs.records.scan()
        ]
        assert ours.records.offsets.tolist() == theirs.records.offsets.tolist()
        asked = np.array(theirs.records.keys.tolist()[::-1])
        for mine, other in zip(ours.records.headers(asked), theirs.records.headers(asked)):
            np.testing.assert_array_equal(mine, other)
        with pickle.loads(pickle.dumps(ours.records)) as copied:
            assert copied.rec_paths == ours.records.rec_paths and len(copied) == len(ours.records)


def test_without_idx_files_the_keys_come_from_all_shards(tmp_path):
    paths = in_shards(write_single(tmp_path / "one"), tmp_path / "set", [2, 7])
    for path in paths:
        path.with_suffix(".idx").unlink()
    with FaceSet.open(str(tmp_path / "set")) as faces:
        assert faces.labels.tolist() == [0, 0, 0, 1, 2, 2, 3, 3, 3, 3] and faces.records.idx_path is None
        assert bytes(faces.payload(9)) == b"image" * 10 + MAGIC_BYTES
    in_shards(tmp_path / "one", tmp_path / "other", [2, 7])[1].with_suffix(".idx").unlink()
    with pytest.raises(InsightError, match=r"train-00001-of-00003\.idx: no such file; `insight dataset-repair "):
        FaceSet.open(str(tmp_path / "other"))


class TestFilesThatDoNotBelongTogether:
    """One clear line each, whatever is opened: the folder, the prefix or a shard."""

    @pytest.fixture
    def paths(self, tmp_path):
        return in_shards(write_single(tmp_path / "one"), tmp_path / "set", [2, 6])

    def refused(self, paths, message):
        for path in (paths[0].parent, paths[0].parent / "train", paths[1]):
            with pytest.raises(InsightError, match=message) as caught:
                FaceSet.open(str(path))
            assert "\n" not in str(caught.value)

    def copy(self, source, target):
        for ending in (".rec", ".idx"):
            target.with_suffix(ending).write_bytes(source.with_suffix(ending).read_bytes())

    def test_a_shard_under_the_name_of_another(self, paths):
        self.copy(paths[0], paths[1])
        self.refused(
            paths, r"train-00001-of-00003\.idx: key 1 is also in train-00000-of-00003\.idx; these shards are not"
        )

    @pytest.mark.parametrize("payload", [b"image", b"another"])
    def test_a_shard_of_another_set_with_keys_of_a_neighbour(self, paths, tmp_path, payload):
        other = in_shards(write_single(tmp_path / "two", [4, 4], payload=payload), tmp_path / "other", [2, 7])
        self.copy(other[1], paths[1])
        self.refused(
            paths, r"train-00002-of-00003\.idx: key 7 is also in train-00001-of-00003\.idx; these shards are not"
        )

    def test_a_shard_of_another_set_with_fewer_keys(self, paths, tmp_path):
        other = in_shards(write_single(tmp_path / "two", [4, 4]), tmp_path / "other", [2, 5])
        self.copy(other[1], paths[1])
        self.refused(
            paths,
            r"train-\*-of-00003\.idx: 9 images, the header record \(key 0\) says 10; a shard is of another set, or "
            r"its \.idx was cut: copy all files again; `insight dataset-repair \S+ --output \S+/set-repaired` ",
        )

    @pytest.mark.parametrize("shard", [0, 1])
    def test_an_idx_that_was_cut_at_a_line(self, paths, shard):
        path = paths[shard].with_suffix(".idx")
        path.write_text("".join(path.read_text().splitlines(True)[:-1]))
        self.refused(
            paths, r"train-\*-of-00003\.idx: 9 images, the header record \(key 0\) says 10; a shard is of another"
        )

    def test_an_idx_that_was_cut_inside_a_line(self, paths):
        path = paths[1].with_suffix(".idx")
        path.write_text(path.read_text()[:-5] + "x")
        self.refused(
            paths, r"train-00001-of-00003\.idx:4: want an integer key, .* found '6.*'; `insight dataset-repair "
        )

    def test_the_last_idx_without_identities(self, paths):
        path = paths[2].with_suffix(".idx")
        path.write_text("".join(path.read_text().splitlines(True)[:-1]))
        self.refused(
            paths, r"train-\*-of-00003\.idx: 3 identity records, the header record \(key 0\) says 4; the \.idx was"
        )

    def test_a_key_twice_in_one_shard(self, paths):
        path = paths[1].with_suffix(".idx")
        path.write_text(path.read_text().replace("5\t", "4\t"))
        self.refused(
            paths, r"train-00001-of-00003\.idx: key 4 occurs twice; .* `insight dataset-repair \S+/train-00001-of-"
        )

    def test_shards_that_changed_their_names_are_the_same_set(self, paths, tmp_path):
        self.copy(paths[0], tmp_path / "kept.rec")
        self.copy(paths[1], paths[0])
        self.copy(tmp_path / "kept.rec", paths[1])
        with FaceSet.open(str(paths[0])) as ours, FaceSet.open(str(tmp_path / "one")) as theirs:
            assert ours.labels.tolist() == theirs.labels.tolist()
            assert [bytes(ours.payload(i)) for i in range(10)] == [bytes(theirs.payload(i)) for i in range(10)]

    def test_names_of_another_number_of_digits_are_no_shards(self, paths):
        for path in paths:
            for ending in (".rec", ".idx"):
                path.with_suffix(ending).rename(path.with_name(path.stem.replace("-0", "-00") + ending))
        with pytest.raises(
            InsightError, match=r"set: holds train-000000-of-000003\.rec, train-000001-of-000003\.rec, "
        ):
            FaceSet.open(str(paths[0].parent))


def test_large_files_have_wide_offsets(tmp_path, monkeypatch):
    monkeypatch.setattr("insight.formats.recordio._NARROW", 400)
    single = write_single(tmp_path / "one")
    with (
        RecordFile(str(in_shards(single, tmp_path / "set", [3])[0])) as ours,
        RecordFile(str(single / "train.rec")) as one,
    ):
        assert [words.dtype for words in ours._words] == [np.uint32, np.int64]
        assert ours.offsets.tolist() == one.offsets.tolist()


class TestWhichSet:
    def test_by_folder_prefix_or_any_shard(self, tmp_path):
        paths = in_shards(write_single(tmp_path / "one"), tmp_path / "set", [4])
        for path in (tmp_path / "set", tmp_path / "set/train", *paths):
            assert find_rec(str(path)) == str(paths[0])
        assert shards.pattern(paths[1]) == f"{tmp_path}/set/train-*-of-00002.rec"
        assert shards.sets_in(tmp_path / "set") == ["train-00000-of-00002.rec"]

    @pytest.mark.parametrize("lost", [0, 1, 2])
    def test_a_missing_shard(self, tmp_path, lost):
        paths = in_shards(write_single(tmp_path / "one"), tmp_path / "set", [2, 5])
        paths[lost].unlink()
        message = rf"train-0000{lost}-of-00003\.rec: missing, and the set consists of 3 shards; copy all"
        for path in (tmp_path / "set", tmp_path / "set/train", paths[lost - 1]):
            with pytest.raises(InsightError, match=message):
                FaceSet.open(str(path))

    def test_two_sets_of_one_name(self, tmp_path):
        in_shards(write_single(tmp_path / "one"), tmp_path / "set", [2])
        for path in (tmp_path / "one").glob("train.*"):
            path.rename(tmp_path / "set" / path.name)
        with pytest.raises(InsightError, match=r"set: holds train-00000-of-00002\.rec, train\.rec; give one of these"):
            FaceSet.open(str(tmp_path / "set"))
        with FaceSet.open(str(tmp_path / "set/train.rec")) as faces:
            assert len(faces.records.rec_paths) == 1
        assert shards.existing(tmp_path / "set", "train") == [
            *("train.rec", "train.idx", "train-00000-of-00002.rec", "train-00000-of-00002.idx"),
            *("train-00001-of-00002.rec", "train-00001-of-00002.idx"),
        ]

    def test_train_among_others(self, tmp_path):
        in_shards(write_single(tmp_path / "one"), tmp_path / "set", [2])
        (tmp_path / "one/train.rec").rename(tmp_path / "set/val.rec")
        assert find_rec(str(tmp_path / "set")).endswith("train-00000-of-00002.rec")

    @pytest.mark.parametrize("name", ["train-00002-of-00002.rec", "train-00000-of-00001.rec", "a-1-of-2.rec", "b.rec"])
    def test_names_that_are_no_shards(self, name):
        assert shards.parse(name) is None and shards.members(name) == [name]


def test_damage_names_the_shard(tmp_path):
    paths = in_shards(write_single(tmp_path / "one"), tmp_path / "set", [4])
    data = bytearray(paths[1].read_bytes())
    data[0] ^= 1
    paths[1].write_bytes(data)
    with pytest.raises(
        InsightError, match=r"train-00001-of-00002\.rec: not a RecordIO file .* --output \S+/set-repaired`"
    ):
        FaceSet.open(str(tmp_path / "set"))
    data[0] ^= 1
    fourth = int(paths[1].with_suffix(".idx").read_text().splitlines()[3].split("\t")[1])
    data[fourth] ^= 1  # inside an identity, so that it is not read when the set is opened
    paths[1].write_bytes(data)
    with FaceSet.open(str(tmp_path / "set")) as faces:
        with pytest.raises(DamagedRecord, match=rf"train-00001-of-00002\.rec: key 8 at offset {fourth}: magic"):
            faces.payload(7)
    paths[0].write_bytes(paths[0].read_bytes()[:-8])
    with pytest.raises(InsightError, match=r"train-00000-of-00002\.rec: key 4 should be at offset|truncated"):
        with FaceSet.open(str(tmp_path / "set")) as faces:
            faces.payload(3)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="not Linux")
def test_an_open_set_has_no_pages_of_its_files(tmp_path):
    """A set larger than memory would seem to fill it, and a run's predicted memory with it."""

    def mapped():
        return int(re.search(r"RssFile:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10

    in_shards(write_single(tmp_path / "one", [1] * 300, indexed=False, payload=bytes(150)), tmp_path / "set", [100])
    before = mapped()
    with FaceSet.open(str(tmp_path / "set")) as faces:  # reads the label of each image
        assert faces.records.bytes > 6_000_000 and mapped() - before < 1_000_000
        assert len(faces.payload(250)) == 250 * 150 + len(MAGIC_BYTES)  # and reads on
        list(faces.records.scan())
        assert mapped() - before > 5_000_000


def test_read_ahead_reads_each_span_once_in_the_order_of_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr("insight.formats.recordio._GAP_BYTES", 64)
    monkeypatch.setattr("insight.formats.recordmap.READ_BYTES", 40)
    paths = in_shards(write_single(tmp_path / "one"), tmp_path / "set", [6])
    asked = []
    with FaceSet.open(str(tmp_path / "set")) as faces:
        for one in faces.records._maps.files:
            original = one.read_ahead
            one.read_ahead = lambda b, e, one=one, original=original: asked.append((one.path, b, e)) or original(b, e)
        offsets = faces.records.offsets
        parts = list(faces.read_ahead(np.array([7, 0, 5, 1])))
    first = int(np.sum([path.stat().st_size for path in paths[:1]]))
    assert asked == [
        (str(paths[0]), 0, int(offsets[1]) + 64),
        (str(paths[0]), int(offsets[5]), int(offsets[5]) + 64),
        (str(paths[1]), int(offsets[7]) - first, int(offsets[7]) - first + 64),
    ]
    assert max(parts) <= 40 and sum(parts) == sum(e - b for _, b, e in asked)
