"""Lists: columns, dialects, names of all kinds, and the message for a bad line."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.errors import InsightError
from insight.formats.lst import IM2REC, INSIGHTFACE, Entry, Lines, format_entry, read_lst, write_lst

LANDMARKS = tuple(float(v) for v in (30.5, 65, 48, 33, 62, 51, 51, 71, 92, 92.25))


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "a.lst"
    path.write_bytes(text.encode(encoding, "surrogateescape"))
    return str(path)


def lst_dialect(path):
    lines = Lines(path)
    next(iter(lines))
    return lines.dialect


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


def test_bytes_that_are_not_text_are_preserved(tmp_path):
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
        "1\ta.jpg\tzero",
        "1\ta.jpg\t-2",
        "1\ta.jpg\t1_000",
        "1\ta.jpg\t٣",
        "1\ta.jpg\t3.5",
        "1\ta.jpg\t9223372036854775808",
        "1\ta.jpg\t3\t0.93",
        "1 a 12 3",
        "1\ta\tb.jpg\t0",
        "1\t\t3",
        "1\ta.jpg\t3\t1\t2\t3",
        "1\ta.jpg\t3\t1\t2\t3\t4.5",
        "1\ta.jpg\t3\t1\t2\t3\t99999999999",
        "0\ta.jpg\t3\t1\t2\t3\t4\t1\t2\t3\t4\t5\t6\t7\t8\t9",
        "0\ta.jpg\t3\t1\t2\t3\t4\t1\t2\t3\t4\t5\t6\t7\t8\t9\tnan",
        "0\ta\0.jpg\t3",
        "0\ta.jpg\t3\t1\t2\t3\t4\t1\t2\t3\t4\t5\t6\t7\t8\t9\t1_0",
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


TAIL = "\t".join(map(repr, LANDMARKS))
PLAIN = f"1\tx y/é.jpg\t0\n0\tb.jpg\t12\t1\t-2\t30\t40\n0\tc d.jpg\t7\t0\t0\t0\t0\t{TAIL}\n"
WANT = [
    Entry("x y/é.jpg", 0),
    Entry("b.jpg", 12, False, (1, -2, 30, 40)),
    Entry("c d.jpg", 7, False, (0, 0, 0, 0), LANDMARKS),
]
IM2REC_PLAIN = "0\t0.000000\tx y/é.jpg\n1\t12\tb.jpg\n2\t7\tc d.jpg\n"
IM2REC_WANT = [Entry("x y/é.jpg", 0), Entry("b.jpg", 12), Entry("c d.jpg", 7)]
VARIATIONS = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "no last line end": lambda text: text.rstrip(),
    "trailing tab": lambda text: text.replace("\n", "\t\n"),
    "trailing blanks": lambda text: text.replace("\n", "  \n"),
    "leading blanks": lambda text: "  " + text.replace("\n", "\n  "),
    "blanks around": lambda text: text.replace("\t", " \t "),
    "commas": lambda text: text.replace("\t", ","),
    "semicolons": lambda text: text.replace("\t", "; "),
    "blanks between": lambda text: text.replace("\t", " "),
    "quoted": lambda text: "".join(
        ",".join(f'"{field}"' for field in line.split("\t")) + "\n" for line in text.splitlines()
    ),
    "comments": lambda text: "# made by hand\n" + text.replace("\n", "\n#\n"),
    "heading": lambda text: "one\tanother\tthird\n" + text,
    "two files": lambda text: "\n".join("\ufeff" + line for line in text.split("\n")) + "\x1a",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("variation", VARIATIONS)
def test_plain_variations_read_as_the_original(tmp_path, variation, encoding):
    for text, want in ((PLAIN, WANT), (IM2REC_PLAIN, IM2REC_WANT)):
        path = write(tmp_path, VARIATIONS[variation](text), encoding)
        entries = read_lst(path)
        assert [e._replace(path=e.path.strip()) for e in entries] == want  # prepare_all searches both spellings
        assert lst_dialect(path) == (INSIGHTFACE if text is PLAIN else IM2REC)


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("1\ta.jpg\t3.0", Entry("a.jpg", 3)),
        ("1\ta.jpg\t+3", Entry("a.jpg", 3)),
        ("1\ta.jpg\t0003", Entry("a.jpg", 3)),
        ("1\ta.jpg\t3e0", Entry("a.jpg", 3)),
        ("1\ta.jpg\t13800000001", Entry("a.jpg", 13800000001)),
        ("1\ta.jpg\t9223372036854775807", Entry("a.jpg", 2**63 - 1)),
        ("1\ta.jpg\t3\tAnn Lee", Entry("a.jpg", 3)),
        ("1\ta.jpg\t3\t1\t2\t3\t4\tAnn Lee", Entry("a.jpg", 3, True, (1, 2, 3, 4))),
        ("0\ta.jpg\t3\t1.0\t2\t3\t4e0\tx", Entry("a.jpg", 3, False, (1, 2, 3, 4))),
        ("1 a 2/b 3.jpg 3 1 2 30 40", Entry("a 2/b 3.jpg", 3, True, (1, 2, 30, 40))),
        ("1  a.jpg \t 3", Entry("a.jpg", 3)),
        ("1\t\ta.jpg\t\t3", Entry("a.jpg", 3)),
        ('1,"a, b.jpg",3', Entry("a, b.jpg", 3)),
        ("1\ta,b;c.jpg\t3", Entry("a,b;c.jpg", 3)),
    ],
)
def test_unambiguous_lines(tmp_path, line, entry):
    assert read_lst(write(tmp_path, f"1\tgood.jpg\t0\n{line}\n"))[1] == entry
    assert read_lst(write(tmp_path, line))[0] == entry


@pytest.mark.parametrize(
    "line", ["1\t2\t3\tb.jpg", "1 2 3 b.jpg", "a\t1\tb.jpg", "1\t1.5\tb.jpg", "1\t1\t", "1\tx\tb.jpg", "1\t-2\tb.jpg"]
)
def test_a_bad_line_of_im2rec_is_named(tmp_path, line):
    with pytest.raises(InsightError, match=r"a\.lst:2: the first line has im2rec's columns \(index, label, path\)"):
        read_lst(write(tmp_path, f"0\t7.0\ta.jpg\n{line}\n"))


def test_a_heading_alone_and_two_of_them(tmp_path):
    for text, number in (("aligned\tpath\tlabel\n", 1), ("aligned,path,label\naligned,path,label\n", 2)):
        with pytest.raises(InsightError, match=rf"a\.lst:{number}: want aligned"):
            read_lst(write(tmp_path, text))
    with pytest.raises(InsightError, match="holds no line"):
        read_lst(write(tmp_path, "# a comment\n"))
