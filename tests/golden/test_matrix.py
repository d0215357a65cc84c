"""Bytes of MegaFace's matrix files, as literals, and against a plain writer.

The header is four little-endian int32: rows, columns, bytes of a row, OpenCV's type.
"""

import struct

import numpy as np
import pytest

from insight.arrays.matrix import read_matrix, to_bytes
from insight.errors import InsightError

FEATURE = bytes.fromhex(
    "03000000"  # 3 rows
    "01000000"  # 1 column
    "04000000"  # 4 bytes a row
    "05000000"  # float32
    "0000803f"  # 1.0
    "000000bf"  # -0.5
    "cdcccc3d"  # 0.1
)
SCORES = bytes.fromhex(  # of the kit's Identification: probes x distractors
    "02000000" + "03000000" + "0c000000" + "05000000"
    # 1, 2, 3; 4, 5, 6
    "0000803f0000004000004040" + "000080400000a0400000c040"
)
DOUBLE = bytes.fromhex("01000000" + "02000000" + "10000000" + "06000000" + "000000000000f83f" + "00000000000000c0")
CASES = [
    (FEATURE, np.array([[1], [-0.5], [0.1]], np.float32)),
    (SCORES, np.array([[1, 2, 3], [4, 5, 6]], np.float32)),
    (DOUBLE, np.array([[1.5, -2]])),
]


@pytest.mark.parametrize(("data", "matrix"), CASES)
def test_literals(tmp_path, data, matrix):
    (tmp_path / "m.bin").write_bytes(data)
    read = read_matrix(tmp_path / "m.bin")
    assert (read.dtype, read.shape) == (matrix.dtype, matrix.shape)
    np.testing.assert_array_equal(read, matrix)
    assert to_bytes(matrix) == data


def test_a_vector_is_a_column():
    assert to_bytes(np.array([1, -0.5, 0.1], np.float32)) == FEATURE


def plain_writer(numbers):
    """InsightFace's write_bin, said again: the number of numbers, 1, 4, 5, and the numbers."""
    return b"".join([struct.pack("<i", value) for value in (len(numbers), 1, 4, 5)]) + b"".join(
        struct.pack("<f", number) for number in numbers
    )


@pytest.mark.parametrize("size", [1, 128, 513])
def test_features_equal_those_of_a_plain_writer(size):
    feature = np.random.default_rng(size).normal(size=size).astype(np.float32)
    assert to_bytes(feature) == plain_writer(feature.tolist())
    assert to_bytes(np.stack([feature, feature], 1)[:, 0]) == plain_writer(feature.tolist())  # not contiguous


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "m.bin: empty file; want an OpenCV matrix"),
        (FEATURE[:15], "m.bin: want an OpenCV matrix: int32 rows, .*; found 15 bytes"),
        (FEATURE[:-1], "m.bin: 3 rows of 4 bytes make 28 bytes with the header, found 27"),
        (FEATURE + b"x", "make 28 bytes with the header, found 29"),
        (FEATURE[:12] + b"\x04" + FEATURE[13:], "m.bin: want an OpenCV matrix: .*; found 3, 1, 4, 4"),
        (FEATURE[:8] + b"\x08" + FEATURE[9:], "found 3, 1, 8, 5"),
        (b"\0" * 4 + FEATURE[4:], "found 0, 1, 4, 5"),
        (b"\xff" * 4 + FEATURE[4:], "found -1, 1, 4, 5"),
        (b"\x80\x04}q\x00(X\x04\x00\x00\x00bins", "found 15 bytes"),
    ],
)
def test_damaged_files(tmp_path, data, message):
    (tmp_path / "m.bin").write_bytes(data)
    with pytest.raises(InsightError, match=message):
        read_matrix(tmp_path / "m.bin")


def test_no_file(tmp_path):
    with pytest.raises(InsightError, match=r"gone\.bin: no such file; want an OpenCV matrix"):
        read_matrix(tmp_path / "gone.bin")
