"""Each fault is planted separately into a sound set, and exactly that fault must be reported."""

from __future__ import annotations

import io
import json
import re
import struct
import tarfile
from types import SimpleNamespace

import cv2
import numpy as np
import planted_faults
import pytest
from made_faces import encode, face
from PIL import Image
from planted_set import CLEAN, EACH, IMAGES, PEOPLE, Rec

from insight.check.check import check
from insight.check.duplicates import near_pairs, popcount
from insight.check.layout import Layout
from insight.check.rules import MAX_SAMPLES, RULES, SEVERITIES, Findings
from insight.errors import InsightError
from insight.formats import identities
from insight.formats.evalbin import write_bin
from insight.formats.property import Property
from insight.sets.pack import pack
from insight.sets.scan import folder_to_lists


@pytest.fixture
def make(tmp_path):
    def build(plant=None, layout="indexed"):
        made = Rec(tmp_path, layout)
        after = plant(made) if plant else None
        made.write()
        if after:
            after(made)
        return tmp_path

    return build


def codes(report):
    return [finding.code for finding in report.findings]


PLANTED = []


def plant(code, count=1, layout="indexed", deep=False, keys=None):
    """Register a planting: a function that changes a Rec, and may return one that changes its files."""

    def register(function):
        PLANTED.append(pytest.param(function, code, count, layout, deep, keys, id=function.__name__))
        return function

    return register


# The files


@plant("not-recordio")
def a_foreign_rec(made):
    return lambda made: made.rec.write_bytes(b"RIFF" + made.rec.read_bytes().replace(b"\x0a\x23\xd7\xce", b"none"))


@plant("damaged-record", keys=[])
def a_wrong_magic_in_front(made):
    return lambda made: made.rec.write_bytes(b"RIFF" + made.rec.read_bytes()[4:])


plant("damaged-record", keys=[])(planted_faults.a_length_over_the_next_record)


@plant("damaged-record", keys=[])
def a_wrong_magic(made):
    def spoil(made):
        data = bytearray(made.rec.read_bytes())
        data[int(made.offset(5))] ^= 0xFF
        made.rec.write_bytes(data)

    return spoil


plant("truncated-tail", count=2)(planted_faults.a_cut_rec)


plant("truncated-tail", keys=[15])(planted_faults.a_rec_cut_between_records)


@plant("truncated-tail")
def bytes_after_the_last_record(made):
    return lambda made: made.rec.write_bytes(made.rec.read_bytes() + b"\x0a\x23\xd7\xce")


plant("idx-missing")(planted_faults.no_idx)


@plant("idx-unreadable")
def a_bad_line(made):
    return lambda made: made.idx.write_text(made.idx.read_text() + "seven\t8\n")


plant("idx-duplicate-key", keys=[4])(planted_faults.a_key_twice)


plant("idx-foreign")(planted_faults.an_idx_of_another_set)


plant("idx-offset", keys=[3])(planted_faults.an_offset_inside_a_record)


plant("idx-shared-offset", keys=[6])(planted_faults.two_keys_on_one_record)


@plant("unnamed-record", layout="plain")
def a_record_without_key(made):
    return lambda made: made.edit_idx(lambda lines: lines.pop(1))


plant("record-id", count=2, keys=[1, 2])(planted_faults.swapped_offsets)


@plant("record-order", layout="plain")
def shuffled_keys(made):
    made.rows[0], made.rows[1] = made.rows[1], made.rows[0]


# Header and identity records


@plant("no-image")
def nothing_but_identities(made):
    made.rows = [[0, b"", (2, 3), 0], [2, b"", (1, 2), 2]]


plant("header-missing")(planted_faults.no_header)


plant("header-range", keys=[0])(planted_faults.a_header_backwards)


plant("identity-record", keys=[16])(planted_faults.an_identity_lost)


@plant("identity-record", keys=[14])
def an_identity_with_payload(made):
    made.rows[IMAGES + 2][1] = CLEAN[0]


plant("identity-range", keys=[14])(planted_faults.a_range_too_long)


plant("key-gap", keys=[5])(planted_faults.an_image_lost)


@plant("stray-key", keys=[40])
def a_key_past_the_end(made):
    made.rows.append([40, encode(face(99)), (3, 1), 40])


@plant("identity-range", keys=[0])
def no_identities_at_all(made):
    del made.rows[IMAGES + 1 :]
    made.rows[IMAGES][2] = (IMAGES + 1, IMAGES + 1)


@plant("header-range", keys=[0])
def a_header_of_huge_keys(made):
    made.rows[IMAGES][2] = (13, 1e30)


# Labels and property


