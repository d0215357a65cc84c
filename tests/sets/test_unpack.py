"""Images extracted from sets, and packed again."""

import csv
import os

import pytest
from made_faces import encode, face

from insight.errors import InsightError
from insight.formats.evalbin import write_bin
from insight.formats.recordio import RecordWriter
from insight.sets.pack import pack
from insight.sets.pairs import make_bin
from insight.sets.scan import folder_to_lists
from insight.sets.unpack import unpack


@pytest.fixture
def packed(people, tmp_path):
    folder = people({f"person {i}": 1 + i % 3 for i in range(12)})
    folder_to_lists(str(folder), str(tmp_path / "train.lst"), label_map=True)
    pack(str(tmp_path / "train.lst"), str(tmp_path / "set"))
    return tmp_path


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_round_trip(packed):
    report = unpack(str(packed / "set"), str(packed / "out"))
    assert report.lines() == [f"{packed}/out: 24 images in 12 folders"]
    written = files(packed / "out")
    assert list(written)[:4] == ["00/01.jpg", "01/02.jpg", "01/03.jpg", "02/04.jpg"]
    originals = [data for _, data in sorted(files(packed / "faces").items(), key=lambda item: sort_key(item[0]))]
    assert sorted(written.values()) == sorted(originals)
    folder_to_lists(str(packed / "out"), str(packed / "again.lst"))
    pack(str(packed / "again.lst"), str(packed / "again"))
    assert files(packed / "again") == files(packed / "set")


def test_payloads_that_are_not_images_are_reported(tmp_path):
    with RecordWriter(str(tmp_path / "train.rec")) as out:
        for i, payload in enumerate([encode(face(0)), b"", b"GIF89a", encode(face(1))]):
            out.write(i, payload, i % 2, i)
    (tmp_path / "property").write_text("2,112,112")
    report = unpack(str(tmp_path), str(tmp_path / "out"))
    assert report.lines()[-2:] == [
        f"{tmp_path}/train.rec: 2 payloads are not images (keys 1, 2); dir2lst skips such files",
        f"{tmp_path}/out: 4 images in 2 folders",
    ]
    assert sorted(files(tmp_path / "out")) == ["0/0.jpg", "0/2.gif", "1/1.bin", "1/3.jpg"]
    folder_to_lists(str(tmp_path / "out"), str(tmp_path / "all.lst"))
    assert len((tmp_path / "all.lst").read_text().splitlines()) == 2


def test_entries_of_a_bin_that_are_not_images_are_reported(tmp_path):
    images = [encode(face(0)), b"", encode(face(1)), encode(face(2)), encode(face(0)), encode(face(0))]
    write_bin(tmp_path / "a.bin", images, [True, False, True])
    report = unpack(str(tmp_path / "a.bin"), str(tmp_path / "out"))
    assert report.lines()[0] == (f"{tmp_path}/a.bin: 1 payload is not an image (key 1); make-bin skips their pairs")
    made = make_bin(str(tmp_path / "out/pairs.csv"), str(tmp_path / "b.bin"))
    assert (made.pairs, made.dropped) == (2, 1)


def sort_key(path):
    return os.path.dirname(path), os.path.basename(path)


def test_names_from_the_label_map(packed):
    unpack(str(packed / "set/train.rec"), str(packed / "out"), str(packed / "train.labels.csv"))
    assert sorted(os.listdir(packed / "out")) == sorted(os.listdir(packed / "faces"))
    for name in os.listdir(packed / "faces"):
        assert sorted(files(packed / "out" / name).values()) == sorted(files(packed / "faces" / name).values())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0,../up", "label 0 has the name '../up', which cannot be a folder's"),
        ("0,", r"m\.csv:2: found '0,'; want a label map"),
        ('0," "', r"m\.csv:2: found"),
        ("0,..", "label 0 has the name"),
        ("0,same\n1,same", "two labels share a name"),
        ("0,01", "two labels share a name, or one has another's number"),
    ],
)
def test_label_maps_that_cannot_be_folders(packed, rows, message):
    (packed / "m.csv").write_text(f"label,name\n{rows}\n")
    with pytest.raises(InsightError, match=message):
        unpack(str(packed / "set"), str(packed / "out"), str(packed / "m.csv"))
    assert not (packed / "out").exists()


