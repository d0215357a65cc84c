"""Kinds of files by their first bytes, compared with byte literals and with OpenCV's decoder."""

import struct

import cv2
import numpy as np
import pytest

from insight.errors import InsightError
from insight.images.header import image_size, suffix_of
from insight.images.kind import DECODED_SUFFIXES, HEAD_BYTES, KINDS, kind_of
from insight.images.pixels import upright_bgr

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 40, 3), dtype=np.uint8)


def encode(suffix, pixels=PIXELS):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def tiff(mark, order, big=False):
    """One grey pixel: the header, the pixel at byte 16 of 24, the directory after it."""
    tags = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 16), (277, 1), (278, 1), (279, 1)]
    pointer, count, pad = ("Q", "Q", 6) if big else ("I", "H", 2)
    head = mark + struct.pack(order + "HHQ", 8, 0, 24)[: 12 * big] + struct.pack(order + "I", 24)[: 4 * (not big)]
    rows = [struct.pack(f"{order}HH{pointer}H{pad}x", tag, 3, 1, value) for tag, value in tags]
    return head.ljust(24, b"\7") + struct.pack(order + count, len(rows)) + b"".join(rows) + bytes(8)


OS2 = b"BM\x22\0\0\0\0\0\0\0\x1a\0\0\0" + struct.pack("<IHHHH", 12, 2, 1, 1, 24) + bytes(8)
# A codestream of 40 x 64 grey zeros, as OpenJPEG writes it after the boxes of a .jp2.
JP2 = encode(".jp2")
J2K = JP2[JP2.index(b"\xff\x4f\xff\x51") :]