plant("property-missing")(planted_faults.no_property)


plant("property-unreadable")(planted_faults.a_bad_property)


@plant("property-classes")
def too_many_classes(made):
    made.declared = Property(PEOPLE + 6, 112, 112)


plant("property-size", count=IMAGES)(planted_faults.a_wrong_size_in_property)


plant("label-out-of-range", count=EACH, keys=[10, 11, 12])(planted_faults.too_few_classes)


plant("label-not-integer", layout="plain", keys=[4])(planted_faults.half_a_label)


plant("label-negative", layout="plain", count=EACH)(planted_faults.labels_below_zero)


@plant("label-gap", layout="plain", count=2)
def labels_not_used(made):
    for row in made.rows[6:]:
        row[2] += 2
    made.declared = Property(PEOPLE + 2, 112, 112)


@plant("split-identity", layout="plain", keys=[9])
def an_identity_in_two_places(made):
    for row in made.rows[9:]:
        row[2] = 0
    made.declared = Property(PEOPLE - 1, 112, 112)


@plant("one-identity", layout="plain")
def a_single_person(made):
    for row in made.rows:
        row[2] = 0
    made.declared = Property(1, 112, 112)


@plant("single-images", layout="plain")
def a_single_image(made):
    del made.rows[10:]


# Payloads


def pil(number, kind, mode, **options):
    out = io.BytesIO()
    Image.fromarray(face(number)[:, :, ::-1]).convert(mode).save(out, kind, **options)
    return out.getvalue()


