"""Records compared with ``mx.recordio`` in both directions, and the errors of damaged files."""

import os
import pickle
import struct
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight._mxnet import mx
from insight.errors import InsightError
from insight.formats.framing import MAGIC_BYTES
from insight.formats.recordio import RecordFile, RecordWriter

recordio = mx.recordio
payloads = st.lists(st.one_of(st.binary(max_size=9), st.just(MAGIC_BYTES)), max_size=5).map(b"".join)
scalars = st.floats(width=32, allow_nan=False)
labels = st.one_of(scalars, st.lists(scalars, min_size=1, max_size=4))
records = st.tuples(payloads, labels, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


def write_with_mxnet(folder, rows, name="train"):
    """rows: (key, payload, label, id, id2)."""
    out = recordio.MXIndexedRecordIO(str(folder / f"{name}.idx"), str(folder / f"{name}.rec"), "w")
    for key, payload, label, id, id2 in rows:
        out.write_idx(key, recordio.pack(recordio.IRHeader(0, label, id, id2), payload))
    out.close()
    return str(folder / f"{name}.rec")


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(records, min_size=1, max_size=6), seed=st.integers(0, 99))
def test_same_bytes_as_mxnet_and_read_back(tmp_path_factory, rows, seed):
    folder = tmp_path_factory.mktemp("records")
    keys = np.random.default_rng(seed).permutation(len(rows) * 3)[: len(rows)].tolist()
    rows = [(key, *row) for key, row in zip(keys, rows)]
    theirs = write_with_mxnet(folder, rows)
    with RecordWriter(str(folder / "ours.rec")) as writer:
        for key, payload, label, id, id2 in rows:
            writer.write(key, payload, label, id, id2)
    assert (folder / "ours.rec").read_bytes() == (folder / "train.rec").read_bytes()
    assert (folder / "ours.idx").read_bytes() == (folder / "train.idx").read_bytes()
    with RecordFile(theirs) as opened:
        assert opened.keys.tolist() == keys
        for key, payload, label, id, id2 in rows:
            record = opened.read(key)
            assert bytes(record.payload) == payload
            assert np.array_equal(np.atleast_1d(np.float32(label)), np.atleast_1d(record.label))
            assert record.flag == (len(label) if isinstance(label, list) else 0)
            assert (record.id, record.id2) == (id, id2)
        flags, first, second, sizes = opened.headers(np.array(keys))
        assert sizes.tolist() == [len(payload) for _, payload, *_ in rows]
        assert first.tolist() == [
            np.float32(label[0] if isinstance(label, list) else label) for _, _, label, *_ in rows
        ]
        seconds = [label[1] if isinstance(label, list) and len(label) > 1 else np.nan for _, _, label, *_ in rows]
        np.testing.assert_array_equal(second, np.float32(seconds))
        assert flags.tolist() == [len(label) if isinstance(label, list) else 0 for _, _, label, *_ in rows]
        assert [bytes(record.payload) for _, record in opened.scan()] == [payload for _, payload, *_ in rows]


def test_mxnet_reads_what_is_written_here(tmp_path):
    rows = [
        (i * 2, os.urandom(50 + i) + MAGIC_BYTES * (i % 3) + b"z" * i, [i, 1] if i % 2 else i, i) for i in range(20)
    ]
    with RecordWriter(str(tmp_path / "a.rec")) as writer:
        for key, payload, label, id in rows:
            writer.write(key, payload, label, id)
    opened = recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(tmp_path / "a.rec"), "r")
    assert opened.keys == [key for key, *_ in rows]
    for key, payload, label, id in rows:
        header, read_payload = recordio.unpack(opened.read_idx(key))
        assert read_payload == payload
        assert header.id == id
        assert np.array_equal(np.atleast_1d(header.label), np.atleast_1d(np.float32(label)))


@pytest.fixture
def small(tmp_path):
    with RecordWriter(str(tmp_path / "a.rec")) as writer:
        for key in range(5):
            writer.write(key, bytes([key]) * 10, float(key), key)
    return tmp_path


def test_payload_is_a_view_that_outlives_the_reader(small):
    opened = RecordFile(str(small / "a.rec"))
    payload = opened.read(3).payload
    assert isinstance(payload, memoryview)
    assert payload.readonly
    opened.close()
    assert bytes(payload) == b"\3" * 10


