"""face2rec and make-bin on damaged faces: skipped, kept or refused, by option, each by name."""

import csv
import os

import damaged_images as made
import numpy as np
import pytest
from damaged_faces import usable

from insight import executor
from insight.errors import InsightError
from insight.formats.evalbin import read_bin
from insight.formats.faceset import FaceSet
from insight.formats.framing import MAGIC_BYTES
from insight.formats.lst import Entry
from insight.formats.recordio import RecordWriter
from insight.sets import intake
from insight.sets.intake import Intake
from insight.sets.pack import pack
from insight.sets.pairs import make_bin
from insight.sets.prepare import ImageTarget
from insight.sets.scan import folder_to_lists


@pytest.fixture(scope="module")
def lst(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("lists") / "train.lst"
    folder_to_lists(str(faces.folder), str(path))
    return path


def rows(path):
    """Name to reason, of a CSV of files."""
    with open(path, newline="") as source:
        return {"/".join(row["path"].split("/")[-2:]): row["reason"] for row in csv.DictReader(source)}


def payloads(folder):
    with FaceSet.open(str(folder)) as records:
        return [bytes(records.payload(i)) for i in range(len(records))]


def test_images_with_warnings_are_skipped_and_listed(faces, lst, insight, tmp_path):
    status, out, err = insight("face2rec", lst, "--output", "set")
    assert (status, err) == (0, "")
    listed = rows(tmp_path / "set/train.skipped.csv")
    assert {name: reason for name, reason in listed.items() if name in faces.damaged} == faces.damaged
    assert set(listed) == set(faces.damaged) | faces.refused
    assert all(listed[name].startswith("not a readable image (") for name in faces.refused)
    assert payloads(tmp_path / "set") == [d for name, d in faces.files.items() if name not in listed]
    assert f"  {len(listed)} files skipped (" in out
    assert sorted(os.listdir(tmp_path / "set")) == ["property", "train.idx", "train.rec", "train.skipped.csv"]


def test_damaged_images_are_kept_and_listed(faces, lst, insight, tmp_path):
    status, out, err = insight("face2rec", lst, "--output", "set", "--damaged", "keep")
    assert (status, err) == (0, "")
    assert rows(tmp_path / "set/train.damaged.csv") == faces.damaged
    assert payloads(tmp_path / "set") == list(usable(faces).values())
    assert f"  warning: {len(faces.damaged)} damaged images packed unchanged (" in out
    assert "see set/train.damaged.csv" in out
    # replacing it by a set without damage removes the list
    (tmp_path / "one.lst").write_text(f"1\t{faces.folder}/0/0.jpg\t0\n")
    assert insight("face2rec", "one.lst", "--output", "set", "--overwrite", "--image-size", "112")[0] == 0
    assert sorted(os.listdir(tmp_path / "set")) == ["property", "train.idx", "train.rec"]


def test_the_first_damaged_image_raises_with_damaged_fail(faces, lst, insight, tmp_path):
    status, out, err = insight("face2rec", lst, "--output", "set", "--damaged", "fail")
    name = next(name for name in faces.files if name in faces.damaged)
    assert (status, out) == (2, "")
    assert err == (
        f"error: {faces.folder}/{name} (from {lst}): {faces.damaged[name]}; repair or remove it, or --damaged skip, "
        f"or keep to pack it unchanged\n"
    )
    assert not (tmp_path / "set").exists()


def test_without_the_check(faces, lst, insight, tmp_path):
    status, _, err = insight("face2rec", lst, "--output", "set", "--check-images", "headers")
    assert (status, err) == (0, "")
    assert payloads(tmp_path / "set") == list(faces.files.values())


@pytest.mark.parametrize("layout", ["indexed", "plain"])
@pytest.mark.parametrize("damaged", ["skip", "keep"])
def test_results_do_not_depend_on_the_workers(faces, tmp_path, monkeypatch, layout, damaged):
    """Copied, converted, damaged and refused files; one, two and five workers, processes and threads."""
    lines = [f"1\t{faces.folder}/{name}\t{name[0]}\n" for name in faces.files]
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(made.pillow(number, kind="PNG", size=(112, 112 + 8 * (number % 2))))
        lines.insert(7 * number, f"1\t{number}.png\t{number}\n")
    (tmp_path / "text.jpg").write_text("text")
    lines += ["1\ttext.jpg\t1\n", "1\tnone.jpg\t1\n"]
    (tmp_path / "a.lst").write_text("".join(lines * 3))
    sets = []
    monkeypatch.setattr(intake, "CHUNK", 8)
    monkeypatch.setattr(intake, "SLOTS", 3)  # each is used several times
    for workers, forks in ((1, True), (2, True), (5, True), (1, False), (3, False)):
        monkeypatch.setattr(executor, "may_fork", lambda forks=forks: forks)
        folder = tmp_path / f"{workers}{forks}"
        pack(str(tmp_path / "a.lst"), str(folder), workers=workers, layout=layout, damaged=damaged)
        sets.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert all(files == sets[0] for files in sets)
    assert len(sets[0]) == (4 if damaged == "skip" else 5)


def test_a_verification_set_of_damaged_faces(faces, insight, tmp_path):
    for policy, listing in (("skip", "skipped"), ("keep", "damaged")):
        status, out, err = insight(
            "make-bin", faces.folder, f"{policy}.bin", "--pairs", 40, "--folds", 2, "--damaged", policy
        )
        assert (status, err) == (0, "")
        images = {bytes(image) for image in read_bin(tmp_path / f"{policy}.bin").images}
        used = {name for name in faces.files if faces.files[name] in images}
        assert bool(used & set(faces.damaged)) == (policy == "keep")
        listed = rows(tmp_path / f"{policy}.{listing}.csv")
        assert {name: reason for name, reason in listed.items() if name in faces.damaged} == (
            {name: faces.damaged[name] for name in used & set(faces.damaged)}
            if policy == "keep"
            else {name: reason for name, reason in faces.damaged.items() if name in listed}
        )
        assert listed
        assert (f"{len(listed)} damaged images were used unchanged" if policy == "keep" else "cannot be used") in out
    status, _, err = insight("make-bin", faces.folder, "c.bin", "--damaged", "fail")
    assert status == 2
    assert err.startswith("error: ") and "; repair or remove it, or --damaged skip" in err
    with pytest.raises(InsightError, match="--damaged skip"):
        make_bin(str(faces.folder), str(tmp_path / "d.bin"), damaged="fail")


def test_damage_in_files_that_are_converted(faces, insight, tmp_path):
    """Another size, another format, and an image that is larger than a chunk."""
    import random

    rng = random.Random(3)
    png = made.pillow(kind="PNG")
    files = {
        "large.jpg": made.cut_with_end(made.jpeg(0, 1200, 1200, QUALITY=98), rng),
        "other.jpg": made.cut_with_end(made.jpeg(0, 96, 80), rng),
        "text.png": made.with_chunk(png, b"tEXt", b"a\0b")[:-1] + png[-1:],
        "sound.png": png,
    }
    files["crc.png"] = made.with_chunk(png, b"tEXt", b"a\0b").replace(b"a\0b", b"a\0c")
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "a.lst").write_text("".join(f"1\t{name}\t0\n" for name in files))
    status, _, err = insight("face2rec", "a.lst", "--output", "skip")
    assert (status, err) == (0, "")
    with open(tmp_path / "skip/train.skipped.csv", newline="") as source:
        listed = {row["path"]: row["reason"] for row in csv.DictReader(source)}
    assert listed == {
        "large.jpg": "Corrupt JPEG data: premature end of data segment",
        "other.jpg": "Corrupt JPEG data: premature end of data segment",
        "crc.png": "tEXt: CRC error",
    }
    status, _, err = insight("face2rec", "a.lst", "--output", "keep", "--damaged", "keep")
    assert (status, err) == (0, "")
    assert len(payloads(tmp_path / "keep")) == 5


