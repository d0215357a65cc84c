"""Lists from other machines and programs: other spellings, roots and labels give the same set as the plain list."""

import csv

import pytest
from made_faces import encode, face

from insight.check.check import check
from insight.errors import InsightError
from insight.formats.evalbin import read_bin
from insight.formats.faceset import FaceSet
from insight.formats.framing import LARGEST_LABEL
from insight.sets.lists import survey_list
from insight.sets.pack import pack
from insight.sets.pairs import make_bin
from insight.sets.unpack import unpack

NAMES = [f"person_{person}/{image}.jpg" for person in range(3) for image in range(2)]
PLAIN = "".join(f"1\tfaces/{name}\t{at // 2}\n" for at, name in enumerate(NAMES))


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory with ``faces``; lists go to ``lists``."""
    for at, name in enumerate(NAMES):
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(face(at)))
    (tmp_path / "lists").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def packed(folder, **options):
    """The bytes of the set packed from ``lists/a.lst``."""
    [report] = pack("lists/a.lst", str(folder), **options)
    assert not report.skipped
    return [(folder / name).read_bytes() for name in ("train.rec", "train.idx", "property")]


VARIATIONS = {
    "byte-order mark": PLAIN.encode("utf-8-sig"),
    "UTF-16": PLAIN.encode("utf-16"),
    "CRLF": PLAIN.replace("\n", "\r\n").encode(),
    "trailing tab": PLAIN.replace("\n", "\t\n").encode(),
    "backslashes": PLAIN.replace("/", "\\").encode(),
    "blanks": PLAIN.replace("\t", "  ").encode(),
    "padded": PLAIN.replace("\t", " \t ").encode(),
    "quoted": PLAIN.replace("1\t", '1\t"').replace(".jpg", '.jpg"').encode(),
    "suffixes": PLAIN.replace(".jpg", ".JPG").encode(),
    "labels": PLAIN.replace("\n", ".000\n").encode(),
    "Windows": PLAIN.replace("/", "\\").replace("\n", "\t\r\n").encode("utf-8-sig"),
}


@pytest.mark.parametrize("variation", VARIATIONS)
def test_variations_are_packed_as_the_plain_list(work, variation):
    (work / "lists/a.lst").write_text(PLAIN)
    want = packed(work / "plain")
    (work / "lists/a.lst").write_bytes(VARIATIONS[variation])
    assert packed(work / "set") == want


def test_paths_of_im2rec_begin_at_the_image_root(work):
    (work / "lists/a.lst").write_text("".join(f"{at}\t{at // 2}.000000\t{name}\n" for at, name in enumerate(NAMES)))
    with pytest.raises(
        InsightError,
        match=r"a\.lst: none of its 6 images can be used; the first, person_0/0\.jpg: no such file in the working "
        r"directory or beside the list \(lists\); give --image-root if paths begin elsewhere",
    ):
        pack("lists/a.lst", "set")
    got = packed(work / "set", image_root="faces")
    (work / "lists/a.lst").write_text(PLAIN)
    assert got == packed(work / "plain")


def test_the_searched_places_of_a_missing_file_are_listed(work):
    (work / "lists/a.lst").write_text(PLAIN + "1\tnone.jpg\t2\n1\t/no/none.jpg\t2\n")
    [report] = pack("lists/a.lst", "set", image_root="faces")
    places = "in --image-root faces, in the working directory or beside the list (lists)"
    assert report.skipped == [("none.jpg", 2, f"no such file {places}"), ("/no/none.jpg", 2, "no such file")]
    with open("set/train.skipped.csv", newline="") as opened:
        assert next(csv.DictReader(opened))["reason"].endswith(places)


def test_the_image_root_goes_first(work):
    (work / "root/faces/person_0").mkdir(parents=True)
    (work / "root/faces/person_0/0.jpg").write_bytes(encode(face(99)))
    (work / "lists/a.lst").write_text(PLAIN)
    assert packed(work / "plain") != packed(work / "set", image_root="root")
    with FaceSet.open("set") as faces:
        assert faces.payload(0) == encode(face(99))
        assert faces.payload(1) == (work / "faces" / NAMES[1]).read_bytes()


def test_make_bin_takes_the_same_lists(work):
    (work / "lists/a.lst").write_text(PLAIN)
    make_bin("lists/a.lst", "plain.bin", pairs=4, folds=1)
    rooted = PLAIN.replace("\tfaces/", "\t").replace("/", "\\").replace("0\n", "13800000000\n")
    (work / "lists/b.LST").write_bytes(rooted.encode("utf-16"))
    make_bin("lists/b.LST", "a.bin", pairs=4, folds=1, image_root="faces")
    assert (work / "a.bin").read_bytes() == (work / "plain.bin").read_bytes()
    assert read_bin("a.bin").issame.sum() == 2


PHONES = [13_800_000_001, 13_800_000_000, 13_900_000_007]


def phone_list():
    return "".join(f"1\tfaces/{name}\t{PHONES[at // 2]}\n" for at, name in enumerate(NAMES))


def test_labels_that_a_set_cannot_hold_are_refused(work):
    for label in (LARGEST_LABEL, LARGEST_LABEL + 1):
        (work / "lists/a.lst").write_text(f"\n1\tfaces/{NAMES[0]}\t{label}\n")
        if label == LARGEST_LABEL:
            assert survey_list("lists/a.lst").num_classes == LARGEST_LABEL + 1
            continue
        with pytest.raises(
            InsightError,
            match=r"a\.lst:2: faces/person_0/0\.jpg has label 2147483648, and a set holds labels up to 2147483647; "
            r"give --renumber-labels",
        ):
            pack("lists/a.lst", "set")
    assert not (work / "set").exists()


@pytest.mark.parametrize("layout", ["indexed", "plain"])
@pytest.mark.parametrize("size", [(112, 112), (96, 96)], ids=["copied", "converted"])
def test_labels_that_float32_would_round_stay_apart(work, layout, size):
    first = (1 << 24) - 1
    (work / "lists/a.lst").write_text("".join(f"1\tfaces/{name}\t{first + at}\n" for at, name in enumerate(NAMES)))
    [report] = pack("lists/a.lst", "set", layout=layout, size=size)
    with FaceSet.open("set") as faces:
        assert faces.labels.tolist() == list(range(first, first + len(NAMES)))
        assert len(faces.identities) == len(NAMES) and faces.num_classes == first + len(NAMES)
    assert any("are exact for insight; other readers" in line for line in report.lines())
    assert not check("set").count("error")


def test_labels_are_numbered_in_order_of_first_appearance(work):
    (work / "lists/a.lst").write_text(PLAIN)
    want = packed(work / "plain")
    (work / "lists/a.lst").write_text(phone_list())
    [report] = pack("lists/a.lst", "set", renumber=True)
    assert [(work / "set" / name).read_bytes() for name in ("train.rec", "train.idx", "property")] == want
    assert (work / "set/train.renumbered.csv").read_text() == "label,name\n" + "".join(
        f"{label},{phone}\n" for label, phone in enumerate(PHONES)
    )
    assert "  labels were renumbered; set/train.renumbered.csv maps each to the label in the list" in report.lines()
    unpack("set", "back", "set/train.renumbered.csv")  # it is a label map
    assert sorted(path.name for path in (work / "back").iterdir()) == sorted(map(str, PHONES))


def test_a_map_of_labels_is_replaced_with_its_set(work):
    (work / "lists/a.lst").write_text(phone_list())
    pack("lists/a.lst", "set", renumber=True)
    (work / "set/train.rec").unlink(), (work / "set/train.idx").unlink()
    with pytest.raises(InsightError, match=r"train\.renumbered\.csv: already exists"):
        pack("lists/a.lst", "set", renumber=True)
    pack("lists/a.lst", "set", renumber=True, overwrite=True)
    (work / "lists/a.lst").write_text(PLAIN)
    pack("lists/a.lst", "set", overwrite=True)
    assert not (work / "set/train.renumbered.csv").exists()
    (work / "lists/b.lst").write_text(PLAIN)
    with pytest.raises(
        InsightError, match="--renumber-labels: lists means 2 lists, and labels are one list's; give one"
    ):
        pack("lists", renumber=True)


def test_the_memory_of_huge_labels_is_noted(work):
    (work / "lists/a.lst").write_text(PLAIN.replace("\t2\n", "\t1100001\n"))
    [report] = pack("lists/a.lst", "set")
    assert report.lines()[-1] == (
        "  note: 3 of 1100002 labels have images: fc7 would have 1100002 classes, 6.8 GB with train-softmax --emb-size "
        "512; --renumber-labels numbers labels 0, 1, 2, .."
    )
    [report] = pack("lists/a.lst", "set", renumber=True, overwrite=True)
    assert not any("note:" in line for line in report.lines())


def test_the_command(work, insight):
    (work / "lists/a.lst").write_text(phone_list().replace("faces/", ""))
    status, out, err = insight("face2rec", "lists/a.lst", "--output", "set", "--image-root", "faces")
    assert (status, out) == (2, "")
    assert err.startswith("error: lists/a.lst:1: person_0/0.jpg has label 13800000001, and a set holds")
    status, out, err = insight(
        "face2rec", "lists/a.lst", "--output", "set", "--image-root", "faces", "--renumber-labels"
    )
    assert (status, err) == (0, "")
    assert out.splitlines()[0].endswith("property 3,112,112")
    status, out, err = insight("face2rec", "lists/a.lst", "--output", "b", "--image-root", "none", "--renumber-labels")
    assert (status, err) == (
        2,
        "error: --image-root none: no such folder; give the one in which the paths of the list begin\n",
    )
