"""Text files: encodings, line ends, numbers; with Python's own codecs as the reference."""

import codecs
import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.errors import InsightError
from insight.files.text import between_commas, numbered_lines, open_text, split, ways, whole

TEXT = "eins\nzwei drei\tvier\n\n日本 é\n"
MARKED = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


def read(path):
    with open_text(path, "want a text") as source:
        return source.read()


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", MARKED)
def test_encodings_with_their_marks_and_line_ends(tmp_path, encoding, ending):
    (tmp_path / "t").write_bytes(MARKED[encoding] + TEXT.replace("\n", ending).encode(encoding))
    assert read(tmp_path / "t") == TEXT
    assert list(numbered_lines(tmp_path / "t", "")) == [(1, "eins"), (2, "zwei drei\tvier"), (4, "日本 é")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark(tmp_path, encoding):
    (tmp_path / "t").write_bytes("1\ta.jpg\n".encode(encoding))
    assert read(tmp_path / "t") == "1\ta.jpg\n"


def test_undecodable_bytes_are_preserved(tmp_path):
    (tmp_path / "t").write_bytes(b"caf\xe9\n\xff\xfe\n")
    assert read(tmp_path / "t").encode("utf-8", "surrogateescape") == b"caf\xe9\n\xff\xfe\n"
    (tmp_path / "t").write_bytes("aé".encode("utf-16") + b"\x00")  # cut inside a character
    assert read(tmp_path / "t") == "aé�"


@pytest.mark.parametrize("name", ["", "t", "x"])
def test_paths_that_cannot_be_opened(tmp_path, name):
    (tmp_path / "t").mkdir()
    with pytest.raises(InsightError, match=f"{tmp_path}.*: (a folder|no such file); want a text"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "text", ["0", "7", "+7", "007", "7.0", "7.", "7e3", "7E+03", "70e-1", "1.38000000010e10", "-1", " 7 "]
)
def test_whole_numbers(text):
    assert whole(text) == float(text)
    assert isinstance(whole(text), int)


@given(st.integers(-(10**30), 10**30), st.integers(0, 20), st.booleans())
def test_whole_numbers_are_exact(value, zeros, exponent):
    sign, digits = "-" if value < 0 else "", str(abs(value))
    spelled = f"{digits[0]}.{digits[1:]}{'0' * zeros}e{len(digits) - 1}" if exponent else f"{digits}.{'0' * zeros}"
    assert whole(sign + spelled) == value


@pytest.mark.parametrize(
    "text", ["", " ", "a", "7.5", "7e-1", "1_0", "0x10", "nan", "inf", "1e99", "1e9999", "٣", "1,0", "--1", "9" * 5000]
)
def test_invalid_whole_numbers(text):
    with pytest.raises(ValueError, match="not a whole number"):
        whole(text)


fields = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\ufeff\x1a"), max_size=6), min_size=1)


@settings(max_examples=100)
@given(fields, st.sampled_from("\t,;"))
def test_fields_are_those_of_a_csv_reader_without_blanks(row, separator):
    class Lines(list):
        write = list.append

    lines = Lines()
    csv.writer(lines, delimiter=separator, lineterminator="", quoting=csv.QUOTE_ALL).writerow(row)
    want = [field.strip(" \t\f\v") for field in row]
    while want and not want[-1]:
        want.pop()
    assert split(lines[0], separator) == want


def test_fields_between_blanks_and_by_each_separator():
    assert split("\ufeff 1  a.jpg\t 0 \r\n", None) == ["1", "a.jpg", "0"]
    assert list(ways('1\t"a, b"\t0')) == [["1", "a, b", "0"], ['1\t"a', 'b"\t0'], ["1", '"a,', 'b"', "0"]]
    assert list(ways("a" * 140_000 + ",b"))[-1] == ["a" * 140_000 + ",b"]  # longer than a CSV field may be
    assert between_commas(" lfw, cfp_fp,,") == ["lfw", "cfp_fp"]