def test_an_existing_output(packed):
    (packed / "out").mkdir()
    unpack(str(packed / "set"), str(packed / "out"))  # an empty folder is fine
    with pytest.raises(InsightError, match="out: exists and is not an empty folder"):
        unpack(str(packed / "set"), str(packed / "out"))


def test_plain_sets_and_other_encodings(tmp_path):
    payloads = [encode(face(i), suffix) for i, suffix in enumerate((".jpg", ".png", ".bmp", ".webp"))] + [b"strange"]
    with RecordWriter(str(tmp_path / "a.rec")) as writer:
        for key, payload in enumerate(payloads):
            writer.write(key, payload, key // 2)
    (tmp_path / "property").write_text("3,112,112")
    report = unpack(str(tmp_path / "a.rec"), str(tmp_path / "out"))
    assert "no header record" in report.lines()[0]
    names = ["0/0.jpg", "0/1.png", "1/2.bmp", "1/3.webp", "2/4.bin"]
    assert files(tmp_path / "out") == dict(zip(names, payloads))


def test_a_damaged_set_leaves_nothing(packed):
    with open(packed / "set/train.rec", "r+b") as rec:
        rec.seek(-9000, os.SEEK_END)
        rec.write(b"\0" * 4000)
    with pytest.raises(InsightError, match=r"train\.rec: key \d+ at offset"):
        unpack(str(packed / "set"), str(packed / "out"))
    assert not any(name.startswith((".out", "out")) for name in os.listdir(packed))


def test_verification_bin_round_trip(tmp_path):
    images = [encode(face(i), ".png" if i == 3 else ".jpg") for i in range(24)]
    issame = [i % 3 == 0 for i in range(12)]
    write_bin(tmp_path / "a.bin", images, issame)
    report = unpack(str(tmp_path / "a.bin"), str(tmp_path / "out"))
    assert report.lines() == [f"{tmp_path}/out: 24 images in 1 folders"]
    with open(tmp_path / "out/pairs.csv", newline="") as source:
        rows = list(csv.DictReader(source))
    assert rows[1] == {"image_a": "images/01_a.jpg", "image_b": "images/01_b.png", "same": "0"}
    assert [(tmp_path / "out" / r[c]).read_bytes() for r in rows for c in ("image_a", "image_b")] == images
    report = make_bin(str(tmp_path / "out/pairs.csv"), str(tmp_path / "b.bin"))
    assert report.converted == 1  # the PNG
    (tmp_path / "out/images/01_b.png").write_bytes(images[0])
    images[3] = images[0]
    write_bin(tmp_path / "a.bin", images, issame)
    make_bin(str(tmp_path / "out/pairs.csv"), str(tmp_path / "b.bin"), overwrite=True)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    os.rename(tmp_path / "a.bin", tmp_path / "lfw")  # recognised by its content
    unpack(str(tmp_path / "lfw"), str(tmp_path / "again"))
    assert set(files(tmp_path / "again").values()) >= set(images)
    os.rename(tmp_path / "lfw", tmp_path / "a.bin")
    with pytest.raises(InsightError, match="--label-map: a verification .bin has no labels"):
        unpack(str(tmp_path / "a.bin"), str(tmp_path / "c"), label_map="x.csv")


def test_command(packed, insight):
    assert insight("rec2image", "set", "out")[:2] == (0, "out: 24 images in 12 folders\n")
    for source, message in (
        ("none", "error: none: no such folder, .rec file or prefix"),
        ("set", "error: out: exists"),
    ):
        status, out, err = insight("rec2image", source, "out")
        assert (status, out) == (2, "")
        assert err.startswith(message)
