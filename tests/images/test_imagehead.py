"""JPEG and PNG headers compared with OpenCV's decoded images, and Exif orientation with OpenCV's own rotation."""

import struct

import cv2
import numpy as np
import pytest

from insight.images.header import exif_orientation, image_size, is_plain_png, read_jpeg_head, suffix_of

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def encode(pixels, suffix=".jpg", *options):
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


def tiff(orientation, order="<", entries_before=1):
    """A TIFF block with an orientation tag after other ones."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = [struct.pack(order + "HHII", 0x010F, 2, 4, 0)] * entries_before
    entries.append(struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0))
    return mark + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries) + b"\0\0\0\0"


def with_exif(jpeg, orientation, order="<"):
    block = b"Exif\0\0" + tiff(orientation, order)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def test_plain_jpeg():
    head = read_jpeg_head(encode(PIXELS))
    assert head == (24, 40, 3, 1, True, True)


@pytest.mark.parametrize(
    ("data", "components", "plain"),
    [
        (encode(PIXELS[:, :, 0]), 1, False),
        (encode(PIXELS, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), 3, True),
        (encode(PIXELS, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1), 3, True),
        (encode(PIXELS)[:2] + b"\xff\xfe\0\x05abc\xff\xff" + encode(PIXELS)[2:], 3, True),  # a comment, fill bytes
        (encode(PIXELS) + b"\0\0", 3, True),  # padding after the end
        (with_exif(encode(PIXELS), 1), 3, True),
        (with_exif(encode(PIXELS), 6), 3, False),
        (encode(PIXELS).replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), 3, False),  # 12 bits
        (encode(PIXELS).replace(b"\xff\xc0\0\x11\x08", b"\xff\xc3\0\x11\x08"), 3, False),  # lossless
    ],
    ids=["grey", "progressive", "restarts", "comment", "padded", "exif", "rotated", "12-bit", "lossless"],
)
def test_kinds_of_jpeg(data, components, plain):
    head = read_jpeg_head(data)
    assert (head.height, head.width, head.components, head.plain) == (24, 40, components, plain)


def test_a_truncated_jpeg_is_not_complete_even_if_its_thumbnail_is():
    whole = encode(PIXELS)
    thumbnail = b"Exif\0\0" + tiff(1) + encode(PIXELS[:8, :8])
    data = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + whole[2:]
    assert read_jpeg_head(data).plain
    for cut in (data[:-2], data[: -len(whole) // 3]):
        head = read_jpeg_head(cut)
        assert (head.complete, head.plain) == (False, False)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 10, 20, 100, 300])
def test_truncated_headers_are_not_a_jpeg(size):
    assert read_jpeg_head(encode(PIXELS)[:size]) is None


@pytest.mark.parametrize(
    "data", [b"", b"hello, I am text", encode(PIXELS, ".png"), b"\xff\xd8\xff\xd9" * 9, b"\xff" * 99]
)
def test_other_data_is_not_a_jpeg(data):
    assert read_jpeg_head(data) is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, order):
    assert read_jpeg_head(with_exif(encode(PIXELS), orientation, order)).orientation == orientation
    png = encode(PIXELS, ".png")
    block = tiff(orientation, order)
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + b"\0\0\0\0"
    assert exif_orientation(png[:33] + chunk + png[33:]) == orientation
    webp = encode(PIXELS, ".webp") + b"EXIF" + struct.pack("<I", len(block)) + block
    assert exif_orientation(webp) == orientation


@pytest.mark.parametrize(
    "block", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"XX*\0\x08\0\0\0\1\0", tiff(9), tiff(0), tiff(6)[:20]]
)
def test_broken_exif_means_upright(block):
    data = encode(PIXELS)
    block = b"Exif\0\0" + block
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    assert read_jpeg_head(data).orientation == 1


def test_plain_png():
    png = encode(PIXELS, ".png")
    assert is_plain_png(png, (24, 40))
    assert not is_plain_png(png, (40, 24))
    assert not is_plain_png(png[:-12], (24, 40))
    assert not is_plain_png(encode(PIXELS[:, :, 0], ".png"), (24, 40))
    assert not is_plain_png(encode(np.dstack([PIXELS, PIXELS[:, :, 0]]), ".png"), (24, 40))
    assert not is_plain_png(encode(PIXELS.astype(np.uint16), ".png"), (24, 40))
    assert not is_plain_png(encode(PIXELS), (24, 40))
    turned = struct.pack(">I", len(tiff(3))) + b"eXIf" + tiff(3) + b"\0\0\0\0"
    assert not is_plain_png(png[:33] + turned + png[33:], (24, 40))


def test_size_and_suffix():
    kinds = {suffix: encode(PIXELS, suffix) for suffix in (".jpg", ".png", ".bmp", ".webp")}
    assert {suffix: suffix_of(memoryview(data)) for suffix, data in kinds.items()} == {s: s for s in kinds}
    assert suffix_of(b"text") == ".bin"
    assert image_size(memoryview(kinds[".jpg"])) == image_size(memoryview(kinds[".png"])) == (24, 40)
    assert image_size(memoryview(kinds[".bmp"])) == image_size(memoryview(kinds[".webp"])) == (24, 40)
    assert image_size(b"text") is None
    assert image_size(b"") is None
