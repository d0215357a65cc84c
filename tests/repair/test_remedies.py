"""Each remedy is tried: the command is extracted from the message and run unchanged.

After it, the set opens, and dataset-check reports no error.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import planted_faults
import pytest
from made_faces import encode, face
from planted_set import CLEAN, EACH, IMAGES, PEOPLE, Rec

from insight import cli
from insight.check.check import check
from insight.check.rules import RULES
from insight.errors import InsightError
from insight.faces.embed import batches
from insight.faces.sources import image_source
from insight.formats.faceset import FaceSet
from insight.formats.property import Property
from insight.sets.payloads import refuse_unusable
from insight.train.guards import check_set

REPORTED = Path(os.environ.get("INSIGHT_TEST_DATA", "no test data"), "reports/10-idx-offsets")
NAME = "my set"  # a path that a shell would split
ANOTHER = encode(face(99))


def opening(path) -> str:
    """The error of a command that opens a set and reads its images."""
    try:
        with FaceSet.open(str(path)) as faces:
            for i in range(len(faces)):
                faces.payload(i)
            return " ".join(faces.notes)
    except InsightError as error:
        return str(error)


def checking(path, deep=False) -> str:
    """The remedies of dataset-check, those of errors first."""
    return " ".join(finding.remedy for finding in check(str(path), deep=deep).findings)


def training(path) -> str:
    with FaceSet.open(str(path)) as faces:
        try:
            return " ".join(check_set(faces, SimpleNamespace(image_size="")))
        except InsightError as error:
            return str(error)


def embedding(path) -> str:
    with FaceSet.open(str(path)) as faces, pytest.raises(InsightError) as refused:
        refuse_unusable(faces)
    return str(refused.value)


def decoding(path) -> str:
    images = image_source(str(path / "train.rec"))
    with pytest.raises(InsightError) as refused:
        list(batches(images, (112, 112), IMAGES))
    return str(refused.value)


def commands(message: str) -> list:
    """The commands in backquotes, as words."""
    return [shlex.split(text, comments=False) for text in re.findall(r"`(insight [^`]+)`", message)]


def follow(message: str, statuses=(0,)) -> Path:
    """Run the first command that a message names; returns the resulting set."""
    words = commands(message)[0]
    assert cli.main(words[1:]) in statuses
    return Path(words[words.index("--output") + 1] if "--output" in words else words[2])


DAMAGE = []


def damage(*messages, layout="indexed", images=IMAGES, in_place=True, labels=PEOPLE):
    """Register a damage: a function that changes a Rec and may return one that changes its files."""

    def register(function):
        for message in messages:
            values = (function, message, layout, images, in_place, labels)
            DAMAGE.append(pytest.param(*values, id=f"{function.__name__} {message.__name__}"))
        return function

    return register


damage(checking, opening)(planted_faults.no_idx)


@damage(checking, layout="plain")
def no_idx_of_im2rec(made):
    for row in made.rows:
        row[3] = 0  # the records have no numbers of their own
    return lambda made: made.idx.unlink()


@damage(checking)
def no_idx_and_no_numbers(made):
    for row in made.rows:
        row[3] = 0
    return lambda made: made.idx.unlink()


@damage(checking)
def numbers_beyond_every_key(made):
    for i, row in enumerate(made.rows):
        row[3] = 2**63 + i
    return lambda made: made.edit_idx(lambda lines: lines[3].__setitem__(0, str(2**63)))


damage(checking)(planted_faults.an_idx_of_another_set)


@damage(opening, in_place=False)
def an_idx_of_another_set_as_readers_see_it(made):
    return planted_faults.an_idx_of_another_set(made)


@damage(checking, in_place=False)
def an_idx_of_a_shuffled_set(made):
    def shuffle(lines):
        offsets = [line[1] for line in lines]
        for line, offset in zip(lines, offsets[5:] + offsets[:5]):
            line[1] = offset

    return lambda made: made.edit_idx(shuffle)


@damage(checking, opening)
def offsets_of_64_ones(made):
    def spoil(lines):
        for line in lines[8:]:
            line[1] = str(2**64 - 1)

    return lambda made: made.edit_idx(spoil)


@damage(opening, in_place=False)
def offsets_past_the_end(made):
    return lambda made: made.edit_idx(lambda lines: lines[3].__setitem__(1, str(10**9)))


damage(checking)(planted_faults.an_offset_inside_a_record)


damage(checking, opening)(planted_faults.a_key_twice)


damage(checking)(planted_faults.two_keys_on_one_record)


@damage(checking, layout="plain")
def a_cut_idx(made):
    return lambda made: made.edit_idx(lambda lines: lines.__delitem__(slice(7, None)))


damage(checking, opening)(planted_faults.no_property)


damage(checking, opening)(planted_faults.a_bad_property)


damage(checking)(planted_faults.a_wrong_size_in_property)


damage(checking, training)(planted_faults.too_few_classes)


@damage(checking)
def a_property_of_too_many_classes(made):
    made.declared = Property(PEOPLE + 3, 112, 112)


@damage(checking, training, layout="plain", in_place=False)
def labels_without_images(made):
    for row in made.rows[6:]:
        row[2] += 7
    made.declared = Property(PEOPLE + 7, 112, 112)


@damage(checking, training, layout="plain", in_place=False)
def labels_of_millions(made):
    for row in made.rows:
        row[2] = 1_100_001 + 13 * row[2]
    made.declared = Property(1_100_041, 112, 112)


@damage(checking, opening, layout="plain", in_place=False)
def labels_that_are_phone_numbers(made):
    for row in made.rows:
        row[2] = 13_800_000_000 + 4096 * row[2]


damage(checking, training, layout="plain", in_place=False, images=IMAGES - EACH, labels=PEOPLE - 1)(
    planted_faults.labels_below_zero
)


damage(checking, opening, layout="plain", in_place=False, images=IMAGES - 1)(planted_faults.half_a_label)


def spoiled(made, key, at, xor=0xFF):
    data = bytearray(made.rec.read_bytes())
    data[int(made.offset(key)) + at] ^= xor
    made.rec.write_bytes(data)


@damage(checking, opening, in_place=False, images=IMAGES - 1)
def a_damaged_record_in_the_middle(made):
    return lambda made: spoiled(made, 5, 0)


@damage(checking, opening, in_place=False, images=IMAGES - 1, layout="plain")
def a_damaged_record_of_im2rec(made):
    return lambda made: spoiled(made, 5, 0)


@damage(checking, opening, in_place=False, images=IMAGES - 1)
def a_damaged_record_in_front(made):
    return lambda made: spoiled(made, 1, 1)


damage(checking, in_place=False, images=IMAGES - 1)(planted_faults.a_length_over_the_next_record)


@damage(checking, opening, in_place=False, images=IMAGES - 1)
def bytes_lost_in_a_record(made):
    def lose(made):
        data, at = made.rec.read_bytes(), int(made.offset(5)) + 300
        made.rec.write_bytes(data[:at] + data[at + 3 :])

    return lose


damage(checking, opening, in_place=False, images=7, labels=3)(planted_faults.a_cut_rec)


@damage(checking, in_place=False, images=7, labels=3)
def a_cut_rec_without_idx(made):
    def cut(made):
        made.rec.write_bytes(made.rec.read_bytes()[: int(made.offset(8)) + 100])
        made.idx.unlink()

    return cut


damage(checking, in_place=False)(planted_faults.a_rec_cut_between_records)


damage(checking, in_place=False)(planted_faults.no_header)


damage(checking, opening, in_place=False)(planted_faults.a_header_backwards)


damage(checking, opening, in_place=False)(planted_faults.an_identity_lost)


damage(checking, opening, in_place=False)(planted_faults.a_range_too_long)


damage(checking, in_place=False, images=IMAGES - 1)(planted_faults.an_image_lost)


@damage(checking, layout="plain", in_place=False)
def an_identity_in_two_places(made):
    made.rows.append(made.rows.pop(1))
    for key, row in enumerate(made.rows):
        row[0] = row[3] = key


@damage(checking, embedding, in_place=False, images=IMAGES - 2)
def payloads_that_are_not_images(made):
    made.rows[2][1], made.rows[7][1] = b"", b"GIF89a" + bytes(60)


@damage(checking, decoding, in_place=False, images=IMAGES - 1)
def an_image_that_does_not_decode(made):
    at = CLEAN[5].index(b"\xff\xc4") + 5  # Huffman counts that no table can have
    made.rows[5][1] = CLEAN[5][:at] + b"\xff" * 8 + CLEAN[5][at + 8 :]


@damage(checking, in_place=False, images=IMAGES - 1)
def an_image_whose_scan_is_damaged(made):
    at = len(CLEAN[5]) // 2
    made.rows[5][1] = CLEAN[5][:at] + CLEAN[5][at + 40 :]


@damage(checking, in_place=False, images=IMAGES - 1)
def an_image_that_is_cut(made):
    made.rows[5][1] = CLEAN[5][:-40]


@damage(checking, in_place=False, images=IMAGES + 1)
def a_key_after_the_identities(made):
    made.rows.append([40, ANOTHER, (PEOPLE - 1, 1), 40])


@damage(checking, in_place=False, images=IMAGES - 1)
def a_payload_that_is_not_an_image(made):
    made.rows[7][1] = b"GIF89a" + bytes(60)


@damage(checking, in_place=False, images=IMAGES - 1)
def an_image_of_another_size(made):
    made.rows[5][1] = encode(face(5, 96, 112))


@pytest.mark.parametrize("plant, message, layout, images, in_place, labels", DAMAGE)
def test_a_remedy_works(tmp_path, monkeypatch, capsys, plant, message, layout, images, in_place, labels):
    monkeypatch.chdir(tmp_path)
    Path(NAME).mkdir()
    made = planted(Path(NAME), plant, layout)
    before = {p.name: (p.read_bytes(), p.stat().st_ino) for p in made.folder.iterdir()}
    text = message(made.folder) if message is not checking else checking(made.folder, deep=True)
    result = follow(text)
    assert (result.resolve() in (made.folder.resolve(), made.rec.resolve())) == in_place
    rec, inode = before["train.rec"]
    assert made.rec.read_bytes() == rec
    if in_place:
        assert made.rec.stat().st_ino == inode
    else:
        assert {p.name: (p.read_bytes(), p.stat().st_ino) for p in made.folder.iterdir()} == before
    report = check(str(result), deep=True)
    assert [finding.code for finding in report.findings if finding.code not in ("single-images", "record-order")] == []
    with FaceSet.open(str(result)) as faces:
        assert len(faces) == images
        assert faces.num_classes == len(np.unique(faces.labels)) == labels
        assert {bytes(faces.payload(i)) for i in range(images)} <= {*CLEAN, ANOTHER}
        assert faces.indexed == (layout == "indexed")
        assert faces.notes == ([] if faces.indexed else faces.notes[:1])


def planted(folder, plant, layout):
    made = Rec(folder, layout)
    after = plant(made)
    made.write()
    if after:
        after(made)
    return made


def test_every_command_of_dataset_check_is_tried(tmp_path):
    """Each finding whose remedy is a command is the first finding of one of the damages above."""
    named = {code for code, rule in RULES.items() if "`{" in rule.remedy}
    tried = set()
    for number, param in enumerate(DAMAGE):
        plant, message, layout, *_ = param.values
        if message is checking:
            folder = tmp_path / str(number)
            folder.mkdir()
            planted(folder, plant, layout)
            tried.add(next(f.code for f in check(str(folder), deep=True).findings if "`" in f.remedy))
    assert named - tried == {"unfinished", "record-id"}


def test_after_a_killed_writer(tmp_path):
    """Its .rec is complete, and the .idx belongs to the previous set."""
    made = planted(tmp_path, planted_faults.an_idx_of_another_set, "indexed")
    (tmp_path / "property").unlink()
    (tmp_path / ".commit.property.999999999.json").write_text('{"names": ["train.rec", "train.idx", "property"]}')
    (finding,) = [f for f in check(str(tmp_path)).findings if f.code == "unfinished"]
    assert follow(finding.remedy) == tmp_path
    assert check(str(tmp_path)).findings == []
    assert made.rec.exists()


def test_an_idx_of_another_shuffle(tmp_path):
    made = planted(tmp_path, planted_faults.swapped_offsets, "plain")
    (finding,) = check(str(tmp_path)).findings
    assert finding.code == "record-id"
    made.idx.rename(tmp_path / "moved away")
    follow(finding.remedy)
    assert check(str(tmp_path)).findings == []


def test_a_set_whose_idx_may_not_be_replaced(tmp_path, capsys):
    """The error names both remedies; each is one command."""
    (tmp_path / "a").mkdir()
    made = planted(tmp_path / "a", planted_faults.an_idx_of_another_set, "indexed")
    before = made.idx.read_bytes()
    assert cli.main(["dataset-repair", str(made.folder)]) == 2
    text = capsys.readouterr().err
    assert made.idx.read_bytes() == before
    replace, spare = commands(text)
    assert cli.main(spare[1:]) == 0
    assert made.idx.read_bytes() == before
    assert check(spare[-1]).findings == []
    assert cli.main(replace[1:]) == 0
    assert check(str(made.folder)).findings == []


@pytest.mark.skipif(not REPORTED.exists(), reason="INSIGHT_TEST_DATA is unset: no reports here")
def test_the_offsets_that_were_reported(tmp_path, capsys):
    shutil.copytree(REPORTED, tmp_path / "set")
    assert cli.main(["rec2image", str(tmp_path / "set"), str(tmp_path / "images")]) == 2
    assert follow(capsys.readouterr().err) == tmp_path / "set/train.rec"
    assert cli.main(["rec2image", str(tmp_path / "set"), str(tmp_path / "images")]) == 0
    assert len(list((tmp_path / "images").rglob("*.jpg"))) == 32
    assert check(str(tmp_path / "set")).findings == []


def test_images_of_another_size_on_the_way_through_folders(tmp_path):
    """rec2image, dir2lst, face2rec --image-size, as several messages abbreviate it."""
    made = planted(tmp_path, lambda made: None, "indexed")
    images, listed, new = (str(tmp_path / name) for name in ("images", "all.lst", "new"))
    for words in (
        ["rec2image", str(made.folder), images],
        ["dir2lst", images, listed],
        ["face2rec", listed, "--output", new, "--image-size", "96,96"],
    ):
        assert cli.main(words) == 0
    with FaceSet.open(new) as faces, FaceSet.open(str(made.folder)) as before:
        assert faces.image_size == (96, 96)
        assert faces.labels.tolist() == before.labels.tolist()