def test_large_images_are_copied_too(tmp_path, monkeypatch):
    """Files larger than a slot of the shared memory, and more of them than may be pending."""
    monkeypatch.setattr(intake, "SLOT_BYTES", 1 << 15)
    monkeypatch.setattr(intake, "_MOST_ASIDE", 1 << 18)
    files = [made.jpeg(number, 200, 200, QUALITY=100 if number % 3 else 20) for number in range(30)]
    assert max(map(len, files)) > intake.SLOT_BYTES > min(map(len, files))
    for number, data in enumerate(files):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    entries = [Entry(str(tmp_path / f"{number}.jpg"), number) for number in range(30)]
    with Intake(ImageTarget((200, 200)), 2) as reader:
        got = [(e, c.outcome(i)) for c in reader.chunks(entries) for i, e in enumerate(c.entries)]
    assert [entry for entry, _ in got] == entries
    assert [outcome.payload for _, outcome in got] == files


def test_most_chunks_of_medium_images_are_written_at_once(tmp_path):
    """A file that does not fit after the others goes to the next slot; only the first one exceeds a slot."""
    data = made.jpeg(0, 200, 200, QUALITY=100)
    assert 30_000 < len(data) < 100_000
    (tmp_path / "a.jpg").write_bytes(data)
    with Intake(ImageTarget((200, 200)), 1) as reader:
        chunks = [(len(chunk), chunk.copied) for chunk in reader.chunks([Entry(str(tmp_path / "a.jpg"), 0)] * 100)]
    assert sum(count for count, _ in chunks) == 100
    assert [copied for _, copied in chunks].count(False) <= 1


