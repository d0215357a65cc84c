"""All layouts of MXNet-era tools, written by ``mx.recordio`` as these tools do."""

import os
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight._mxnet import mx
from insight.check.check import check
from insight.check.layout import Layout
from insight.check.records import Records
from insight.check.rules import Findings
from insight.errors import InsightError
from insight.formats import identities
from insight.formats.faceset import FaceSet
from insight.formats.framing import MAGIC_BYTES, id2_of
from insight.formats.property import Property, write_property
from insight.formats.recordio import RecordFile, RecordWriter

pack, IRHeader = mx.recordio.pack, mx.recordio.IRHeader
JPEG = bytes.fromhex("ffd8ffc0000b080070006001011100ffda0008010100003f00aaffd9")  # headers of 112 high, 96 wide
LABELS = [0, 0, 0, 1, 2, 2]


def payload(i):
    return JPEG + bytes([i])


def open_writer(folder, name="train"):
    return mx.recordio.MXIndexedRecordIO(str(folder / f"{name}.idx"), str(folder / f"{name}.rec"), "w")


def ranges_of(labels):
    """[first, last + 1) keys of runs, first key 1, in plain Python."""
    ranges = []
    for key, label in enumerate(labels, 1):
        if key > 1 and labels[key - 2] == label:
            ranges[-1][1] = key + 1
        else:
            ranges.append([key, key + 1])
    return ranges


def face2rec2(folder, labels=LABELS):
    """Vector labels; key 0 between images and identities (InsightFace src/data/face2rec2.py)."""
    out = open_writer(folder)
    for key, label in enumerate(labels, 1):
        out.write_idx(key, pack(IRHeader(0, [label, 1], key, 0), payload(key)))
    ranges, first = ranges_of(labels), len(labels) + 1
    out.write_idx(0, pack(IRHeader(2, [float(first), float(first + len(ranges))], 0, 0), b""))
    for key, edges in enumerate(ranges, first):
        out.write_idx(key, pack(IRHeader(2, edges, key, 0), b""))
    out.close()


def dataset_merge(folder, labels=LABELS):
    """Scalar labels; key 0 last (InsightFace src/data/dataset_merge.py, rec_builder.py)."""
    out = open_writer(folder)
    for key, label in enumerate(labels, 1):
        out.write_idx(key, pack(IRHeader(0, label, key, 0), payload(key)))
    ranges, first = ranges_of(labels), len(labels) + 1
    for key, edges in enumerate(ranges, first):
        out.write_idx(key, pack(IRHeader(1, tuple(edges), key, 0), b""))
    out.write_idx(0, pack(IRHeader(1, (first, first + len(ranges)), 0, 1), b""))
    out.close()


def plain_from_zero(folder, labels=LABELS):
    """im2rec and SeqRecBuilder: every key an image, keys 0..N-1."""
    out = open_writer(folder)
    for key, label in enumerate(labels):
        out.write_idx(key, pack(IRHeader(0, label, key, 0), payload(key + 1)))
    out.close()


def plain_vectors_from_one(folder, labels=LABELS):
    """im2rec --pack-label with a list that counts from 1."""
    out = open_writer(folder)
    for key, label in enumerate(labels, 1):
        out.write_idx(key, pack(IRHeader(0, [label, 7.5], key, 0), payload(key)))
    out.close()


def plain_vectors_from_zero(folder, labels=LABELS):
    """Two labels per image and an image at key 0, which must not be read as a header."""
    out = open_writer(folder)
    for key, label in enumerate(labels):
        out.write_idx(key, pack(IRHeader(0, [label, 1], key, 0), payload(key + 1)))
    out.close()


FROM_ZERO = (plain_from_zero, plain_vectors_from_zero)
WRITERS = [face2rec2, dataset_merge, *FROM_ZERO, plain_vectors_from_one]


@pytest.mark.parametrize("write", WRITERS)
def test_same_faces_from_every_layout(tmp_path, write):
    write(tmp_path)
    write_property(tmp_path, Property(3, 112, 96))
    with FaceSet.open(str(tmp_path)) as faces:
        assert len(faces) == len(LABELS)
        assert faces.images.tolist() == list(range(6)) if write in FROM_ZERO else list(range(1, 7))
        assert faces.labels.tolist() == LABELS
        assert faces.labels.dtype == np.int32 and faces.images[:].dtype == np.int64
        assert faces.identities.tolist() == [[0, 3], [3, 4], [4, 6]]
        assert (faces.num_classes, faces.image_size) == (3, (112, 96))
        assert [bytes(faces.payload(i)) for i in range(6)] == [payload(i) for i in range(1, 7)]
        assert faces.indexed == (write in (face2rec2, dataset_merge))
        assert any("no header record" in note for note in faces.notes) == (not faces.indexed)