def with_exif(jpeg, orientation):
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def without_half_its_scan(jpeg):
    start = jpeg.index(b"\xff\xda")
    return jpeg[: start + (len(jpeg) - start) // 2] + b"\xff\xd9"


def with_mad_tables(jpeg):
    """Huffman counts that no table can have, after sound markers."""
    at = jpeg.index(b"\xff\xc4") + 5
    return jpeg[:at] + b"\xff" * 8 + jpeg[at + 8 :]


PAYLOADS = {
    "empty-image": b"",
    "not-an-image": b"GIF89a" + bytes(60),
    "truncated-image": CLEAN[5][:-40],
    "truncated-image png": encode(face(5), ".png")[:-20],
    "undecodable-image": CLEAN[5][:100],
    "image-size": encode(face(5, 96, 112)),
    "grey-jpeg": pil(5, "JPEG", "L"),
    "cmyk-jpeg": pil(5, "JPEG", "CMYK"),
    "rotated-jpeg": with_exif(CLEAN[5], 6),
    "unusual-encoding": pil(5, "WEBP", "RGB", lossless=True),
    "unusual-encoding png": pil(5, "PNG", "L"),
}
DEEP_PAYLOADS = {
    "undecodable-image": with_mad_tables(CLEAN[5]),
    "damaged-image": without_half_its_scan(CLEAN[5]),
    "blank-image": encode(np.full((112, 112, 3), 128, np.uint8)),
}


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("layout", ["indexed", "plain"])
def test_a_bad_payload(make, name, deep, layout):
    def spoil(made):
        made.rows[5][1] = PAYLOADS[name]

    report = check(str(make(spoil, layout)), deep=deep)
    assert codes(report) == [name.split()[0]]
    assert [s.key for s in report.findings[0].samples] == [6 if layout == "indexed" else 5]


@pytest.mark.parametrize("code", DEEP_PAYLOADS)
def test_faults_that_only_decoding_detects(make, code):
    def spoil(made):
        made.rows[5][1] = DEEP_PAYLOADS[code]

    folder = str(make(spoil))
    assert codes(check(folder)) == []
    report = check(folder, deep=True)
    assert codes(report) == [code]
    assert [s.key for s in report.findings[0].samples] == [6]


def test_a_really_grey_corner_is_not_truncated(make):
    def grey(made):
        pixels = face(5)
        pixels[50:] = 128
        made.rows[5][1] = encode(pixels)

    assert codes(check(str(make(grey)), deep=True)) == []


# Duplicates


def again(i, quality):
    return cv2.imencode(".jpg", face(i), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@plant("duplicate-image", keys=[2])
def the_same_bytes(made):
    made.rows[1][1] = CLEAN[0]


@plant("duplicate-across", keys=[8])
def the_same_bytes_of_another(made):
    made.rows[7][1] = CLEAN[0]


@plant("near-duplicate", deep=True, keys=[2])
def the_same_picture(made):
    made.rows[1][1] = again(0, 70)


@plant("near-duplicate-across", deep=True, keys=[8])
def the_same_picture_of_another(made):
    made.rows[7][1] = again(0, 70)


@pytest.mark.parametrize("function, code, count, layout, deep, keys", PLANTED)
def test_a_planted_fault(make, function, code, count, layout, deep, keys):
    folder = make(function, layout)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    report = check(str(folder), deep=deep)
    assert codes(report) == [code]
    (finding,) = report.findings
    assert finding.count == count
    assert report.ok == (finding.severity != "error")
    if keys is not None:
        assert [s.key for s in finding.samples if s.key is not None] == keys
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_every_code_is_planted():
    planted = {param.values[1] for param in PLANTED} | {name.split()[0] for name in PAYLOADS} | set(DEEP_PAYLOADS)
    elsewhere = {"unfinished", "refused", "test-overlap", "test-near-overlap"}
    assert planted | elsewhere == set(RULES)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("layout", ["indexed", "plain"])
def test_a_clean_set_has_no_findings(make, layout, deep):
    report = check(str(make(layout=layout)), deep=deep, workers=2)
    assert codes(report) == []
    assert report.ok
    assert report.summary["layout"] == layout
    assert (report.summary["images"], report.summary["identities"]) == (IMAGES, PEOPLE)
    mean = np.mean([cv2.imdecode(np.frombuffer(d, np.uint8), 1).astype(float) for d in CLEAN], axis=0)
    if deep:
        assert np.abs(report.mean_face - mean).max() <= 0.5
    else:
        assert report.mean_face is None


def test_a_set_of_face2rec_has_no_findings(people, tmp_path):
    folder_to_lists(str(people({"ann": 3, "bob": 70, "cy": 2})), str(tmp_path / "all.lst"))
    pack(str(tmp_path / "all.lst"), str(tmp_path / "set"))
    for workers in (1, 3):
        report = check(str(tmp_path / "set"), deep=True, workers=workers)
        assert codes(report) == []
        per = report.summary["images_per_identity"]
        assert (per["min"], per["median"], per["max"], per["single"]) == (2, 3, 70, 0)
        assert per["histogram"] == [[2, 3, 2], [4, 7, 0], [8, 15, 0], [16, 31, 0], [32, 63, 0], [64, 127, 1]]


def test_two_faults_are_two_findings_and_errors_come_first(make):
    def spoil(made):
        made.rows[1][1], made.rows[7][1] = CLEAN[0], b""

    report = check(str(make(spoil)))
    assert codes(report) == ["empty-image", "duplicate-image"]
    assert report.closing_line().endswith("train.rec: 1 error, 1 warning, 0 notes")


def test_damage_in_the_middle_does_not_hide_the_rest(make):
    def spoil(made):
        made.rows[10][1] = b""
        return a_wrong_magic(made)

    assert codes(check(str(make(spoil)))) == ["damaged-record", "empty-image"]


def test_an_unfinished_set(make):
    folder = make()
    (folder / "property").unlink()
    (folder / ".commit.property.999999999.json").write_text(
        json.dumps({"names": ["train.rec", "train.idx", "property"]})
    )
    assert codes(check(str(folder))) == ["unfinished", "property-missing"]


@pytest.mark.parametrize("layout", ["indexed", "plain"])
def test_the_check_handles_any_damage(make, layout):
    """Flipped, cut and inserted bytes in any of the files: always a report."""
    folder = make(layout=layout)
    sound = {path: path.read_bytes() for path in folder.iterdir()}
    rng = np.random.default_rng(0)
    silent = 0
    for path in sorted(sound) * 60:
        data = bytearray(sound[path])
        # headers, not pixels: most of a .rec is entropy-coded
        where = IMAGES * 40 if path.suffix != ".rec" or rng.random() < 0.3 else len(data)
        at = int(rng.integers(min(where, len(data))))
        if path.suffix == ".rec" and rng.random() < 0.8:
            at = int(rng.choice([m.start() for m in re.finditer(rb"\x0a\x23\xd7\xce", data)])) + int(rng.integers(40))
        how = rng.integers(3)
        if how == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif how == 1:
            del data[at : at + int(rng.integers(1, 50))]
        else:
            data[at:at] = rng.bytes(int(rng.integers(1, 9)))
        path.write_bytes(data)
        silent += not check(str(folder), deep=bool(rng.integers(2))).findings
        path.write_bytes(sound[path])
    assert silent < 20  # of 180; a flip in a label's unused half or in a pixel is not a fault


# Verification sets


@pytest.fixture
def overlapping(make, tmp_path):
    make()
    others = [again(0, 70), CLEAN[4], encode(face(50)), encode(face(51))]
    write_bin(tmp_path / "test.bin", others, [True, False])
    return tmp_path


def test_overlap_with_a_bin(overlapping):
    report = check(str(overlapping), exclude=[str(overlapping / "test.bin")])
    assert codes(report) == ["test-overlap"]
    (sample,) = report.findings[0].samples
    assert (sample.key, sample.found) == (5, "label 1: test.bin image 1")
    assert sample.pictures == (CLEAN[4], CLEAN[4])
    report = check(str(overlapping), deep=True, exclude=[str(overlapping / "test.bin")])
    assert codes(report) == ["test-overlap", "test-near-overlap"]
    assert report.findings[1].samples[0].key == 1


def test_overlap_with_a_set(make, tmp_path):
    folder = make()
    (tmp_path / "other").mkdir()
    other = Rec(tmp_path / "other")
    other.rows[0][1] = encode(face(50))
    other.write()
    report = check(str(folder), exclude=[str(tmp_path / "other")])
    assert [(f.code, f.count) for f in report.findings] == [("test-overlap", IMAGES - 1)]
    assert len(report.findings[0].samples) == min(MAX_SAMPLES, IMAGES - 1)


def test_no_overlap(make, tmp_path):
    write_bin(tmp_path / "test.bin", [encode(face(i)) for i in (60, 61)], [True])
    assert codes(check(str(make()), deep=True, exclude=[str(tmp_path / "test.bin")])) == []


# The near-duplicate search


def test_near_pairs_are_those_of_a_slow_search():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, 120, dtype=np.uint64)
    for i in range(60):  # neighbours 0 to 5 bits away
        flips = rng.choice(64, i % 6, replace=False)
        hashes[60 + i] = int(hashes[i]) ^ sum(1 << int(bit) for bit in flips)

    def near(a, b):
        return (int(a) ^ int(b)).bit_count() if hasattr(int, "bit_count") else bin(int(a) ^ int(b)).count("1")

    slow = {(i, j) for j in range(120) for i in range(j) if near(hashes[i], hashes[j]) <= 3}
    pairs = list(near_pairs(hashes))
    assert len(pairs) == len(set(pairs)) == 40
    assert set(pairs) == slow
    left, right = hashes[:60], hashes[60:]
    pairs = list(near_pairs(left, right))
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(i, j) for i in range(60) for j in range(60) if near(left[i], right[j]) <= 3}
    assert popcount(hashes).tolist() == [bin(int(h)).count("1") for h in hashes]