@pytest.mark.parametrize("check", ["decode", "headers"])
def test_a_payload_with_the_magic_number_is_framed_in_parts(tmp_path, check):
    data = [made.jpeg(number) for number in range(3)]
    for shift in range(4):  # it counts only at a multiple of 4
        comment = bytes(shift) + MAGIC_BYTES * 2 + bytes(8)
        marked = data[1][:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[1][2:]
        images = [data[0], marked, data[2]]
        for number, image in enumerate(images):
            (tmp_path / f"{number}.jpg").write_bytes(image)
        (tmp_path / "a.lst").write_text("".join(f"1\t{tmp_path}/{number}.jpg\t{number}\n" for number in range(3)))
        pack(str(tmp_path / "a.lst"), str(tmp_path / "set"), overwrite=True, check=check, layout="plain")
        assert payloads(tmp_path / "set") == images
        with RecordWriter(str(tmp_path / "one.rec"), overwrite=True) as one_by_one:
            for number, image in enumerate(images):
                one_by_one.write(number, image, float(number), number)
        for ending in ("rec", "idx"):
            assert (tmp_path / f"set/train.{ending}").read_bytes() == (tmp_path / f"one.{ending}").read_bytes(), shift


def test_alternating_headers_of_two_encoders(tmp_path):
    """Files that begin like a copied one, but have another size, orientation or end."""
    plain, other = made.jpeg(0), made.jpeg(1, QUALITY=50)
    files = [plain, other, plain, plain[:-40], other, made.jpeg(2, 96, 112), other[:300], plain + b"\0", b"\xff\xd8"]
    for number, data in enumerate(files * 2):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    entries = [Entry(str(tmp_path / f"{number}.jpg"), 0) for number in range(2 * len(files))]
    for check in ("decode", "headers"):
        with Intake(ImageTarget(), 1, check) as reader:
            got = [c.outcome(i) for c in reader.chunks(entries) for i in range(len(c))]
        kinds = ["copied" if getattr(o, "payload", b"") in files else type(o).__name__ for o in got]
        assert kinds == ["copied", "copied", "copied", "Skip", "copied", "Prepared", "Skip", "copied", "Skip"] * 2


def test_real_damage(real_data, insight, tmp_path):
    """Faces with damage in their data: all that OpenCV's decoder reports, by name."""
    folder = real_data / "reports/03-damaged-jpegs/faces"
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg"))
    files = {name.replace("/", "-"): (folder / name).read_bytes() for name in names}
    verdicts = made.opencv_says(files, tmp_path)
    wanted = {name.replace("-", "/", 1): verdict.printed[0] for name, verdict in verdicts.items() if verdict.printed}
    assert wanted
    assert insight("dir2lst", folder, "a.lst")[0] == 0
    status, _, err = insight("face2rec", "a.lst", "--output", "set")
    assert (status, err) == (0, "") if len(wanted) < len(names) else status == 2
    if status == 0:
        listed = rows(tmp_path / "set/train.skipped.csv")
        assert {name: reason for name, reason in listed.items() if not reason.startswith("not a readable")} == wanted
    status, _, err = insight("face2rec", "a.lst", "--output", "all", "--damaged", "keep")
    assert (status, err) == (0, "")
    assert rows(tmp_path / "all/train.damaged.csv") == wanted
    assert np.all([payload in files.values() for payload in payloads(tmp_path / "all")])