@pytest.mark.parametrize("write", WRITERS)
def test_a_missing_property_is_derived_with_a_note(tmp_path, write):
    write(tmp_path)
    faces = FaceSet.open(str(tmp_path))
    assert (faces.num_classes, faces.image_size) == (3, (112, 96))
    assert any("derived 3,112,96" in note for note in faces.notes)


@pytest.mark.parametrize("write", WRITERS)
def test_without_an_idx_the_file_is_scanned(tmp_path, write):
    write(tmp_path)
    with_idx = FaceSet.open(str(tmp_path))
    os.remove(tmp_path / "train.idx")
    faces = FaceSet.open(str(tmp_path))
    assert faces.labels.tolist() == LABELS
    assert faces.images.tolist() == with_idx.images.tolist()
    assert [bytes(faces.payload(i)) for i in range(6)] == [payload(i) for i in range(1, 7)]
    assert any("has no .idx beside it; its" in note for note in faces.notes)


def test_shuffled_records_without_ids_or_an_idx(tmp_path):
    """MXRecordIO alone, as rec2shufrec writes them; repeated ids are not keys."""
    out = mx.recordio.MXRecordIO(str(tmp_path / "train.rec"), "w")
    for i, label in enumerate([3, 1, 3, 0]):
        out.write(pack(IRHeader(0, label, 7, 0), payload(i)))
    out.close()
    (tmp_path / "property").write_text("4,112,96\n4\nshuffled\n2021-06-19\n")
    faces = FaceSet.open(str(tmp_path))
    assert faces.images.tolist() == [0, 1, 2, 3]
    assert faces.labels.tolist() == [3, 1, 3, 0]
    assert faces.num_classes == 4


@pytest.mark.parametrize("write", [face2rec2, dataset_merge])
def test_labels_of_an_indexed_set_do_not_read_every_image(tmp_path, write, monkeypatch):
    write(tmp_path, [0] * 50 + [1] * 50)
    asked = []
    original = RecordFile.headers

    def headers(self, keys):
        asked.extend(keys.tolist())
        return original(self, keys)

    monkeypatch.setattr(RecordFile, "headers", headers)
    assert FaceSet.open(str(tmp_path)).labels.tolist() == [0] * 50 + [1] * 50
    assert sorted(asked) == [1, 50, 51, 100, 101, 102]  # the last two are the identity records


def test_a_label_in_two_runs_keeps_both(tmp_path):
    face2rec2(tmp_path, [0, 1, 0, 0])
    faces = FaceSet.open(str(tmp_path))
    assert faces.labels.tolist() == [0, 1, 0, 0]
    assert faces.identities.tolist() == [[0, 1], [1, 2], [2, 4]]
    assert faces.num_classes == 2


def test_identity_records_that_do_not_fit_are_ignored(tmp_path):
    out = open_writer(tmp_path)
    for key, label in enumerate([0, 0, 1, 1], 1):
        out.write_idx(key, pack(IRHeader(0, label, key, 0), payload(key)))
    for key, edges in ((5, (1, 4)), (6, (4, 5))):  # the third image is the second identity's
        out.write_idx(key, pack(IRHeader(0, edges, key, 0), b""))
    out.write_idx(0, pack(IRHeader(0, (5, 7), 0, 0), b""))
    out.close()
    faces = FaceSet.open(str(tmp_path))
    assert faces.labels.tolist() == [0, 0, 1, 1]
    assert faces.identities.tolist() == [[0, 2], [2, 4]]
    assert any("the labels are used" in note for note in faces.notes)


def test_paths(tmp_path):
    face2rec2(tmp_path)
    for path in (tmp_path, tmp_path / "train", tmp_path / "train.rec"):
        assert FaceSet.open(str(path)).rec_path == str(tmp_path / "train.rec")
    os.symlink(tmp_path / "train.rec", tmp_path / "more.rec")
    assert FaceSet.open(str(tmp_path)).rec_path == str(tmp_path / "train.rec")
    os.rename(tmp_path / "train.rec", tmp_path / "other.rec")
    with pytest.raises(InsightError, match=r"holds more\.rec, other\.rec; give one"):
        FaceSet.open(str(tmp_path))
    with pytest.raises(InsightError, match=r"nothing: no such folder, \.rec file or prefix"):
        FaceSet.open(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InsightError, match=r"empty: holds no \.rec"):
        FaceSet.open(str(tmp_path / "empty"))


def test_an_unfinished_set_is_refused(tmp_path):
    face2rec2(tmp_path)
    journal = tmp_path / ".commit.property.999999999.json"
    journal.write_text('{"names": ["train.rec", "train.idx", "property"]}')
    for path in (tmp_path, tmp_path / "train.rec"):
        with pytest.raises(
            InsightError, match=r"train\.rec: the command that wrote it was killed before it had finished"
        ):
            FaceSet.open(str(path))
    write_property(tmp_path, Property(3, 112, 96))  # the mark: the commit was complete
    assert len(FaceSet.open(str(tmp_path))) == 6