# Reports


@pytest.fixture
def faulty(make):
    def spoil(made):
        made.rows[5][1] = pil(5, "JPEG", "L")
        made.rows[7][1] = CLEAN[0]
        made.rows[8][1] = b"<script>alert(1)</script>" * 4

    return make(spoil)


def test_json_report(faulty, tmp_path):
    report = check(str(faulty), deep=True, json_path=str(tmp_path / "out/report.json"))
    written = json.loads((tmp_path / "out/report.json").read_text())
    assert written == report.as_dict()
    assert set(written) == {"schema", "rec", "deep", "ok", "errors", "warnings", "notes", "summary", "findings"}
    assert (written["schema"], written["deep"], written["ok"]) == (1, True, False)
    assert (written["errors"], written["warnings"], written["notes"]) == (1, 2, 0)
    for finding in written["findings"]:
        assert set(finding) == {"code", "severity", "count", "rule", "remedy", "keys", "samples"}
        assert finding["severity"] in SEVERITIES
        assert RULES[finding["code"]][:2] == (finding["severity"], finding["rule"])
        assert "{" not in finding["remedy"]
    assert written["findings"][0]["remedy"] == (
        f"`insight dataset-repair {faulty} --output {faulty}-repaired` skips and lists these images"
    )
    assert [f["keys"] for f in written["findings"]] == [[9], [6], [8]]
    assert written["summary"]["kinds"] == {"jpg": IMAGES - 1, "bin": 1}
    assert written["summary"]["sizes"] == {"112x112": IMAGES - 1, "unknown": 1}


def test_html_report(faulty, tmp_path):
    check(str(faulty), deep=True, html_path=str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    for code in ("not-an-image", "duplicate-across", "grey-jpeg"):
        assert f'id="{code}"' in page
    pictures = re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page)
    assert [kind for kind, _ in pictures] == ["png", "jpeg", "jpeg", "jpeg"]  # mean face, the grey one, a pair
    assert page.count("src=") == len(pictures)
    rest = re.sub(r'src="data:[^"]+"', "", page)
    assert not re.search(r"https?:|//|<link|<script|@import|url\(|src=|href=", rest)
    assert page.count("<svg") == 3
    assert "1 error, 2 warnings, 0 notes" in page


