"""Label maps in the layout of dir2lst and of spreadsheets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.errors import InsightError
from insight.formats.labelmap import read_label_map, write_label_map

PLAIN = "label,name\n0,Ann Lee\n1,Żak\n2,x\n"
WANT = {0: "Ann Lee", 1: "Żak", 2: "x"}


def test_bytes(tmp_path):
    write_label_map(tmp_path / "m.csv", ["Ann, Lee", 'B"o', "Żak"])
    assert (tmp_path / "m.csv").read_bytes() == 'label,name\n0,"Ann, Lee"\n1,"B""o"\n2,Żak\n'.encode()
    assert read_label_map(tmp_path / "m.csv") == {0: "Ann, Lee", 1: 'B"o', 2: "Żak"}


names = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(names.map(lambda name: f"a{name}b"), min_size=1, max_size=6))
def test_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("map") / "m.csv"
    write_label_map(path, rows)
    assert read_label_map(path) == dict(enumerate(rows))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "  \n\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , "),
        PLAIN.replace("label,name", "Label, NAME"),
        PLAIN.removeprefix("label,name\n"),
        PLAIN.replace("0,", "0.0,").replace("2,", "+02,"),
        '"label","name"\n"0","Ann Lee"\n"1","Żak"\n"2","x"\n',
        "name,images,label\nAnn Lee,3,0\nŻak,5,1\nx,1,2\n",
        "label,name,images\n0,Ann Lee,3\n1,Żak,5\n2,x,\n0,Ann Lee,3",
    ],
)
def test_plain_variations(tmp_path, text, encoding):
    (tmp_path / "m.csv").write_bytes(text.encode(encoding))
    assert read_label_map(tmp_path / "m.csv") == WANT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"m\.csv: has no label; want a label map"),
        ("label,name\n", r"m\.csv: has no label"),
        ("a,b\n1,2\n", r"m\.csv:1: found 'a,b'; want a label map, a CSV with the columns label, name"),
        ("label,name\n\nx,y\n", r"m\.csv:3: found 'x,y'; want"),
        ("label,name\n1.5,y\n", r"m\.csv:2: found"),
        ("label,name\n1\n", r"m\.csv:2: found"),
        ("label,name\n1,a\n1.0,b\n", r"m\.csv:3: label 1 has two names, 'a' and 'b'; want one for each label"),
    ],
)
def test_invalid_label_maps(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(InsightError, match=message):
        read_label_map(tmp_path / "m.csv")
    with pytest.raises(InsightError, match=r"none\.csv: no such file; want a label map"):
        read_label_map(tmp_path / "none.csv")