def test_threads_forks_and_pickles(small):
    opened = RecordFile(str(small / "a.rec"))
    copy = pickle.loads(pickle.dumps(opened))
    wrong = []

    def read_all():
        for _ in range(200):
            wrong.extend(key for key in range(5) if bytes(opened.read(key).payload) != bytes([key]) * 10)

    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert bytes(copy.read(4).payload) == b"\4" * 10
    pid = os.fork()
    if not pid:
        os._exit(0 if bytes(opened.read(2).payload) == b"\2" * 10 else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_writer_removes_its_files_on_error_and_does_not_overwrite(tmp_path):
    def write_and_fail():
        with RecordWriter(str(tmp_path / "a.rec")) as writer:
            writer.write(1, b"x", 0)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []
    with RecordWriter(str(tmp_path / "a.rec")) as writer:
        writer.write(1, b"old", 0)
    with pytest.raises(InsightError, match=r"a\.idx: already exists"):
        RecordWriter(str(tmp_path / "a.rec"))
    writer = RecordWriter(str(tmp_path / "a.rec"), overwrite=True)
    writer.write(2, b"new", 0)
    writer.abort()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.idx", "a.rec"]
    assert bytes(RecordFile(str(tmp_path / "a.rec")).read(1).payload) == b"old"
    with RecordWriter(str(tmp_path / "a.rec"), overwrite=True) as writer:
        writer.write(3, b"newer", 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.idx", "a.rec"]
    assert bytes(RecordFile(str(tmp_path / "a.rec")).read(3).payload) == b"newer"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda b: b[:100],
            r"key 2 should be at offset 88, and the file has 100 bytes|key 3 should be at offset",
        ),
        (lambda b: b"RIFF" + b[4:], r"not a RecordIO file \(magic 0x46464952 at offset 0, want 0xced7230a\)"),
        (lambda b: b[:44] + b"\0" + b[45:], r"key 1 at offset 44: magic 0xced72300, want"),
        (
            lambda b: b[:52] + struct.pack("<I", 9) + b[56:],
            r"key 1 at offset 44: the header announces 9 labels in 34 bytes",
        ),
        (lambda b: b[:48] + struct.pack("<I", 12) + b[52:], r"key 1 at offset 44: 12 bytes are too few"),
        (lambda b: b[:48] + struct.pack("<I", 1 << 20) + b[52:], r"key 1 .* 1048576 bytes are announced, 168 are left"),
        (lambda b: b[:48] + struct.pack("<I", 2 << 29 | 34) + b[52:], r"key 1 .* the middle of a record"),
        (
            lambda b: b[:48] + struct.pack("<I", 1 << 29 | 34) + b[52:],
            r"key 1 at offset 88: the record's next part is missing",
        ),
    ],
)
def test_damage_is_named(small, damage, message):
    content = (small / "a.rec").read_bytes()
    assert len(content) == 5 * 44
    (small / "a.rec").write_bytes(damage(content))
    with pytest.raises(InsightError, match=message), RecordFile(str(small / "a.rec")) as opened:
        opened.read(1)
    with pytest.raises(InsightError), RecordFile(str(small / "a.rec")) as opened:
        opened.headers(np.arange(5))


def test_missing_files_and_keys_are_named(small):
    with pytest.raises(InsightError, match=r"b\.rec: no such file"):
        RecordFile(str(small / "b.rec"))
    with pytest.raises(InsightError, match="a folder, want a .rec"):
        RecordFile(str(small))
    opened = RecordFile(str(small / "a.rec"))
    with pytest.raises(InsightError, match=r"a\.idx: no key 17 among its 5 keys"):
        opened.read(17)
    with pytest.raises(InsightError, match="no key 5 among"):
        opened.headers(np.array([1, 5]))
    assert 4 in opened
    assert 5 not in opened
    assert -1 not in opened
    os.remove(small / "a.idx")
    with pytest.raises(InsightError, match=r"a\.idx: no such file"):
        RecordFile(str(small / "a.rec"), str(small / "a.idx"))
    scanned = RecordFile(str(small / "a.rec"))
    assert scanned.idx_path is None
    assert scanned.keys.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(InsightError, match=r"a\.rec: no key 17 among its 5 keys"):
        pickle.loads(pickle.dumps(scanned)).read(17)
    with open(small / "a.rec", "ab") as rec:
        rec.write(MAGIC_BYTES + b"\xff")
    with pytest.raises(InsightError, match=r"a\.rec: a record at offset 220: the file ends at 225: it was truncated"):
        RecordFile(str(small / "a.rec"))


def test_a_record_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("insight.formats.framing.LENGTH_MASK", 50)  # in place of 2^29 - 1
    with pytest.raises(InsightError, match="record of key 4: a record holds at most 50 bytes, this one has 54"):
        with RecordWriter(str(tmp_path / "a.rec")) as writer:
            writer.write(4, b"x" * 30, 0)
    assert list(tmp_path.iterdir()) == []
