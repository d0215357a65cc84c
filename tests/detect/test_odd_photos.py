"""Photos of all kinds that occur: each has a crop, or a row that says why not; no kind ends the command."""

import csv
import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from raw_folders import RawFolder

from insight.cli import run_command
from insight.faces.alignment import template

FACE = [(7, 50, 40, 150)]


@pytest.fixture
def raw(tmp_path):
    raw = RawFolder(tmp_path / "raw")
    raw.photo("Ann/good.jpg", FACE)
    return raw


def bomb(width, height):
    """A PNG whose header promises so many pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def damaged(jpeg):
    """With a byte less near the end, so that the decoder warns."""
    at = len(jpeg) - 40
    return jpeg[:at] + b"\xff\x11" + jpeg[at + 3 :]


def pillow(data, kind, mode, **options):
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).convert(mode).save(file, kind, **options)
    return file.getvalue()


def aligned(tmp_path, raw, *options):
    """Rows of the table by photo."""
    assert run_command("align-faces", [str(raw.root), str(tmp_path / "out"), *options]) == 0
    with open(tmp_path / "out/faces.csv", newline="", encoding="utf-8", errors="surrogateescape") as rows:
        return {row["file"]: row for row in csv.DictReader(rows)}


def test_unreadable_ones_are_listed_with_the_reason(tmp_path, raw, capfd):
    good = (raw.root / "Ann/good.jpg").read_bytes()
    bad = {
        "empty.jpg": (b"", "empty file"),
        "text.jpg": (b"<html>404", "not a readable image (it starts with b'<html>40')"),
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which OpenCV does not decode; convert it"),
        "moving.gif": (b"GIF89a\1\0\1\0", "GIF, which OpenCV does not decode"),
        "raw.dng": (cv2.imencode(".tif", np.zeros((300, 300, 3), np.uint8))[1].tobytes(), "camera RAW, which OpenCV"),
        "head.jpg": (good[:20], ""),
        "huge.png": (bomb(30000, 30000), "30000 x 30000 pixels, more than"),
        "cut.png": (bomb(300, 300), ""),
        "1x1.png": (cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes(), "no face found"),
        "line.png": (cv2.imencode(".png", np.full((20, 2000, 3), 99, np.uint8))[1].tobytes(), "no face found"),
        "tall.jpg": (cv2.imencode(".jpg", np.full((2000, 20, 3), 99, np.uint8))[1].tobytes(), "no face found"),
    }
    for name, (data, _) in bad.items():
        (raw.root / "Ann" / name).write_bytes(data)
    (raw.root / "Ann/secret.jpg").symlink_to("/proc/1/mem")
    rows = aligned(tmp_path, raw)
    for name, (_, reason) in bad.items():
        row = rows[f"Ann/{name}"]
        assert (row["decision"], row["crop"]) == ("skipped", ""), name
        assert reason in row["reason"] and row["reason"], name
    assert rows["Ann/secret.jpg"]["decision"] == "skipped"
    out, err = capfd.readouterr()
    assert err == "" and "photos without a face: " in out


@pytest.fixture
def everywhere(monkeypatch):
    """A detector that sees a face where RawFolder.photo put it."""
    from insight.detect.face import Face
    from insight.detect.find import Finder, Found

    points = (template((112, 112)).astype(np.float64) + 0.5) * 150 / 112 - 0.5 + [50, 40]
    face = Face(np.array([60.0, 50, 180, 180]), points, 0.9)

    class Everywhere(Finder):
        def __init__(self):
            self.identity = {"detector": "everywhere"}

        def find(self, photo):
            photo.at_most(480)
            return Found([face], 480, 0)

    monkeypatch.setattr("insight.detect.find.finder", lambda spec: Everywhere())


def test_kinds_that_decode(tmp_path, raw, everywhere):
    good = (raw.root / "Ann/good.jpg").read_bytes()
    pixels = cv2.imdecode(np.frombuffer(good, np.uint8), cv2.IMREAD_COLOR)
    turned = Image.fromarray(pixels[..., ::-1]).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    turned.save(file, "JPEG", exif=exif, quality=95)
    frames = [Image.fromarray(pixels[..., ::-1]), Image.new("RGB", pixels.shape[1::-1])]
    animated = io.BytesIO()
    frames[0].save(animated, "PNG", save_all=True, append_images=frames[1:])
    kinds = {
        "cmyk.jpg": pillow(good, "JPEG", "CMYK", quality=95),
        "grey.jpg": pillow(good, "JPEG", "L"),
        "palette.png": pillow(good, "PNG", "P"),
        "alpha.png": pillow(good, "PNG", "RGBA"),
        "sixteen.png": cv2.imencode(".png", pixels.astype(np.uint16) * 257)[1].tobytes(),
        "turned.jpg": file.getvalue(),
        "animated.png": animated.getvalue(),
        "large.bmp": cv2.imencode(".bmp", cv2.copyMakeBorder(pixels, 0, 9000, 0, 2000, cv2.BORDER_REPLICATE))[
            1
        ].tobytes(),
        "damaged.jpg": damaged(good),
    }
    for name, data in kinds.items():
        (raw.root / "Ann" / name).write_bytes(data)
    rows = aligned(tmp_path, raw, "--num-workers", "1")
    reference = cv2.imread(str(tmp_path / "out/Ann/good.jpg")).astype(int)
    for name in kinds:
        assert rows[f"Ann/{name}"]["decision"] == "kept", (name, rows[f"Ann/{name}"])
        crop = cv2.imread(str(tmp_path / "out" / rows[f"Ann/{name}"]["crop"])).astype(int)
        if name == "grey.jpg":
            crop, expected = crop.mean(axis=2), cv2.cvtColor(reference.astype(np.uint8), cv2.COLOR_BGR2GRAY)
        else:
            expected = reference
        assert np.abs(crop - expected).mean() < 8, name
    assert rows["Ann/damaged.jpg"]["warning"] and not rows["Ann/good.jpg"]["warning"]


def test_names(tmp_path, raw, everywhere):
    """Not UTF-8, a tab, a line end, only the suffix different, too long, the same as another's crop."""
    good = (raw.root / "Ann/good.jpg").read_bytes()
    long = "x" * 250
    names = ["caf\udce9.jpg", "a\tb.jpg", "a\nb.png", "good.png", "good", long + ".jpg", long + ".png", "日本.jpg"]
    folders = ["Ann", "J\udce9r\udcf4me", "y" * 255, "Żak 日本", "tab\there"]
    for folder in folders:
        (raw.root / folder).mkdir(exist_ok=True)
        for name in names:
            (raw.root / folder / name).write_bytes(good)
    rows = aligned(tmp_path, raw)
    assert len(rows) == len(folders) * len(names) + 1
    crops = {row["crop"] for row in rows.values()}
    assert len(crops) == len(rows) and "" not in crops
    assert all((tmp_path / "out" / crop).is_file() for crop in crops)
    assert rows["Ann/good.png"]["crop"] == "Ann/good.png.jpg" and rows["Ann/good"]["crop"] == "Ann/good.jpg"
    assert os.path.isdir(os.fsencode(tmp_path / "out") + b"/J\xe9r\xf4me")
    before = sorted(os.listdir(tmp_path / "out/Ann"))
    aligned(tmp_path, raw)  # names are read back from parts and table
    assert sorted(os.listdir(tmp_path / "out/Ann")) == before


def test_a_photo_that_fails_in_opencv_is_a_row(tmp_path, raw, everywhere, monkeypatch):
    def fails(*arguments):
        error = cv2.error("resize failed")
        error.err = "resize failed"  # as OpenCV sets it, of the class too: it would be that of an earlier error
        raise error

    monkeypatch.setattr("insight.detect.candidates.crop_face", fails)
    rows = aligned(tmp_path, raw)
    assert rows["Ann/good.jpg"]["reason"] == "resize failed"


def test_folder_of_the_tables_name(tmp_path, raw, everywhere, capfd):
    raw.photo("faces.csv/1.jpg", FACE)
    assert run_command("align-faces", [str(raw.root), str(tmp_path / "out")]) == 2
    assert "raw/faces.csv: a folder with the name of the table; rename it" in capfd.readouterr().err
