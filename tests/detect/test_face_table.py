"""The table, there and back."""

import csv
import io
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from insight.detect.crop import Measures
from insight.detect.face import Face
from insight.detect.face_table import COLUMNS, HEADING, FaceRow, face_of, rounded, to_csv

NUMBER = st.floats(-1e6, 1e6)
SHARE = st.one_of(st.floats(0, 1), st.just(math.nan))
FACE = st.builds(
    lambda numbers, score, look, moved: Face(
        np.array(numbers[:4]), np.array(numbers[4:]).reshape(5, 2), score, look, moved
    ),
    st.lists(NUMBER, min_size=14, max_size=14),
    SHARE,
    SHARE,
    st.one_of(st.floats(0, 1000), st.just(math.nan)),
)


def read(text):
    return list(csv.DictReader(io.StringIO(HEADING + text, newline="")))


@given(FACE, st.text(min_size=1).filter(lambda text: not set(text) & set("\r\0")))
def test_rounded_faces_come_back_exactly(face, name):
    face = rounded(face)
    (row,) = read(to_csv([FaceRow(name, "kept", face=face)]))
    back = face_of(row)
    assert row["file"] == name
    assert np.array_equal(back.box, face.box) and np.array_equal(back.points, face.points)
    assert np.array_equal(back[2:], face[2:], equal_nan=True)
    again = rounded(back)
    assert np.array_equal(again.points, face.points) and np.abs(face.points).max() <= 1e6


def test_literal_rows():
    face = Face(np.array([1.0, 2, 30, 40.456]), np.arange(10.0).reshape(5, 2), 0.98765, 0.5)
    rows = [
        FaceRow("Ann/a,b.jpg", "kept", "", 0, 2, "Ann/a,b.jpg", face, Measures(35.24, 581.26, 0.12345), 0.7123),
        FaceRow("Ann/caf\udce9.heic", "skipped", "HEIC"),
    ]
    assert to_csv(rows) == (
        '"Ann/a,b.jpg",0,2,kept,,"Ann/a,b.jpg",1.00,2.00,30.00,40.46,0.00,1.00,2.00,3.00,4.00,5.00,6.00,7.00,8.00,9.00,'
        "0.9877,0.5000,,35.2,581.3,0.1235,0.712,\n"
        "Ann/caf\udce9.heic,0,0,skipped,HEIC,,,,,,,,,,,,,,,,,,,,,,,\n"
    )
    assert HEADING.count(",") == len(COLUMNS) - 1 == 27
    assert face_of(read(to_csv(rows))[1]) is None
