"""Which images are copied, which are converted, and which are refused for which reason."""

import os
import struct

import cv2
import numpy as np
import pytest
from made_faces import encode, face

from insight import executor
from insight.errors import InsightError
from insight.files.places import Places
from insight.formats.lst import Entry
from insight.images.header import read_jpeg_head
from insight.sets.intake import prepare_all
from insight.sets.prepare import ImageTarget, Prepared, Skip

GOOD = encode(face(0))
CHANNEL = np.full((112, 112, 1), 200, np.uint8)


def exif(orientation):
    block = b"Exif\0\0MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + b"\0\0\0\0"
    return GOOD[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + GOOD[2:]


def prepare(tmp_path, data, target=None, **entry):
    (tmp_path / "a.jpg").write_bytes(data)
    [(_, outcome)] = prepare_all([Entry(str(tmp_path / "a.jpg"), 0, **entry)], target or ImageTarget())
    return outcome


@pytest.mark.parametrize("data", [GOOD, exif(1), GOOD + b"\0" * 9, encode(face(0, 112, 112), ".jpg")])
def test_verbatim(tmp_path, data):
    assert prepare(tmp_path, data) == Prepared(data, ())


def test_verbatim_files_larger_than_one_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    assert len(data) > 1 << 17
    assert prepare(tmp_path, data, ImageTarget((400, 400))) == Prepared(data, ())


def test_png_is_verbatim_only_with_encoding_png(tmp_path):
    png = encode(face(0), ".png")
    assert prepare(tmp_path, png, ImageTarget(suffix=".png")) == Prepared(png, ())
    converted = prepare(tmp_path, png)
    assert converted.changes == ("png",)
    assert read_jpeg_head(converted.payload).plain


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        (encode(face(0)[:, :, 0]), ("grey",)),
        (encode(np.dstack([face(0), CHANNEL]), ".png"), ("png", "alpha")),
        (encode(face(0).astype(np.uint16) * 257, ".png"), ("png", "16-bit")),
        (encode(face(0), ".bmp"), ("bmp",)),
        (encode(face(0), ".webp"), ("webp",)),
        (exif(6), ("rotated",)),
        (encode(face(0, 250, 250)), ("resized from 250x250",)),
        (encode(face(0, 112, 96)), ("resized from 112x96",)),
        (encode(face(0, 60, 200)[:, :, 0], ".bmp"), ("bmp", "grey", "resized from 60x200")),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else "",
)
def test_converted(tmp_path, data, changes):
    payload, reported, damage = prepare(tmp_path, data)
    assert (reported, damage) == (changes, "")
    head = read_jpeg_head(payload)
    assert head.plain
    assert (head.height, head.width) == (112, 112)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"This is a text file.", "not a readable image (it starts with b'This is ')"),
        (GOOD[:-40], "JPEG without its end marker: the file was truncated"),
        (GOOD[:90], "not a readable image (it starts with b'\\xff\\xd8\\xff\\xe0\\x00\\x10JF')"),
        (encode(face(0), ".png")[:60], "not a readable image (PNG input buffer is incomplete)"),
    ],
    ids=["empty", "text", "cut scan", "cut header", "cut png"],
)
def test_refused(tmp_path, data, reason):
    outcome = prepare(tmp_path, data)
    assert isinstance(outcome, Skip)
    assert str(outcome) == reason


def test_refused_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # must not hang
    (tmp_path / "dir.jpg").mkdir()
    names = ["none.jpg", "dir.jpg", "pipe.jpg", "x" * 300 + ".jpg"]
    entries = [Entry(str(tmp_path / name), 0) for name in names]
    entries.append(Entry(str(tmp_path / "none.jpg"), 0, aligned=False))
    reasons = [str(outcome) for _, outcome in prepare_all(entries, ImageTarget())]
    assert reasons == [
        "no such file",
        "a folder",
        "a pipe, socket or device",
        "unreadable: File name too long",
        "no such file",
    ]
    (tmp_path / "b.jpg").write_bytes(GOOD)
    [(_, outcome)] = prepare_all([Entry(str(tmp_path / "b.jpg"), 0, aligned=False, bbox=(0, 0, 9, 9))], ImageTarget())
    assert str(outcome) == "not aligned, and the list has no landmarks for it"
    [(_, outcome)] = prepare_all([Entry(str(tmp_path / "b.jpg"), 0, False, None, (5.0,) * 10)], ImageTarget())
    assert str(outcome) == "the landmarks coincide"


def test_order_and_bytes_do_not_depend_on_workers(tmp_path, monkeypatch):
    entries = []
    for i in range(120):
        data = [encode(face(i)), encode(face(i, 200, 150)), encode(face(i), ".png"), b"text"][i % 4]
        (tmp_path / f"{i}.jpg").write_bytes(data)
        entries.append(Entry(str(tmp_path / f"{i}.jpg"), i))
    results = []
    for workers in (1, 5):
        for threads in (True, False):
            monkeypatch.setattr(executor, "may_fork", lambda: not threads)  # noqa: B023
            outcomes = list(prepare_all(iter(entries), ImageTarget(), workers=workers))
            assert [entry for entry, _ in outcomes] == entries
            results.append([o if isinstance(o, Prepared) else str(o) for _, o in outcomes])
    assert all(result == results[0] for result in results)


def test_relative_paths_fall_back_to_the_list(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/a.jpg").write_bytes(GOOD)
    monkeypatch.chdir(tmp_path)
    [(_, outcome)] = prepare_all([Entry("a.jpg", 0)], ImageTarget(), Places("lists"))
    assert outcome == Prepared(GOOD)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (112, 4)}, "--image-size 112,4"),
        ({"size": (5000, 5000)}, "--image-size 5000,5000"),
        ({"quality": 0}, "--quality 0: want 1..100 for .jpg"),
        ({"quality": 10, "suffix": ".png"}, "--quality 10: want 0..9 for .png"),
        ({"suffix": ".gif"}, "--encoding .gif: want .jpg or .png"),
    ],
)
def test_targets_out_of_range(options, message):
    with pytest.raises(InsightError, match=message):
        ImageTarget(**options)


def test_verbatim_packing_loads_neither_opencv_nor_numpy(tmp_path):
    import subprocess
    import sys

    (tmp_path / "a.jpg").write_bytes(GOOD)
    (tmp_path / "a.lst").write_text("1\ta.jpg\t0\n")
    code = (
        "import sys; from insight.sets.pack import pack; "
        f"pack({str(tmp_path / 'a.lst')!r}); print([m for m in ('numpy', 'cv2', 'rich', 'mxnet') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
