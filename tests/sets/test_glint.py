"""Glint landmark lists: labels, names with spaces, test sets, and packing the result."""

import pytest
from made_faces import encode, face

from insight.errors import InsightError
from insight.formats.lst import Entry, read_lst
from insight.sets.glint import glint_entries, write_glint_list
from insight.sets.pack import pack

POINTS = "38.5 51.7 73.5 51.5 56 71.7 41.5 92.4 70.7 92.2"
LANDMARKS = (38.5, 73.5, 56.0, 41.5, 70.7, 51.7, 51.5, 71.7, 92.4, 92.2)


@pytest.fixture
def glint(tmp_path):
    (tmp_path / "one_lmk").write_text(f"one/a b.jpg 77 {POINTS}\none/c.jpg 5 {POINTS}\n\none/d.jpg 77 {POINTS}\n")
    (tmp_path / "two_lmk.txt").write_text(f"two/é 3.jpg 9 {POINTS}\ntwo/f.jpg 5 {POINTS}\n", encoding="utf-8")
    (tmp_path / "test_lmk").write_text(f"test/g.jpg {POINTS}\ntest/h 12.jpg {POINTS}\n")
    return tmp_path


def test_labels_are_dense_and_shared(glint):
    entries = list(glint_entries(str(glint), ["one", "two"]))
    assert [(e.path, e.label) for e in entries] == [
        (f"{glint}/one/a b.jpg", 0),
        (f"{glint}/one/c.jpg", 1),
        (f"{glint}/one/d.jpg", 0),
        (f"{glint}/two/é 3.jpg", 2),
        (f"{glint}/two/f.jpg", 1),
    ]
    assert entries[0] == Entry(f"{glint}/one/a b.jpg", 0, False, (0, 0, 0, 0), LANDMARKS)


def test_without_labels(glint):
    entries = list(glint_entries(str(glint), ["test"]))
    assert [(e.path, e.label) for e in entries] == [(f"{glint}/test/g.jpg", -1), (f"{glint}/test/h 12.jpg", -1)]
    assert entries[1].landmarks == LANDMARKS


def test_list_is_packed(glint):
    for name in ("one/a b.jpg", "one/c.jpg", "one/d.jpg"):
        (glint / name).parent.mkdir(exist_ok=True)
        (glint / name).write_bytes(encode(face(len(name), 130, 120)))
    assert write_glint_list(str(glint), ["one"], str(glint / "a.lst")) == 3
    assert len(read_lst(str(glint / "a.lst"))) == 3
    [report] = pack(str(glint / "a.lst"), str(glint / "set"))
    assert report.changes == {"aligned by landmarks": 3}
    assert report.identities == 3  # labels 0, 1, 0: as InsightFace, a run each


@pytest.mark.parametrize(
    ("line", "name", "label"),
    [
        (f"a.png 3 {POINTS}", "a.png", 0),
        (f"A b.JPEG 3 {POINTS}", "A b.JPEG", 0),
        (f"a.jpg\t3\t{POINTS}", "a.jpg", 0),
        (f"a.jpg  3   {POINTS}  ", "a.jpg", 0),
        (f"a.jpg 3.0 {POINTS.replace('.5', '.50')}\t", "a.jpg", 0),
        (f"m.01/a 3.jpg 003 {POINTS}", "m.01/a 3.jpg", 0),
        (f"m.01/a 3.jpg {POINTS}", "m.01/a 3.jpg", -1),
        (f"a 3 {POINTS}", "a", 0),
        (f"a.b/c {POINTS}", "a.b/c", -1),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_plain_variations(glint, line, name, label, encoding, ending):
    (glint / "v_lmk").write_bytes(f"{line}{ending}{ending}{line}".encode(encoding))
    entries = list(glint_entries(str(glint), ["v"]))
    assert entries == [Entry(f"{glint}/{name}", label, False, (0, 0, 0, 0), LANDMARKS)] * 2


@pytest.mark.parametrize(
    "line",
    [
        "a.jpg 1 2 3",
        f"a b.jpg 3 4 {POINTS}",
        f"a.jpg x {POINTS}",
        f"a b {POINTS}",
        f"a b 3 {POINTS}",
        f"3 {POINTS}",
        POINTS,
        f"a.jpg 3.5 {POINTS}",
        f"a\0.jpg 3 {POINTS}",
        f"a.jpg 3 {POINTS} 4",
        f"a.jpg 3 {POINTS[:-4]}nan",
        f"a\tb.jpg 3 {POINTS}",
        "text",
    ],
)
def test_bad_lines_are_named(glint, line):
    (glint / "bad_lmk").write_text(f"a.jpg 1 {POINTS}\n{line}\n")
    with pytest.raises(InsightError, match=r"bad_lmk:2: want 'name\.jpg label x1 y1 .. x5 y5'"):
        list(glint_entries(str(glint), ["bad"]))


def test_command(glint, insight):
    status, out, err = insight("glint2lst", ".", "one, two,", "work/a.lst")
    assert (status, out, err) == (0, "work/a.lst: 5 images\n", "")
    status, out, err = insight("glint2lst", ".", "one,two")
    assert (status, out) == (0, (glint / "work/a.lst").read_text(encoding="utf-8"))
    status, out, err = insight("glint2lst", ".", "one,none", "work/b.lst")
    assert (status, err) == (2, "error: .: has neither none_lmk nor none_lmk.txt; name the data sets that it holds\n")
    assert not (glint / "work/b.lst").exists()
    assert insight("glint2lst", ".", "one", "work/a.lst")[0] == 2