def test_a_set_without_images_or_with_strange_labels(tmp_path):
    (tmp_path / "a.rec").touch()
    (tmp_path / "a.idx").touch()
    with pytest.raises(InsightError, match=r"a\.rec: holds no image"):
        FaceSet.open(str(tmp_path / "a"))
    out = open_writer(tmp_path)
    out.write_idx(4, pack(IRHeader(0, 2.5, 4, 0), payload(4)))
    out.close()
    with pytest.raises(InsightError, match=r"train\.rec: key 4 has label 2.5, want the integer"):
        FaceSet.open(str(tmp_path / "train"))


def test_a_truncated_index_is_refused(tmp_path):
    face2rec2(tmp_path)
    lines = (tmp_path / "train.idx").read_text().splitlines(keepends=True)
    (tmp_path / "train.idx").write_text("".join(lines[:-1]))
    with pytest.raises(InsightError, match=r"train\.idx: 2 identity records, the header record \(key 0\) says 3"):
        FaceSet.open(str(tmp_path))


def test_fingerprints_of_different_sets_differ(tmp_path):
    prints = []
    for name, labels in (("a", LABELS), ("b", LABELS), ("c", [0, 0, 0, 1, 1, 2])):
        (tmp_path / name).mkdir()
        dataset_merge(tmp_path / name, labels)
        prints.append(FaceSet.open(str(tmp_path / name)).fingerprint())
    write_property(tmp_path / "b", Property(4, 112, 96))
    prints.append(FaceSet.open(str(tmp_path / "b")).fingerprint())
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_a_damaged_payload_raises_with_its_key(tmp_path):
    face2rec2(tmp_path)
    faces = FaceSet.open(str(tmp_path))
    offset = faces.records.offsets[1]
    with open(tmp_path / "train.rec", "r+b") as rec:
        rec.seek(offset)
        rec.write(b"\0\0\0\0")
    with pytest.raises(InsightError, match=rf"train\.rec: key 2 at offset {offset}: magic 0x00000000"):
        faces.payload(1)


