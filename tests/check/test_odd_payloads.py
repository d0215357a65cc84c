"""Sets of others: payloads of any kind that OpenCV decodes, and folders whose names are not UTF-8."""

import csv
import json

import pytest
from made_faces import encode, face

from insight.check.check import check
from insight.check.image_faults import examine_payload
from insight.curate.merge import merge
from insight.curate.overlap import Rules
from insight.formats.recordio import RecordWriter
from insight.plots.trainreport import plot_logs
from insight.sets import payloads


def write_set(folder, contents):
    folder.mkdir(parents=True)
    with RecordWriter(str(folder / "train.rec")) as writer:
        for key, payload in enumerate(contents):
            writer.write(key, payload, float(key % 2), key)
    (folder / "property").write_text("2,112,112")
    return folder


@pytest.mark.parametrize("deep", [False, True])
def test_payloads_that_opencv_decodes_are_images(tmp_path, deep):
    kinds = (".webp", ".bmp", ".tif", ".ppm", ".pgm", ".ras")
    contents = [encode(face(i)[:, :, 0] if kind == ".pgm" else face(i), kind) for i, kind in enumerate(kinds)]
    write_set(tmp_path / "set", contents)
    page = tmp_path / "c.html"
    report = check(str(tmp_path / "set"), deep=deep, html_path=str(page)).as_dict()
    findings = {finding["code"]: finding for finding in report["findings"]}
    assert findings["unusual-encoding"]["count"] == len(kinds)
    assert not {"not-an-image", "image-size", "undecodable-image"} & set(findings)
    assert page.read_text().count("data:image/") >= len(kinds)  # those that browsers do not show are converted


def test_payloads_that_opencv_does_not_decode_are_named(tmp_path):
    contents = [b"GIF89a\1\0\1\0", b"\0\0\0\x18ftypheic\0\0\0\0", b"text", encode(face(0))]
    write_set(tmp_path / "set", contents)
    report = check(str(tmp_path / "set"), json_path=str(tmp_path / "c.json")).as_dict()
    [finding] = [finding for finding in report["findings"] if finding["code"] == "not-an-image"]
    assert finding["count"] == 3
    text = json.dumps(json.loads((tmp_path / "c.json").read_text()))
    assert "gif, which OpenCV does not decode" in text and "heic, which OpenCV does not decode" in text


@pytest.mark.parametrize("payload", [b"", b"text", b"GIF89a\1\0\1\0", encode(face(0)), encode(face(0), ".webp")])
def test_the_check_and_commands_that_copy_agree(payload):
    """Copies skip exactly the payloads that the check reports as empty or not an image, with the same text."""
    faults = [f for f in examine_payload(payload, False).faults if f[0] in (payloads.EMPTY, payloads.FOREIGN)]
    assert faults == [f for f in [payloads.fault(payload)] if f]
    assert payloads.why_unusable(payload) == "".join(f"{code}: {what}" for code, what in faults)


def test_an_identity_record_whose_range_float32_has_rounded_is_not_an_empty_image(tmp_path):
    folder = write_set(tmp_path / "set", [encode(face(i)) for i in range(4)])
    with RecordWriter(str(folder / "train.rec"), overwrite=True) as writer:
        for key in range(1, 5):
            writer.write(key, encode(face(key)), float(key % 2), key)
        writer.write(5, b"", (2**24, 2**24 + 1), 5)  # both are 2^24 in float32
    codes = {finding["code"] for finding in check(str(folder)).as_dict()["findings"]}
    assert "header-missing" in codes
    assert "empty-image" not in codes


def test_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / "s\udce9t"
    for name in ("a", "b"):
        write_set(folder / name, [encode(face(i)) for i in range(4)])
    sets = [str(folder / name) for name in ("a", "b")]
    merge(sets, str(folder / "both"), rules=Rules(0.0))
    with open(folder / "both/merge.csv", encoding="utf-8", errors="surrogateescape", newline="") as opened:
        assert any("s\udce9t" in cell for row in csv.reader(opened) for cell in row)
    merge(sets, None, rules=Rules(0.0), dry_run=True, report=str(tmp_path / "m.csv"))
    assert b"s\xe9t" in (tmp_path / "m.csv").read_bytes()
    check(sets[0], html_path=str(tmp_path / "c.html"), json_path=str(tmp_path / "c.json"))
    assert b"s\\udce9t" in (tmp_path / "c.html").read_bytes()
    assert any("s\udce9t" in str(value) for value in json.loads((tmp_path / "c.json").read_text()).values())


def test_logs_whose_names_are_not_utf8(tmp_path):
    log = tmp_path / "r\udce9n-log.jsonl"
    step = {"kind": "step", "time": 1.0, "step": 10, "loss": 1.0, "acc": 0.5, "lr": 0.1}
    start = {"kind": "start", "time": 0.5, "options": {}, "steps": 10, "versions": {}}
    log.write_text(json.dumps(start) + "\n" + json.dumps(step) + "\n")
    plot_logs([str(log)], str(tmp_path / "p.svg"), str(tmp_path / "p.csv"))
    for name in ("p.svg", "p.csv"):
        assert rb"r\xe9n-log.jsonl" in (tmp_path / name).read_bytes()
