"""Photos of every kind show the same; sizes, turns and points are exact."""

import io
import struct
import zlib

import marked_photos as marked
import numpy as np
import pytest
from PIL import Image

from insight.detect.photo import MOST_PIXELS, Photo
from insight.errors import InsightError

SIZES = [(1600, 1200), (1201, 1603), (333, 250)]  # width, height; without, with odd sides; not reduced
HEIC = b"\0\0\0\x18ftypheic" + bytes(100)


def at(points, scale):
    return (points + 0.5) * scale - 0.5


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_scaled_photos_have_exact_coordinates(size, kind):
    photo = Photo(marked.encoded(marked.spotted(size), kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert photo.size == size
    for longest in (480, 200, 131, 5000):
        pixels, scale = photo.at_most(longest)
        assert max(pixels.shape[:2]) == min(longest, max(size))
        assert scale == pytest.approx(min(1.0, longest / max(size)), rel=1e-12)
        np.testing.assert_allclose(marked.measured(pixels), at(marked.positions(size), scale), atol=0.06)
    assert photo.warning == ""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_orientation_is_upright(size, orientation):
    photo = Photo(marked.encoded(marked.spotted(size), "JPEG", orientation))
    assert photo.size == size
    for longest in (480, 131, 5000):
        pixels, scale = photo.at_most(longest)
        np.testing.assert_allclose(marked.measured(pixels), at(marked.positions(size), scale), atol=0.06)
    points = marked.positions(size)
    pixels, moved = photo.for_crop(points, 300)
    np.testing.assert_allclose(marked.measured(pixels), moved, atol=0.06)


def test_a_crop_is_decoded_as_small_as_it_may_be():
    size = (1600, 1200)
    photo = Photo(marked.encoded(marked.spotted(size), "JPEG"))
    points = marked.positions(size)
    for needed, longest in ((1, 200), (200, 200), (200.5, 400), (799, 800), (801, 1600), (9999, 1600)):
        pixels, moved = photo.for_crop(points, needed)
        assert pixels.shape[:2] == (longest * 3 // 4, longest)
        np.testing.assert_allclose(marked.measured(pixels), moved, atol=0.06)


def test_results_do_not_depend_on_what_was_asked_before():
    data = marked.encoded(marked.spotted((1600, 1200)), "JPEG")
    fresh = Photo(data).at_most(480)[0]
    used = Photo(data)
    used.for_crop(np.zeros((5, 2)), 1600)
    used.at_most(150)
    np.testing.assert_array_equal(used.at_most(480)[0], fresh)


ODD = {
    "grey JPEG": lambda pixels: marked.encoded(pixels, "JPEG", mode="L"),
    "CMYK JPEG": lambda pixels: marked.encoded(pixels, "JPEG", mode="CMYK"),
    "CMYK JPEG, turned": lambda pixels: marked.encoded(pixels, "JPEG", 6, mode="CMYK"),
    "progressive JPEG": lambda pixels: marked.encoded(pixels, "JPEG", progressive=True),
    "16-bit PNG": marked.sixteen_bit,
    "grey PNG": lambda pixels: marked.encoded(pixels, "PNG", mode="L"),
    "PNG with alpha": lambda pixels: marked.encoded(pixels, "PNG", mode="RGBA"),
    "TIFF": lambda pixels: marked.encoded(pixels, "TIFF"),
    "BMP": lambda pixels: marked.encoded(pixels, "BMP"),
    "animated WebP": lambda pixels: animated(pixels, "WEBP"),
    "animated PNG": lambda pixels: animated(pixels, "PNG"),
    "TIFF of two pages": lambda pixels: animated(pixels, "TIFF"),
}


def animated(pixels, kind):
    file = io.BytesIO()
    first = Image.fromarray(pixels)
    first.save(file, kind, save_all=True, append_images=[Image.new("RGB", first.size, "white")], lossless=True)
    return file.getvalue()


@pytest.mark.parametrize("kind", ODD)
def test_every_kind_shows_the_same(kind, capfd):
    pixels = marked.spotted((400, 300))
    photo = Photo(ODD[kind](pixels))
    shown, scale = photo.at_most(400)
    assert (photo.size, photo.warning, scale, shown.shape) == ((400, 300), "", 1.0, (300, 400, 3))
    expected = pixels
    if kind.startswith("grey"):
        expected = np.repeat(np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None], 3, axis=2)
    assert np.abs(shown.astype(int) - expected).mean() < 1.5
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (20, 2000), (2000, 20), (1, 2000), (40000, 1), (3, 5)], ids=str)
def test_odd_sizes(size):
    for kind in ("PNG", "JPEG"):
        photo = Photo(marked.encoded(np.full((size[1], size[0], 3), 200, np.uint8), kind))
        for longest in (480, 1280, 7):
            pixels, scale = photo.at_most(longest)
            assert max(pixels.shape[:2]) <= longest and min(pixels.shape[:2]) >= 1 and 0 < scale <= 1
            assert abs(int(pixels.min()) - 200) < 3


def test_a_large_jpeg_is_decoded_at_an_eighth():
    grey = np.full((10000, 10000), 90, np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG")
    photo = Photo(file.getvalue())
    pixels, scale = photo.at_most(480)
    assert (photo.size, pixels.shape, scale) == ((10000, 10000), (480, 480, 3), 0.048)
    assert photo._last[0].shape == (1250, 1250, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "^the file is empty; remove or replace it$"),
        (b"hello", r"^not a readable image \(it starts with b'hello'\); remove or replace it$"),
        (HEIC, "^HEIC, which OpenCV does not decode; convert it to JPEG or PNG$"),
        (b"GIF89a" + bytes(50), "^GIF, which OpenCV does not decode; convert it to JPEG or PNG$"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "^not a readable image"),
    ],
)
def test_what_is_no_photo_is_one_line(data, message, capfd):
    with pytest.raises(InsightError, match=message):
        Photo(data)
    assert capfd.readouterr() == ("", "")


def test_an_enormous_header_allocates_nothing():
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(InsightError, match=f"^30000 x 30000 pixels, more than {MOST_PIXELS}; scale it down$"):
        Photo(data)


def test_damaged_data_is_a_warning_or_an_error(capfd):
    data = marked.encoded(marked.spotted((640, 480)), "JPEG")
    noisy = data[: len(data) // 2] + b"\xff\x10" + data[len(data) // 2 :]  # decodes, with some noise
    photo = Photo(noisy)
    pixels, _ = photo.at_most(300)
    assert "Corrupt JPEG data" in photo.warning and max(pixels.shape) == 300
    cut = marked.encoded(marked.spotted((640, 480)), "PNG")
    with pytest.raises(InsightError, match="^not a readable image"):
        Photo(cut[: len(cut) // 2]).at_most(300)
    assert capfd.readouterr() == ("", "")