class TestCommand:
    def test_clean(self, make, insight):
        make()
        status, out, err = insight("dataset-check", ".", "--deep", "--num-workers", "2")
        assert (status, err) == (0, "")
        assert out.splitlines()[0] == "12 images of 4 identities, 112x112, indexed layout"
        assert out.splitlines()[-1] == "./train.rec: 0 errors, 0 warnings, 0 notes"

    def test_warnings_only(self, make, insight):
        make(planted_faults.no_property)
        status, out, _ = insight("dataset-check", ".")
        assert status == 0
        assert "warning  property-missing  1" in out
        assert out.splitlines()[-1] == "./train.rec: 0 errors, 1 warning, 0 notes"

    def test_errors(self, make, insight, tmp_path):
        make(planted_faults.a_cut_rec)
        status, out, err = insight("dataset-check", "train.rec", "--json", "r.json", "--html", "r.html")
        assert (status, err) == (1, "")
        assert "error    truncated-tail" in out
        assert out.splitlines()[-1] == "train.rec: 1 error, 0 warnings, 0 notes"
        assert json.loads((tmp_path / "r.json").read_text())["errors"] == 1
        assert (tmp_path / "r.html").exists()

    @pytest.mark.parametrize("content", [b"", b"\0", b"no records here", b"\x0a\x23\xd7\xce"])
    def test_a_rec_of_nothing(self, insight, tmp_path, content):
        (tmp_path / "train.rec").write_bytes(content)
        status, out, err = insight("dataset-check", ".", "--html", "r.html")
        assert (status, err) == (1, "")
        assert out.startswith("0 records, no images")

    @pytest.mark.parametrize(
        "arguments, message",
        [
            (["nowhere"], "nowhere: no such folder"),
            (["empty"], "empty: holds no .rec file"),
            ([".", "--exclude", "gone.bin"], "gone.bin: no such"),
            ([".", "--json", "empty"], "empty: a folder"),
            ([".", "--num-workers", "0"], "want 1..1024"),
        ],
    )
    def test_bad_input(self, make, insight, tmp_path, arguments, message):
        make()
        (tmp_path / "empty").mkdir()
        status, out, err = insight("dataset-check", *arguments)
        assert (status, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1


def test_an_excluded_set_that_is_damaged(make, tmp_path):
    (tmp_path / "bad.bin").write_bytes(b"nothing")
    with pytest.raises(InsightError, match="bad.bin"):
        check(str(make()), exclude=[str(tmp_path / "bad.bin")])


def test_real_faces(real_data, tmp_path):
    """LFW as face2rec packs it has no errors, and those duplicates that its files have."""
    with tarfile.open(real_data / "data/lfw_dev.tar") as tar:
        for member in tar.getmembers():
            if member.isfile():
                target = tmp_path / "faces" / "/".join(member.name.split("/")[-2:])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())
    files = sorted((tmp_path / "faces").rglob("*.jpg"))
    people_of = {}
    for file in files:
        people_of.setdefault(file.read_bytes(), []).append(file.parent.name)
    folder_to_lists(str(tmp_path / "faces"), str(tmp_path / "all.lst"))
    pack(str(tmp_path / "all.lst"), str(tmp_path / "set"))
    report = check(str(tmp_path / "set"), workers=2)
    assert report.ok, [f.as_dict() for f in report.findings]
    assert report.summary["images"] == len(files)
    counts = {finding.code: finding.count for finding in report.findings}
    shared = sum(len(people) - 1 for people in people_of.values() if len(set(people)) > 1)
    assert counts.pop("duplicate-across", 0) == shared
    assert counts.pop("duplicate-image", 0) == len(files) - len(people_of) - shared
    assert set(counts) <= {"single-images"}


@pytest.mark.parametrize(("shift", "codes"), [(0, []), (4, ["identity-range"])])
def test_ranges_above_2_to_24_are_compared_as_float32_has_them(monkeypatch, shift, codes):
    """The first key of a range may be exact, the last is not; here 2^25 images stand before the others."""
    before, runs = 1 << 25, identities.runs
    monkeypatch.setattr(identities, "runs", lambda labels: runs(labels) + before)
    labels, edges = [0, 0, 0, 1, 2, 2], np.array([1, 4, 5, 7]) + before + shift
    first, second = np.append(labels, edges[:-1]).astype(np.float64), np.append([1] * 6, edges[1:]).astype(np.float32)
    layout, findings = object.__new__(Layout), Findings()
    layout.records, layout._findings = SimpleNamespace(first=first, second=second), findings
    layout._check_ranges(np.arange(6), np.arange(3) + before + 7, np.arange(6, 9))
    assert [finding.code for finding in findings.sorted()] == codes
