"""Bytes of records, lists and verification sets, as literals.

Derived from the definition of the formats (dmlc-core's recordio.h, mx.recordio.pack, Python's
pickletools) and checked once against files of MXNet 1.9.1 and InsightFace's face2rec2.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from insight.formats.evalbin import read_bin, write_bin
from insight.formats.faceset import FaceSet
from insight.formats.framing import frame, record_data
from insight.formats.recordio import RecordFile, RecordWriter
from insight.formats.recordwriter import ShardStream

MAGIC = bytes.fromhex("0a23d7ce")  # 0xced7230a, little-endian

SCALAR = bytes.fromhex(
    "0a23d7ce"  # magic
    "1d000000"  # whole record, 29 bytes
    "00000000"  # flag 0: the label is in the header
    "0000e040"  # label 7.0
    "0300000000000000"  # id 3
    "0900000000000000"  # id2 9
    "ffd8616263"  # payload
    "000000"  # to a multiple of 4
)
VECTOR = bytes.fromhex(
    "0a23d7ce"
    "24000000"  # 36 bytes
    "02000000"  # flag 2: two labels follow
    "00000000"
    "0100000000000000"
    "0000000000000000"
    "0000a040"  # 5.0
    "0000803f"  # 1.0
    "ffd8ffd9"
)
EMPTY_HEADER = bytes.fromhex(  # key 0 of a set of two images and one identity: [3, 4]
    "0a23d7ce20000000020000000000000000000000000000000000000000000000" + "0000404000008040"
)
# the magic occurs in the payload twice: at offset 24, a multiple of 4, and at 33, which is not
IN_PARTS_PAYLOAD = MAGIC + b"12345" + MAGIC + b"6"
IN_PARTS = bytes.fromhex(
    "0a23d7ce"
    "18000020"  # first part (1 << 29), 24 bytes: the header
    "0000000000000000" + "0100000000000000" + "0000000000000000"
    # here the magic was
    "0a23d7ce"
    "0a000060"  # last part (3 << 29), 10 bytes
    "31323334350a23d7ce36"
    "0000"
)
THREE_PARTS_DATA = MAGIC * 2 + b"x"
THREE_PARTS = bytes.fromhex(
    "0a23d7ce00000020"  # first part, empty
    "0a23d7ce00000040"  # middle part (2 << 29), empty
    "0a23d7ce01000060" + "78000000"  # last part
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (record_data(b"\xff\xd8abc", 7, 3, 9), SCALAR),
        (record_data(b"\xff\xd8\xff\xd9", (5, True), 1), VECTOR),
        (record_data(b"", [3, 4], 0), EMPTY_HEADER),
        (record_data(IN_PARTS_PAYLOAD, 0.0, 1), IN_PARTS),
        (THREE_PARTS_DATA, THREE_PARTS),
    ],
    ids=["scalar", "vector", "header", "parts", "three parts"],
)
def test_frames(data, expected):
    assert frame(data) == expected


def test_reader_takes_the_literal_bytes(tmp_path):
    records = [SCALAR, VECTOR, EMPTY_HEADER, IN_PARTS]
    offsets = np.cumsum([0] + [len(r) for r in records])
    (tmp_path / "a.rec").write_bytes(b"".join(records))
    (tmp_path / "a.idx").write_text("".join(f"{key}\t{at}\n" for key, at in zip((10, 11, 0, 12), offsets)))
    with RecordFile(str(tmp_path / "a.rec")) as opened:
        flag, label, id, id2, payload = opened.read(10)
        assert (flag, label, id, id2, bytes(payload)) == (0, 7.0, 3, 9, b"\xff\xd8abc")
        vector = opened.read(11)
        assert (vector.flag, vector.label.tolist(), vector.id) == (2, [5.0, 1.0], 1)
        assert vector.label.dtype == np.float32
        assert opened.read(0).label.tolist() == [3.0, 4.0]
        assert len(opened.read(0).payload) == 0
        assert bytes(opened.read(12).payload) == IN_PARTS_PAYLOAD
        assert opened.keys.tolist() == [10, 11, 0, 12]


def test_set_of_two_images(tmp_path):
    """An indexed set, byte for byte: images, header, identity record; and its index."""
    with RecordWriter(str(tmp_path / "train.rec")) as writer:
        writer.write(1, b"\xff\xd8\xff\xd9", (5, 1), 1)
        writer.write(2, b"\xff\xd8\xff\xd9", (5, 1), 2)
        writer.write(0, b"", (3, 4), 0)
        writer.write(3, b"", (1, 3), 3)
    second = VECTOR[:16] + b"\x02" + VECTOR[17:]
    identity = EMPTY_HEADER[:16] + b"\x03" + EMPTY_HEADER[17:32] + bytes.fromhex("0000803f00004040")
    assert (tmp_path / "train.rec").read_bytes() == VECTOR + second + EMPTY_HEADER + identity
    assert (tmp_path / "train.idx").read_bytes() == b"1\t0\n2\t44\n0\t88\n3\t128\n"
    (tmp_path / "property").write_text("6,112,112")
    with FaceSet.open(str(tmp_path)) as faces:
        assert faces.images.tolist() == [1, 2]
        assert faces.labels.tolist() == [5, 5]
        assert faces.identities.tolist() == [[0, 2]]


def test_shards_of_two_images(tmp_path):
    """The same set in three files: offsets count from the begin of each; the last has header and identity record."""
    names = [(tmp_path / f"train-0000{i}-of-00003.rec", tmp_path / f"train-0000{i}-of-00003.idx") for i in range(3)]
    with ShardStream(names, 3) as stream:  # one of three images turned out to be unusable
        for key in (1, 2):
            assert stream.room(key - 1) == 1
            stream.write(key, b"\xff\xd8\xff\xd9", (5, 1), key)
        stream.write_identities([(1, 3)], 2, header_first=True)
    second = VECTOR[:16] + b"\x02" + VECTOR[17:]
    identity = EMPTY_HEADER[:16] + b"\x03" + EMPTY_HEADER[17:32] + bytes.fromhex("0000803f00004040")
    assert [rec.read_bytes() for rec, _ in names] == [VECTOR, second, EMPTY_HEADER + identity]
    assert [idx.read_bytes() for _, idx in names] == [b"1\t0\n", b"2\t0\n", b"0\t0\n3\t40\n"]
    (tmp_path / "property").write_text("6,112,112")
    with FaceSet.open(str(tmp_path)) as faces:
        assert faces.images.tolist() == [1, 2]
        assert faces.labels.tolist() == [5, 5]
        assert faces.identities.tolist() == [[0, 2]]


PYTHON2_BIN = (  # ([b"\xff\xd8a", b"\xff\xd8b"], [True]) in protocol 2, with Python 2's instruction for strings
    b"\x80\x02]q\x00(T\x03\x00\x00\x00\xff\xd8aT\x03\x00\x00\x00\xff\xd8be]q\x01\x88a\x86."
)


def test_verification_bin(tmp_path):
    write_bin(tmp_path / "a.bin", [b"\xff\xd8a", b"\xff\xd8b"], [True])
    assert (tmp_path / "a.bin").read_bytes() == PYTHON2_BIN
    assert pickle.loads(PYTHON2_BIN, encoding="bytes") == ([b"\xff\xd8a", b"\xff\xd8b"], [True])
    images, issame = read_bin(tmp_path / "a.bin")
    assert [bytes(image) for image in images] == [b"\xff\xd8a", b"\xff\xd8b"]
    assert issame.tolist() == [True]
