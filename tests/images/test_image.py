"""Pixels of all usual kinds of files, compared with Pillow and OpenCV's own rotation."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from insight.errors import InsightError
from insight.images import pixels as image
from insight.images.header import read_jpeg_head

SIZE = (30, 20)  # high, wide
SMOOTH = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 3, 3), dtype=np.uint8), SIZE[::-1])  # BGR


def encode(pixels, suffix):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def pillow(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


RGB = Image.fromarray(SMOOTH[:, :, ::-1])


def near(a, b, by=12.0):
    return a.shape == b.shape and np.abs(a.astype(float) - b).mean() < by


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        (encode(SMOOTH, ".jpg"), []),
        (encode(SMOOTH, ".png"), []),
        (encode(SMOOTH, ".bmp"), []),
        (pillow(RGB, "WEBP", quality=95), []),
        (pillow(RGB.convert("CMYK"), "JPEG", quality=95), ["cmyk"]),
        (pillow(RGB.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), []),
        (encode(SMOOTH.astype(np.uint16) * 257, ".png"), ["16-bit"]),
    ],
    ids=["jpg", "png", "bmp", "webp", "cmyk", "palette", "16-bit"],
)
def test_colour(data, changes):
    pixels, reported = image.upright_bgr(data, "a")
    assert near(pixels, SMOOTH)
    assert pixels.dtype == np.uint8
    assert reported == changes


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        (encode(SMOOTH[:, :, 0], ".jpg"), ["grey"]),
        (encode(SMOOTH[:, :, 0], ".png"), ["grey"]),
        (encode(SMOOTH[:, :, 0].astype(np.uint16) * 257, ".png"), ["16-bit", "grey"]),
    ],
)
def test_grey(data, changes):
    pixels, reported = image.upright_bgr(data, "a")
    assert near(pixels, np.repeat(SMOOTH[:, :, :1], 3, axis=2))
    assert reported == changes


def test_transparent_becomes_black():
    alpha = np.zeros(SIZE, np.uint8)
    alpha[:10] = 255
    alpha[10:20] = 128
    pixels, changes = image.upright_bgr(encode(np.dstack([SMOOTH, alpha]), ".png"), "a")
    assert changes == ["alpha"]
    assert np.array_equal(pixels[:10], SMOOTH[:10])
    assert near(pixels[10:20], SMOOTH[10:20] / 2.0, 1)
    assert not pixels[20:].any()


def test_sixteen_bits_are_rounded():
    values = np.array([[0, 127, 129, 256, 257, 32768, 65407, 65535]], np.uint16)
    pixels, _ = image.upright_bgr(encode(values, ".png"), "a")
    assert pixels[0, :, 0].tolist() == [round(v / 257) for v in values[0].tolist()]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_as_opencv_does(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = pillow(RGB, "JPEG", quality=95, exif=exif)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    pixels, changes = image.upright_bgr(data, "a")
    assert np.array_equal(pixels, expected)
    assert pixels.shape[:2] == (SIZE if orientation < 5 else SIZE[::-1])
    assert changes == ([] if orientation == 1 else ["rotated"])
    assert image.decode_bgr(data, "a").shape[:2] == SIZE  # records hold upright faces; no rotation there


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"This is text.", "it starts with b'This is '"),
        (encode(SMOOTH, ".png")[:40], "PNG input buffer is incomplete|it starts with"),
        (encode(SMOOTH, ".png")[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + encode(SMOOTH, ".png")[24:], "IHDR"),
    ],
    ids=["empty", "text", "cut", "endless"],
)
def test_what_is_not_an_image_is_reported(data, reason):
    for decode in (image.decode_bgr, image.upright_bgr):
        with pytest.raises(InsightError, match=f"folder/a.jpg: not a readable image .*({reason})"):
            decode(data, "folder/a.jpg")


def test_floating_point_pixels_are_refused():
    with pytest.raises(InsightError, match="pixels are float32, want 8 or 16 bits"):
        image.upright_bgr(encode(SMOOTH.astype(np.float32), ".tiff"), "a")


@pytest.mark.parametrize("size", [(30, 20), (60, 40), (15, 10), (20, 20), (30, 30), (7, 50)])
def test_fit_keeps_the_centre_and_the_aspect_ratio(size):
    """A circle in the middle stays a circle in the middle."""
    picture = np.zeros((300, 200, 3), np.uint8)
    cv2.circle(picture, (100, 150), 60, (255, 255, 255), -1)
    pixels = image.fit(picture, size)
    assert pixels.shape == (*size, 3)
    ys, xs = np.nonzero(pixels[:, :, 0] > 127)
    scale = max(size[0] / 300, size[1] / 200)
    assert abs(ys.mean() - (size[0] - 1) / 2) < 1
    assert abs(xs.mean() - (size[1] - 1) / 2) < 1
    radius = 60 * scale
    if 2 * radius < min(size):  # all of the circle is inside
        assert abs(len(ys) / (np.pi * radius**2) - 1) < 0.3


def test_fit_does_not_change_the_right_size():
    assert np.array_equal(image.fit(SMOOTH, SIZE), SMOOTH)


@pytest.mark.parametrize(("suffix", "quality"), [(".jpg", 95), (".png", 3)])
def test_encode(suffix, quality):
    data = image.encode_bgr(SMOOTH, suffix, quality)
    assert near(image.decode_bgr(data, "a"), SMOOTH, 4)
    assert near(image.decode_rgb(data, "a"), SMOOTH[:, :, ::-1], 4)
    if suffix == ".jpg":
        assert read_jpeg_head(data).plain
        assert len(image.encode_bgr(SMOOTH, suffix, 10)) < len(data)