LARGE = st.one_of(st.integers(0, 9), st.integers(-6, 6).map((1 << 24).__add__), st.integers(1 << 24, (1 << 31) - 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(LARGE, min_size=1, max_size=12), st.booleans())
def test_labels_above_2_to_24_are_exact(tmp_path_factory, labels, vectors):
    """By the headers of all images at once, by reading each, and for the reader of damaged sets."""
    folder = tmp_path_factory.mktemp("set")
    with RecordWriter(str(folder / "train.rec")) as writer:
        for key, label in enumerate(labels):
            magic = MAGIC_BYTES * (key % 2)  # which is not read with the others
            writer.write(key, payload(key) + magic, (label, 1) if vectors else label, key, id2_of(label))
    with FaceSet.open(str(folder)) as faces:
        assert faces.labels.tolist() == labels
        assert [faces.records.read(key).first for key in range(len(labels))] == labels
        # as MXNet and InsightFace see them
        assert [np.ravel(faces.records.read(k).label)[0] for k in range(len(labels))] == list(map(np.float32, labels))
    with closing(Records(str(folder / "train.rec"), Findings())) as records:
        assert records.first.tolist() == labels and Layout(records, Findings()).labels.tolist() == labels


@pytest.mark.parametrize(
    ("label", "id2", "want"),
    [
        (2**24 + 3, 0, 2**24 + 4),  # of another tool
        (2**24 + 4, 77, 2**24 + 4),  # an id2 that means something else
        (2**24 + 4, 2**24 + 6, 2**24 + 4),
        (2**24, 2**24 + 1, 2**24 + 1),
        (5, 6, 5),
        (2**24 - 1, 2**24, 2**24 - 1),
        (2**24 + 4, 2**64 - 1, 2**24 + 4),
    ],
)
def test_id2_counts_only_if_float32_makes_the_label_of_it(tmp_path, label, id2, want):
    with RecordWriter(str(tmp_path / "train.rec")) as writer:
        writer.write(0, payload(0), label, 0, id2)
    with FaceSet.open(str(tmp_path)) as faces:
        assert faces.labels.tolist() == [want] == [faces.records.read(0).first]


@pytest.mark.parametrize("known", [True, False], ids=["of this package", "of another tool"])
@pytest.mark.parametrize("end", [2**24 + 9, 2**25 + 31])
def test_identities_above_2_to_24_images(tmp_path, monkeypatch, known, end):
    """The last images of a large set; the keys of the others are missing."""
    if not known:
        monkeypatch.setattr("insight.formats.recordwriter.id2_of", lambda first: 0)
    sizes = [12, 1, 1, 4, 1, 2, 5, 1, 1, 7]
    ends = np.cumsum(sizes) + end - sum(sizes)
    labels = np.repeat(np.arange(len(sizes)), sizes).tolist()
    with RecordWriter(str(tmp_path / "train.rec")) as writer:
        for key, label in enumerate(labels, end - len(labels)):
            writer.write(key, payload(label), (label, 1), key)
        ranges = np.stack([ends - sizes, ends], axis=1).tolist()
        ranges[0][0] = 1
        writer._stream.write_identities(ranges, end - 1, header_first=True)
    write_property(tmp_path, Property(len(sizes), 112, 96))
    asked, headers = [], RecordFile.headers
    monkeypatch.setattr(RecordFile, "headers", lambda self, keys: asked.extend(keys) or headers(self, keys))
    with FaceSet.open(str(tmp_path)) as faces:
        assert faces.labels.tolist() == labels and not faces.notes
        assert faces.identities.tolist() == identities.runs(faces.labels).tolist()
    images = [key for key in asked if end - len(labels) <= key < end - 8]  # the last ones are near the header's number
    assert max(images.count(key) for key in images) <= 2 or not known
    findings = {finding.code for finding in check(str(tmp_path)).findings if finding.severity == "error"}
    assert findings == {"key-gap"}


class Rounded:
    """A set of 2^24 + many images that only exists as labels; records would take half a gigabyte."""

    def __init__(self, sizes):
        self.labels = np.repeat(np.arange(len(sizes)) % 7, sizes)
        self.ends = np.cumsum(sizes) + 1
        self.begins = self.ends - sizes
        self.asked = 0

    def labels_of(self, keys):
        assert keys.min() >= 1
        assert keys.max() <= len(self.labels)
        self.asked += len(keys)
        return self.labels[keys - 1]


@pytest.mark.parametrize("before", [-3, 0, 1, 2**24 - 1, 2**25 - 2**24])
def test_ranges_stay_exact_beyond_float32(before):
    """Edges at and after 2^24 (spacing 2) and 2^25 (spacing 4), single images among them."""
    rng = np.random.default_rng(before + 3)
    sizes = np.concatenate([[2**24 + before], rng.integers(1, 6, 3000)])
    made = Rounded(sizes)
    stored = np.stack([made.begins, made.ends], axis=1).astype(np.float32).astype(np.int64)
    if before > 0:
        assert (stored[:, 0] != made.begins).any()
    exact = identities.exact_ranges(stored, int(made.ends[-1]), made.labels_of)
    assert np.array_equal(exact, np.stack([made.begins, made.ends], axis=1))
    assert made.asked < 30 * len(sizes)


@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("write", [face2rec2, dataset_merge])
def test_rounded_headers_are_corrected(tmp_path, write, off, monkeypatch):
    """Above 2^24 key 0 may be off by one record; here the limit is set to 3, and the header is changed by hand."""
    labels = [0, 0, 0, 1, 2, 2, 3, 3]
    write(tmp_path, labels)
    write_property(tmp_path, Property(4, 112, 96))
    with RecordFile(str(tmp_path / "train.rec")) as records:
        offset = int(records.offsets[records.keys.tolist().index(0)])
    with open(tmp_path / "train.rec", "r+b") as rec:
        rec.seek(offset + 8 + 24)
        rec.write(np.float32([9 + off, 13 + off]).tobytes())
    with RecordFile(str(tmp_path / "train.rec")) as records:
        offset = int(records.offsets[records.keys.tolist().index(10)])
    with open(tmp_path / "train.rec", "r+b") as rec:
        rec.seek(offset + 8 + 24)
        rec.write(np.float32([4, 4]).tobytes())  # [4, 5) of a single image, rounded to an empty range
    monkeypatch.setattr(identities, "EXACT_FLOAT32", 3)
    monkeypatch.setattr(identities, "float32_steps", lambda values: np.asarray(values) * 0 + 2)
    faces = FaceSet.open(str(tmp_path))
    assert faces.labels.tolist() == labels
    assert faces.identities.tolist() == [[0, 3], [3, 4], [4, 6], [6, 8]]
    assert not faces.notes


def test_a_set_of_rec_builder_opens(tmp_path):
    """Its property has a second line, the number of records; train.meta beside it is never read."""
    dataset_merge(tmp_path)
    (tmp_path / "property").write_text(f"3,112,96\n{len(LABELS)}\n")
    (tmp_path / "train.meta").write_bytes(b"\x80\x05]\x94.")
    with FaceSet.open(str(tmp_path)) as faces:
        assert (faces.num_classes, faces.image_size, faces.labels.tolist()) == (3, (112, 96), LABELS)
        assert faces.notes == []
