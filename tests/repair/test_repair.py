"""dataset-repair: what it writes, what it lists, what it does not change."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from made_faces import encode, face
from planted_set import CLEAN, EACH, IMAGES, PEOPLE, Rec
from written_files import names, rows

from insight import cli
from insight.check.check import check
from insight.errors import InsightError
from insight.formats import remedies
from insight.formats.faceset import FaceSet
from insight.formats.property import Property
from insight.formats.recordcolumns import RecordColumns
from insight.formats.recordio import Record, RecordFile, RecordWriter
from insight.repair import sound_copy as repair_copy
from insight.repair.repair import repair

GIF = b"GIF89a" + bytes(60)


@pytest.fixture
def made(tmp_path):
    (tmp_path / "set").mkdir()
    return Rec(tmp_path / "set")


@pytest.fixture
def plain(tmp_path):
    (tmp_path / "plain").mkdir()
    return Rec(tmp_path / "plain", "plain")


def into(made, **options):
    """Repair into ``out`` beside the set; returns the report."""
    return repair(str(made.folder), str(made.folder.parent / "out"), **options)


def images_of(folder):
    with FaceSet.open(str(folder)) as faces:
        return [(int(label), bytes(faces.payload(i))) for i, label in enumerate(faces.labels)]


def sound(made):
    return [(row[2][0] if isinstance(row[2], tuple) else row[2], row[1]) for row in made.rows[:IMAGES]]


class TestInPlace:
    def test_a_sound_set_is_not_changed(self, made):
        made.write()
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in made.folder.iterdir()}
        report = repair(str(made.folder), overwrite=True)
        assert report.ok
        assert report.lines() == [
            f"{made.rec}: 12 images with 4 labels, 5 header and identity records; indexed layout",
            f"{made.idx}: kept (it fits the .rec)",
            f"{made.folder}/property: kept",
        ]
        assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in made.folder.iterdir()} == before

    def test_a_lost_idx_is_restored(self, made):
        made.write()
        before = made.idx.read_bytes()
        made.idx.unlink()
        report = repair(str(made.folder))
        assert report.lines()[1:] == [f"{made.idx}: written (it was missing)", f"{made.folder}/property: kept"]
        assert made.idx.read_bytes() == before
        assert names(made.folder) == ["property", "train.idx", "train.rec"]

    def test_idx_and_property_are_restored_together(self, made):
        made.write()
        made.idx.unlink()
        (made.folder / "property").unlink()
        assert repair(str(made.rec)).ok
        assert (made.folder / "property").read_text() == f"{PEOPLE},112,112"
        assert images_of(made.folder) == sound(made)

    def test_wrong_files_are_replaced_only_with_overwrite_and_all_or_none(self, made):
        made.declared = None
        made.write()
        made.idx.write_text("1\tmany\n")
        with pytest.raises(InsightError, match=r"train\.idx: does not fit the set \(line 1: want an integer key"):
            repair(str(made.folder))
        assert made.idx.read_text() == "1\tmany\n"
        assert names(made.folder) == ["train.idx", "train.rec"]

    def test_a_dry_run_writes_nothing(self, made):
        made.write()
        made.idx.unlink()
        report = repair(str(made.folder), dry_run=True)
        assert f"{made.idx}: would be written (it was missing)" in report.lines()
        assert names(made.folder) == ["property", "train.rec"]

    def test_reserved_classes_are_kept(self, made):
        made.declared = Property(PEOPLE + 5, 112, 112)
        made.write()
        assert repair(str(made.folder)).lines()[-1] == f"{made.folder}/property: kept"
        repair(str(made.folder), overwrite=True)
        assert (made.folder / "property").read_text() == f"{PEOPLE},112,112"

    def test_faults_that_a_new_idx_cannot_repair_remain(self, made, capsys):
        made.write()
        data = bytearray(made.rec.read_bytes())
        data[int(made.offset(5))] ^= 0xFF
        made.rec.write_bytes(data)
        made.idx.unlink()
        assert cli.main(["dataset-repair", str(made.folder)]) == 1
        lines = capsys.readouterr().out.splitlines()
        command = f"insight dataset-repair {made.folder} --output {made.folder}-repaired"
        assert lines[-1] == f"`{command}` skips and lists damaged records"
        assert lines[-2].startswith("faults of the .rec itself: offset ")
        with RecordFile(str(made.rec)) as records:
            assert sorted(records.keys.tolist()) == sorted({*range(IMAGES + PEOPLE + 1)} - {5})

    def test_unaligned_offsets(self, made):
        """Bytes inserted before a record shift all that follow; only a new .rec restores these."""
        made.write()
        data, at = made.rec.read_bytes(), int(made.offset(5)) + 300
        made.rec.write_bytes(data[:at] + b"abc" + data[at:])
        assert not repair(str(made.folder), overwrite=True).ok
        with RecordFile(str(made.rec)) as records:
            assert records.keys.tolist() == [1, 2, 3, 4, 5]
            assert bytes(records.read(4).payload) == CLEAN[3]
        into(made)
        assert len(images_of(made.folder.parent / "out")) >= IMAGES - 1

    def test_a_size_that_most_images_have(self, made):
        made.declared = None
        made.rows[1][1] = encode(face(1, 96, 112))
        made.write()
        report = repair(str(made.folder))
        assert (made.folder / "property").read_text() == f"{PEOPLE},112,112"
        assert report.remains[0] == "faults of the .rec itself: 1 images are not 112x112 (key 2)"

    def test_the_property_of_several_sets(self, made):
        made.declared = None
        made.write()
        with RecordWriter(str(made.folder / "other.rec")) as out:
            out.write(0, CLEAN[0], 0, 0)
        assert "which were not read" in repair(str(made.rec)).lines()[-1]

    def test_lost_keys_are_not_invented(self, made):
        """Two sets in one .rec: their numbers collide, and neither of the two headers fits."""
        made.write()
        made.rec.write_bytes(made.rec.read_bytes() * 2)
        made.idx.unlink()
        with pytest.raises(InsightError, match="their keys are lost; `insight dataset-repair .* --output"):
            repair(str(made.folder))
        assert names(made.folder) == ["property", "train.rec"]
        into(made)
        assert sorted(images_of(made.folder.parent / "out")) == sorted(2 * sound(made))

    def test_keys_of_an_idx_that_also_lists_damaged_records(self, plain):
        """The records have no numbers: only the .idx has the keys of the intact ones."""
        for row in plain.rows:
            row[0], row[3] = 100 + 5 * row[0], 0
        plain.write()
        data = bytearray(plain.rec.read_bytes())
        data[int(plain.offset(120))] ^= 0xFF
        plain.rec.write_bytes(data)
        repair(str(plain.folder), overwrite=True)
        with FaceSet.open(str(plain.folder)) as faces:
            assert faces.images.tolist() == [key for key in range(100, 160, 5) if key != 120]

    @pytest.mark.parametrize("option", ["size", "keep_labels", "group", "deep"])
    def test_options_of_a_new_rec(self, made, option):
        made.write()
        with pytest.raises(InsightError, match=r"applies to a new \.rec; give --output DIR too"):
            repair(str(made.folder), **{option: (112, 112) if option == "size" else True})

    def test_of_a_set_that_is_linked(self, made, tmp_path):
        """A read-only .rec elsewhere: link it into another folder, and repair that."""
        made.write()
        (tmp_path / "own").mkdir()
        (tmp_path / "own/train.rec").symlink_to(made.rec)
        repair(str(tmp_path / "own"))
        assert images_of(tmp_path / "own") == sound(made)
        assert names(tmp_path / "own") == ["property", "train.idx", "train.rec"]


class TestIntoAFolder:
    def test_a_rec_that_is_sound_is_not_copied(self, made, tmp_path):
        made.write()
        made.rec.chmod(0o444)
        made.idx.write_bytes(made.idx.read_bytes()[:40])
        report = into(made)
        assert report.done[0] == f"{tmp_path}/out/train.rec: a hard link to {made.rec}, not a copy"
        assert os.path.samefile(made.rec, tmp_path / "out/train.rec")
        assert images_of(tmp_path / "out") == sound(made)
        assert names(tmp_path / "out") == ["property", "train.idx", "train.rec"]

    def test_a_rec_on_another_disk_is_copied(self, made, tmp_path, monkeypatch):
        def link(source, target):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(repair_copy.os, "link", link)
        monkeypatch.setattr(repair_copy, "_COPIED", 1000)
        made.write()
        made.idx.unlink()
        assert into(made).done[0] == f"{tmp_path}/out/train.rec: a copy of {made.rec}"
        assert (tmp_path / "out/train.rec").read_bytes() == made.rec.read_bytes()
        assert images_of(tmp_path / "out") == sound(made)

    def test_everything_at_once(self, made, tmp_path, capsys):
        made.rows[1][1] = b""
        made.rows[4][1] = GIF
        made.rows[7][1] = CLEAN[7][:-30]
        made.rows[10][1] = encode(face(10, 96, 112))
        made.write()
        offsets = {key: int(made.offset(key)) for key in (2, 5, 7, 8, 11)}
        data = bytearray(made.rec.read_bytes())
        data[offsets[7]] ^= 1
        made.rec.write_bytes(data[: int(made.offset(15))])
        assert cli.main(["dataset-repair", str(made.folder), "--output", str(tmp_path / "out")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].startswith("left out: 1 damaged-record, ") or "1 damaged-record" in lines[1]
        assert lines[1].endswith(f"; listed in {tmp_path}/out/repair.csv")
        assert lines[-1] == (
            f"{tmp_path}/out/train.rec: 7 images + 4 identity records + 1 header = 12 records; property 4,112,112"
        )
        table = rows(tmp_path / "out/repair.csv")
        assert [(row["offset"], row["key"], row["label"], row["reason"].split(":")[0]) for row in table] == [
            (str(offsets[2]), "2", "0", "empty-image"),
            (str(offsets[5]), "5", "1", "not-an-image"),
            (str(offsets[7]), "", "", "damaged-record"),
            (str(offsets[8]), "8", "2", "truncated-image"),
            (str(offsets[11]), "11", "3", "image-size"),
        ]
        assert images_of(tmp_path / "out") == [sound(made)[i] for i in (0, 2, 3, 5, 8, 9, 11)]
        assert [f.code for f in check(str(tmp_path / "out")).findings] == ["single-images"]

    def test_it_trains(self, made, tmp_path):
        from insight.feed.loader import Loader

        made.rows[4][1] = GIF
        made.write()
        made.rec.write_bytes(made.rec.read_bytes()[: int(made.offset(12)) + 99])
        with pytest.raises(InsightError), FaceSet.open(str(made.folder)) as faces:
            next(Loader(faces, 10).batches())
        into(made)
        with FaceSet.open(str(tmp_path / "out")) as faces:
            batch = next(Loader(faces, 10).batches())
            assert batch.data.shape == (10, 3, 112, 112)

    def test_label_vectors_and_second_numbers_are_kept(self, plain, tmp_path):
        with RecordWriter(str(plain.rec)) as out:
            for i, data in enumerate([*CLEAN[:4], GIF]):
                out.write(3 * i, data, (10.0 * i, 0.25, -1.5), 3 * i, 100 + i)
        into(plain)
        with RecordFile(str(tmp_path / "out/train.rec")) as records:
            assert records.keys.tolist() == [0, 3, 6, 9]  # in a plain set they may be used
            for i, key in enumerate(records.keys.tolist()):
                record = records.read(key)
                assert (record.label.tolist(), record.id, record.id2) == ([i, 0.25, -1.5], key, 100 + i)
                assert bytes(record.payload) == CLEAN[i]

    def test_a_new_set_has_the_layout_of_the_old(self, made, tmp_path):
        """Byte for byte that of the sound set, except for the order of header and identity records."""
        made.write()
        reference = {r.id: (r.flag, r.label.tolist(), bytes(r.payload)) for _, r in RecordFile(str(made.rec)).scan()}
        made.rows[IMAGES][2] = (17, 13)
        made.idx.unlink(), made.rec.unlink()
        made.write()
        into(made)
        with RecordFile(str(tmp_path / "out/train.rec")) as records:
            assert {r.id: (r.flag, r.label.tolist(), bytes(r.payload)) for _, r in records.scan()} == reference

    @pytest.mark.parametrize("labels", [(0, 1, 2, 3), (3, 1, 0, 2)])
    def test_labels_without_a_gap_are_kept(self, plain, tmp_path, labels):
        for i, row in enumerate(plain.rows):
            row[2] = labels[i // EACH]
        plain.rows[0][1] = b""
        plain.write()
        into(plain)
        assert images_of(tmp_path / "out") == sound(plain)[1:]
        assert names(tmp_path / "out") == ["property", "repair.csv", "train.idx", "train.rec"]

    def test_other_labels_are_renumbered_in_their_order(self, plain, tmp_path):
        for i, row in enumerate(plain.rows):
            row[2] = (13_800_000_512, 7, 1_100_001, 3)[i // EACH]
        plain.write()
        report = into(plain)
        assert [label for label, _ in images_of(tmp_path / "out")] == [3] * 3 + [1] * 3 + [2] * 3 + [0] * 3
        assert rows(tmp_path / "out/labels.csv") == [
            {"old": old, "new": new}
            for new, old in zip("0123", ("3", "7", "1100001", f"{np.float32(13_800_000_512):.0f}"))
        ]
        assert "note: labels above 16777216 are rounded in records of other tools" in report.done[1]
        assert (tmp_path / "out/property").read_text() == f"{PEOPLE},112,112"

    def test_keep_labels(self, plain, tmp_path):
        for row in plain.rows:
            row[2] = 5 * row[2]
        plain.rows[0][1] = b""
        plain.write()
        into(plain, keep_labels=True)
        assert images_of(tmp_path / "out") == sound(plain)[1:]
        assert (tmp_path / "out/property").read_text() == "16,112,112"
        plain.rows[1][2] = 2.0**31
        plain.rec.unlink(), plain.idx.unlink()
        plain.write()
        with pytest.raises(InsightError, match="--keep-labels: .* has label 2147483648, want labels below 2"):
            into(plain, keep_labels=True, overwrite=True)

    @pytest.mark.parametrize("layout", ["made", "plain"])
    def test_images_of_a_label_are_grouped(self, layout, tmp_path, request):
        source = request.getfixturevalue(layout)
        source.rows[1], source.rows[10] = source.rows[10], source.rows[1]
        for key, row in enumerate(source.rows[:IMAGES], layout == "made"):
            row[0] = row[3] = key
        source.write()
        assert into(source, dry_run=True).done[0].startswith(f"note: {PEOPLE + 4} runs of {PEOPLE} labels; --group")
        into(source, group=True)
        assert images_of(tmp_path / "out") == sorted(sound(source), key=lambda pair: pair[0])
        assert "split-identity" not in [f.code for f in check(str(tmp_path / "out")).findings]

    def test_a_size_is_chosen(self, plain, tmp_path):
        for i in range(4):
            plain.rows[3 * i][1] = encode(face(i, 96, 96))
        plain.write()
        into(plain, size=(96, 96))
        assert len(images_of(tmp_path / "out")) == 4
        assert (tmp_path / "out/property").read_text() == "4,96,96"
        with pytest.raises(InsightError, match="none of its 12 images can be used"):
            into(plain, size=(50, 50), overwrite=True)

    def test_sizes_without_a_majority(self, plain):
        for i, row in enumerate(plain.rows):
            row[1] = encode(face(i, 100 + i, 112))
        plain.write()
        with pytest.raises(
            InsightError, match=r"different sizes .*1 of 100x112, .*; give the one to keep with --image-size"
        ):
            into(plain)

    def test_kinds_without_a_size_in_the_header_are_decoded(self, plain, tmp_path):
        for i, row in enumerate(plain.rows):
            row[1] = encode(face(i), ".bmp" if i % 2 else ".webp")
        plain.declared = None
        plain.rows[0][1] = GIF
        plain.write()
        into(plain)
        assert (tmp_path / "out/property").read_text() == "4,112,112"
        assert len(images_of(tmp_path / "out")) == IMAGES - 1

    @pytest.mark.parametrize("number", [0, 1])
    def test_the_layout_of_a_set_without_its_identity_records(self, tmp_path, number):
        """face2rec's keys begin with 1 and InsightFace's readers want a header; im2rec's begin with 0."""
        (tmp_path / "cut").mkdir()
        with RecordWriter(str(tmp_path / "cut/train.rec")) as out:
            for i, data in enumerate(CLEAN, number):
                out.write(i, data, (i - number) // EACH, i)
        rec = tmp_path / "cut/train.rec"
        rec.write_bytes(rec.read_bytes()[:-50])
        repair(str(tmp_path / "cut"), str(tmp_path / "out"))
        with FaceSet.open(str(tmp_path / "out")) as faces:
            assert faces.indexed == bool(number)
            assert len(faces) == IMAGES - 1

    def test_an_idx_that_lists_some_records(self, plain, tmp_path):
        """The others may be omitted on purpose: they are skipped, and listed for a new .rec."""
        plain.write()
        plain.edit_idx(lambda lines: lines.pop(3))
        assert into(plain).done[0].startswith("note: the .idx: it lists 11 of 12 records; the others are skipped.")
        assert os.path.samefile(plain.rec, tmp_path / "out/train.rec")
        assert len(images_of(tmp_path / "out")) == IMAGES - 1
        plain.rows[5][1] = GIF
        plain.rec.unlink(), plain.idx.unlink()
        plain.write()
        plain.edit_idx(lambda lines: lines.pop(3))
        into(plain, overwrite=True)
        assert [row["reason"].split(":")[0] for row in rows(tmp_path / "out/repair.csv")] == [
            "unnamed-record",
            "not-an-image",
        ]

    def test_existing_files_are_replaced_only_with_overwrite(self, made, tmp_path):
        made.rows[0][1] = GIF
        made.write()
        into(made)
        with pytest.raises(InsightError, match=r"already exists; give another output, or --overwrite"):
            into(made)
        made.rows[0][1] = CLEAN[0]
        made.rec.unlink(), made.idx.unlink()
        made.write()
        into(made, overwrite=True)
        assert names(tmp_path / "out") == ["property", "train.idx", "train.rec"]  # the old list was removed
        with pytest.raises(InsightError, match=r"--output .*: is the folder of .*train.rec, which is being read"):
            repair(str(made.folder), str(made.folder), overwrite=True)

    def test_a_dry_run_writes_nothing(self, made, tmp_path):
        made.write()
        assert into(made, dry_run=True).done == ["dry run, no set is written; the .rec would be linked, not copied"]
        made.rows[0][1] = GIF
        made.rec.unlink(), made.idx.unlink()
        made.write()
        assert into(made, dry_run=True).done[-1] == "dry run, no set is written; the images would be copied"
        assert not (tmp_path / "out").exists()

    def test_an_interrupt_leaves_no_file(self, made, tmp_path, monkeypatch):
        def interrupted(items, what, *rest):
            for i, item in enumerate(items):
                if what == "writing" and i == 5:
                    raise KeyboardInterrupt
                yield item

        monkeypatch.setattr(repair_copy, "track", interrupted)
        made.rows[0][1] = GIF
        made.write()
        with pytest.raises(KeyboardInterrupt):
            into(made)
        assert not (tmp_path / "out").exists()

    def test_workers_and_depth(self, made, tmp_path):
        at = CLEAN[5].index(b"\xff\xc4") + 5
        made.rows[5][1] = CLEAN[5][:at] + b"\xff" * 8 + CLEAN[5][at + 8 :]  # Huffman counts that no table can have
        made.write()
        into(made)
        assert len(images_of(tmp_path / "out")) == IMAGES
        into(made, deep=True, workers=3, overwrite=True)
        assert len(images_of(tmp_path / "out")) == IMAGES - 1
        first = (tmp_path / "out/train.rec").read_bytes(), (tmp_path / "out/repair.csv").read_bytes()
        into(made, deep=True, workers=1, overwrite=True)
        assert first == ((tmp_path / "out/train.rec").read_bytes(), (tmp_path / "out/repair.csv").read_bytes())

    def test_no_usable_image_left(self, made):
        for row in made.rows[:IMAGES]:
            row[1] = GIF
        made.write()
        with pytest.raises(InsightError, match="none of its 12 images can be used; the first, key 1: not-an-image"):
            into(made)
        made.rec.write_bytes(b"GIF89a" * 50)
        with pytest.raises(InsightError, match="holds no record that can be read"):
            into(made)


def columns(*records):
    """Records given as (flag, label, id, payload)."""
    collected = RecordColumns()
    for offset, (flag, label, id, payload) in enumerate(records):
        collected.add(offset, Record(flag, np.float32(label), id, 0, memoryview(payload)))
    return collected.columns()


IMAGE = b"x"


@pytest.mark.parametrize(
    "records, keys",
    [
        ([(0, 0, 7, IMAGE), (0, 0, 3, IMAGE)], [7, 3]),  # numbers of their own
        ([(0, 0, 7, IMAGE), (0, 0, 7, IMAGE)], [0, 1]),  # or none
        ([(0, 0, 2**63, IMAGE), (0, 0, 1, IMAGE)], [0, 1]),  # or too large for an .idx
        # header first, as face2rec writes it, and last, as RecBuilder does
        (
            [(0, 0, 0, IMAGE), (0, 1, 0, IMAGE), (2, (3, 5), 0, b""), (2, (1, 2), 0, b""), (2, (2, 3), 0, b"")],
            [1, 2, 0, 3, 4],
        ),
        (
            [(0, 0, 0, IMAGE), (0, 1, 0, IMAGE), (2, (1, 2), 0, b""), (2, (2, 3), 0, b""), (2, (3, 5), 0, b"")],
            [1, 2, 3, 4, 0],
        ),
        ([(0, 0, 0, IMAGE), (2, (1, 2), 0, b""), (2, (9, 9.5), 0, b"")], [0, 1, 2]),  # no header fits
    ],
)
def test_keys_without_an_idx(records, keys):
    collected = columns(*records)
    assert collected.own_keys().tolist() == keys
    assert collected.has_original_keys() == (keys[0] == 1 or collected.flags.max() == 0)


def test_which_records_hold_ranges():
    large = float(1 << 24)
    collected = columns(
        (2, (3, 5), 0, b""),
        (2, (large, large), 0, b""),  # rounded: one image above 2^24
        (2, (3, 3), 0, b""),
        (2, (5, 1), 0, b""),  # an empty image, [identity, aligned]
        (2, (0, 1), 0, b""),
        (2, (3, 5), 0, IMAGE),
        (2, (3, np.inf), 0, b""),
        (0, 3, 0, b""),
    )
    assert collected.ranges().tolist() == [True, True, False, False, False, False, False, False]
    odd = (1 << 25) + 1  # is exact in id2, and both ends are rounded to 2^25
    exact = RecordColumns()
    exact.add(0, Record(2, np.float32([odd, odd + 1]), 7, odd, memoryview(b"")))
    assert exact.columns().ranges().tolist() == [True]


@pytest.mark.parametrize(
    "path, typed, output",
    [
        ("work/set", "work/set", "work/set-repaired"),
        ("work/set/", "work/set/", "work/set-repaired"),
        ("work/set/train.rec", "work/set/train.rec", "work/set-repaired"),
        ("work/set/val.rec", "work/set/val.rec", "work/set/val-repaired"),
        ("train.rec", "train.rec", "repaired"),
        (".", ".", "repaired"),
        ("..", "..", "../repaired"),
        ("/", "/", "/repaired"),
        ("my set", "'my set'", "'my set-repaired'"),
        ("-set", "./-set", "./-set-repaired"),
    ],
)
def test_commands_are_quoted(path, typed, output):
    assert remedies.in_place(path) == f"insight dataset-repair {typed}"
    assert remedies.into_new(path) == f"insight dataset-repair {typed} --output {output}"


@pytest.mark.parametrize("layout", ["made", "plain"])
def test_the_result_is_sound_for_any_damage(layout, request, tmp_path):
    """Flipped, lost, inserted bytes and cut ends in any of the files: a set without errors, or one line."""
    source = request.getfixturevalue(layout)
    source.write()
    whole = {path: path.read_bytes() for path in source.folder.iterdir()}
    rng = np.random.default_rng(0)
    for number, path in enumerate(sorted(whole) * 25):
        data, how = bytearray(whole[path]), int(rng.integers(4))
        starts = [m.start() for m in re.finditer(rb"\x0a\x23\xd7\xce", data)] or [0]
        at = min(int(rng.choice(starts)) + int(rng.integers(60)), len(data) - 1)
        if how == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif how == 1:
            del data[at : at + int(rng.integers(1, 50))]
        elif how == 2:
            data[at:at] = rng.bytes(int(rng.integers(1, 9)))
        else:
            del data[max(at, 6000) :]
        for file, content in whole.items():
            file.write_bytes(data if file == path else content)
        if number % 5 == 0:
            source.idx.unlink()
        out = tmp_path / f"out{number}"
        repair(str(source.folder), str(out))
        report = check(str(out))
        assert report.ok, (path.name, how, at, report.findings)
        kept = [data for _, data in images_of(out)]
        assert len(set(kept) - set(CLEAN)) <= 1  # a damaged payload may still begin as an image
        if path.suffix == ".rec" and how < 3:
            assert len(kept) >= IMAGES - 2
        elif path.suffix != ".rec" and not (
            layout == "plain" and path.suffix == ".idx"
        ):  # truncated: may be omitted on purpose
            assert len(kept) == IMAGES
        repair(str(source.folder), overwrite=True)  # never fails either