DECODED = [
    ("JPEG", ".jpg", encode(".jpg")),
    ("JPEG", ".jpg", encode(".jpg", PIXELS[:, :, 0])),
    ("PNG", ".png", encode(".png")),
    ("BMP", ".bmp", encode(".bmp")),
    ("BMP", ".bmp", OS2),
    ("WebP", ".webp", encode(".webp")),
    ("TIFF", ".tif", encode(".tif")),
    ("TIFF", ".tif", tiff(b"II*\0", "<")),
    ("TIFF", ".tif", tiff(b"MM\0*", ">")),
    ("TIFF", ".tif", tiff(b"II+\0", "<", big=True)),
    ("TIFF", ".tif", tiff(b"MM\0+", ">", big=True)),
    ("JPEG 2000", ".jp2", JP2),
    ("JPEG 2000", ".j2k", J2K),
    ("PBM", ".pbm", b"P1\n# by hand\n2 1\n1 0\n"),
    ("PGM", ".pgm", b"P2\r\n#a\r\n#b\r\n2 1\r\n255\r\n1 200\r\n"),
    ("PPM", ".ppm", b"P3 1 1 255 1 2 3\n"),
    ("PBM", ".pbm", b"P4 8 1\n\xaa"),
    ("PGM", ".pgm", b"P5\n3 1\n255\nabc"),
    ("PGM", ".pgm", b"P5\n" + b"# a long comment\n" * 90 + b"3 1\n255\nabc"),
    ("PGM", ".pgm", b"P5 2 1 65535\nabcd"),
    ("PPM", ".ppm", b"P6\t1 1\t255\nabc"),
    ("PAM", ".pam", b"P7\n# of pnmtopam\nWIDTH 1\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\nabc"),
    ("Sun raster", ".ras", encode(".ras")),
]
REFUSED = [
    ("GIF", ".gif", b"GIF89a\1\0\1\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"),
    ("GIF", ".gif", b"GIF87a\1\0\1\0"),
    ("AVIF", ".avif", b"\0\0\0 ftypavif\0\0\0\0avifmif1miafMA1B"),
    ("AVIF", ".avif", b"\0\0\0 ftypmif1\0\0\0\0miafavifMA1B"),
    ("HEIC", ".heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
    ("HEIC", ".heic", b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf"),
    ("HEIC", ".heic", b"\0\0\0\x24ftyphevx\0\0\0\0"),
    ("JPEG XL", ".jxl", b"\xff\x0a\xfa\x1f"),
    ("JPEG XL", ".jxl", b"\0\0\0\x0cJXL \r\n\x87\n"),
    ("JPEG XR", ".jxr", b"II\xbc\1\x20\0\0\0"),
    ("camera RAW", ".raw", b"II*\0\x10\0\0\0CR\2\0"),
    ("camera RAW", ".raw", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"),
    ("camera RAW", ".raw", b"FUJIFILMCCD-RAW 0201"),
    ("camera RAW", ".raw", b"IIRO\x08\0\0\0"),
    ("camera RAW", ".raw", b"IIU\0\x18\0\0\0"),
    ("camera RAW", ".raw", b"FOVb\0\0\2\0"),
    ("camera RAW", ".raw", b"\0MRM\0\1\2\3"),
    ("Photoshop", ".psd", b"8BPS\0\1\0\0\0\0\0\0\0\3"),
    ("GIMP", ".xcf", b"gimp xcf v011\0"),
    ("OpenEXR", ".exr", b"\x76\x2f\x31\x01\2\0\0\0"),
    ("Radiance HDR", ".hdr", encode(".hdr", PIXELS.astype(np.float32) / 255)),
    ("PFM", ".pfm", encode(".pfm", PIXELS.astype(np.float32) / 255)),
    ("SVG", ".svg", b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'),
    ("SVG", ".svg", b"\xef\xbb\xbf<svg>"),
    ("icon", ".ico", b"\0\0\1\0\1\0\x10\x10\0\0\1\0"),
    ("DICOM", ".dcm", bytes(128) + b"DICM"),
    ("DDS", ".dds", b"DDS \x7c\0\0\0\x07\x10"),
    ("PDF", ".pdf", b"%PDF-1.7\n"),
    ("PostScript", ".eps", b"%!PS-Adobe-3.0 EPSF-3.0"),
    ("video", ".mp4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2"),
    ("video", ".mp4", b"\0\0\0\x14ftypqt  \0\0\2\0qt  "),
    ("video", ".mp4", b"\0\x01\x02\x03moov"),
    ("video", ".avi", b"RIFF\x10\0\0\0AVI LIST"),
    ("video", ".mkv", b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska"),
    ("video", ".mpg", b"\0\0\1\xba\x44\0\4\0"),
    ("video", ".mpg", (b"\x47" + bytes(187)) * 3),
    ("video", ".wmv", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9"),
    ("video", ".flv", b"FLV\1\5\0\0\0\x09"),
    ("video", ".ogv", b"OggS\0\2\0\0"),
]
NOTHING = [
    b"",
    b"\xff",
    b"\xff\xd8",
    b"text",
    b"BMW, Audi and others: a list of cars, by maker.",
    b"P5 is a PGM's magic number",
    b"P1 3rd place",
    b"P7 332\n80 60 255\n",
    b"PF 100 Euro",
    b"<html><svg></html>",
    b"RIFF\x10\0\0\0WAVEfmt ",
    b"II*",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"PK\3\4",
    b"\x1f\x8b\x08",
    bytes(64),
    b"version https://git-lfs.github.com/spec/v1\n",
]


def decodes(data):
    """Whether packing decodes it, which :func:`kind_of` must predict."""
    try:
        return upright_bgr(data, "")[0].dtype == np.uint8
    except InsightError:
        return False


@pytest.mark.parametrize("name, suffix, data", DECODED, ids=lambda value: value if isinstance(value, str) else "")
def test_kinds_that_opencv_decodes(name, suffix, data):
    kind = kind_of(data[:HEAD_BYTES])
    assert (kind.name, kind.suffix, kind.decoded) == (name, suffix, True)
    assert decodes(data)
    assert suffix_of(memoryview(data)) == suffix


@pytest.mark.parametrize("name, suffix, data", REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_kinds_that_opencv_does_not_decode(name, suffix, data):
    kind = kind_of(data)
    assert (kind.name, kind.suffix, kind.decoded) == (name, suffix, False)
    assert kind.image == (name not in ("video", "PDF", "PostScript"))
    assert not decodes(data)
    assert suffix_of(data) == suffix


@pytest.mark.parametrize("data", NOTHING)
def test_unknown_kinds(data):
    assert kind_of(data) is None
    assert not decodes(data)
    assert suffix_of(data) == ".bin"


@pytest.mark.parametrize("name, suffix, data", DECODED, ids=lambda value: value if isinstance(value, str) else "")
def test_size_by_the_header(name, suffix, data):
    size = image_size(memoryview(data))
    assert size == upright_bgr(data, "")[0].shape[:2] or (size is None and data[2:4] in (b"+\0", b"\0+"))  # BigTIFF
    for cut in range(0, min(len(data), 64)):
        assert image_size(data[:cut]) in (None, size)


@pytest.mark.parametrize("options", [[cv2.IMWRITE_WEBP_QUALITY, 101], [cv2.IMWRITE_WEBP_QUALITY, 80]])
def test_size_of_a_webp(options):
    assert image_size(cv2.imencode(".webp", PIXELS, options)[1].tobytes()) == (64, 40)
    alpha = np.dstack([PIXELS, PIXELS[:, :, 0]])
    assert image_size(cv2.imencode(".webp", alpha, options)[1].tobytes()) == (64, 40)


def test_every_kind_is_tried():
    tried = {(name, suffix) for name, suffix, _ in DECODED + REFUSED}
    assert tried == {(kind.name, kind.suffix) for kind in KINDS}
    assert {suffix for _, suffix, _ in DECODED} == DECODED_SUFFIXES


@pytest.mark.parametrize(
    "data",
    [
        b"P5" + b" " * HEAD_BYTES,
        b"P5 " + b"#\n" * HEAD_BYTES,
        b"P5 " + b"1" * HEAD_BYTES,
        b" " * HEAD_BYTES,
        b"<!>" * HEAD_BYTES,
        b"\0\0\0\0ftypmif1" + b"abcd" * HEAD_BYTES,
    ],
)
def test_matching_is_fast_for_any_bytes(data):
    assert (kind_of(data[:HEAD_BYTES]) or KINDS[0]).name in (
        "JPEG",
        "HEIC",
    )  # a pattern with exponential backtracking would not terminate


def test_head_of_a_view():
    assert suffix_of(memoryview(bytearray(encode(".png")))) == ".png"
