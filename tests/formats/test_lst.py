"""Lists: columns, dialects, names of all kinds, and what is said of a bad line."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.errors import InsightError
from insight.formats.lst import IM2REC, INSIGHTFACE, Entry, format_entry, lst_dialect, read_lst, write_lst

LANDMARKS = tuple(float(v) for v in (30.5, 65, 48, 33, 62, 51, 51, 71, 92, 92.25))


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "a.lst"
    path.write_bytes(text.encode(encoding, "surrogateescape"))
    return str(path)


def test_three_seven_and_seventeen_columns(tmp_path):
    tail = "\t".join(map(str, LANDMARKS))
    path = write(tmp_path, f"1\ta b.jpg\t3\n\n0\tc.jpg\t4\t1\t-2\t30\t40\n0\td.jpg\t-1\t0\t0\t0\t0\t{tail}\tmore\n")
    assert read_lst(path) == [
        Entry("a b.jpg", 3),
        Entry("c.jpg", 4, False, (1, -2, 30, 40)),
        Entry("d.jpg", -1, False, (0, 0, 0, 0), LANDMARKS),
    ]
    assert lst_dialect(path) == INSIGHTFACE


names = st.text(st.characters(blacklist_characters="\t\r\n\0", blacklist_categories=["Cs"]), min_size=1, max_size=12)
names = names.map(lambda name: name + ".jpg")
boxes = st.tuples(*[st.integers(-(2**31) + 1, 2**31 - 1)] * 4)
points = st.tuples(*[st.floats(-1e5, 1e5)] * 10)
entries = st.one_of(
    st.builds(Entry, names, st.integers(-1, 2**24), st.booleans(), st.none(), st.none()),
    st.builds(Entry, names, st.integers(-1, 2**24), st.booleans(), boxes, st.none()),
    st.builds(Entry, names, st.integers(-1, 2**24), st.booleans(), boxes, points),
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(entries, min_size=1, max_size=8))
def test_round_trip(tmp_path_factory, rows):
    path = str(tmp_path_factory.mktemp("lst") / "a.lst")
    assert write_lst(path, rows) == len(rows)
    assert read_lst(path) == rows


def test_bytes_that_are_no_text_survive(tmp_path):
    name = os.fsdecode(b"caf\xe9/\xff.jpg")
    path = str(tmp_path / "a.lst")
    write_lst(path, [Entry(name, 0), Entry("Łukasz Żak/日本.jpg", 1)])
    assert (tmp_path / "a.lst").read_bytes() == b"1\tcaf\xe9/\xff.jpg\t0\n" + "1\tŁukasz Żak/日本.jpg\t1\n".encode()
    assert [e.path for e in read_lst(path)] == [name, "Łukasz Żak/日本.jpg"]


def test_im2rec_order_is_recognised(tmp_path):
    path = write(tmp_path, "0\t7.000000\tn1/a b.jpg\n1\t8\tn1/c.jpg\n")
    assert lst_dialect(path) == IM2REC
    assert read_lst(path) == [Entry("n1/a b.jpg", 7), Entry("n1/c.jpg", 8)]
    with pytest.raises(InsightError, match=r"a\.lst:2: the first line has im2rec's columns \(index, label, path\)"):
        read_lst(write(tmp_path, "0\t7.0\ta.jpg\n1\t8.0\t9.0\tc.jpg\n"))


@pytest.mark.parametrize(
    "line",
    [
        "2\ta.jpg\t0",
        "1\ta.jpg",
        "1 a.jpg 0",
        "1\ta.jpg\tzero",
        "1\ta.jpg\t-2",
        "1\ta.jpg\t16777217",
        "1\t\t3",
        "1\ta.jpg\t3\t1\t2\t3",
        "1\ta.jpg\t3\t1\t2\t3\t4.5",
        "1\ta.jpg\t3\t1\t2\t3\t99999999999",
        "0\ta.jpg\t3\t1\t2\t3\t4\t1\t2\t3\t4\t5\t6\t7\t8\t9",
        "0\ta.jpg\t3\t1\t2\t3\t4\t1\t2\t3\t4\t5\t6\t7\t8\t9\tnan",
        "0\ta\0.jpg\t3",
    ],
)
def test_a_bad_line_is_named(tmp_path, line):
    with pytest.raises(InsightError, match=r"a\.lst:2: want aligned \(0 or 1\), path, label .* found \d+ columns, "):
        read_lst(write(tmp_path, f"1\tgood.jpg\t0\n{line}\n"))


def test_missing_empty_and_folder(tmp_path):
    with pytest.raises(InsightError, match="no such file"):
        read_lst(str(tmp_path / "none.lst"))
    with pytest.raises(InsightError, match="a folder"):
        read_lst(str(tmp_path))
    with pytest.raises(InsightError, match="holds no line"):
        read_lst(write(tmp_path, "\n \n"))


def test_a_path_that_a_list_cannot_hold(tmp_path):
    with pytest.raises(InsightError, match="rename the file"):
        format_entry(Entry("a\tb.jpg", 0))
    with pytest.raises(InsightError):
        write_lst(str(tmp_path / "a.lst"), [Entry("a\n.jpg", 0)])
    assert list(tmp_path.iterdir()) == []
