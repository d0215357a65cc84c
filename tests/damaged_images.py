"""Damaged image files, and the output of OpenCV's own decoders about them.

The reference is independent of the code under test: a process decodes each file with ``cv2.imdecode`` while its
stderr is a file, which is read after each.
"""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Dict, List, NamedTuple

import cv2
import numpy as np
from PIL import Image

SUBSAMPLINGS = ("411", "420", "422", "440", "444")
# Output that no command may print.
DECODER_WORDS = ("Corrupt JPEG", "Premature end", "libpng", "imdecode_", "[ WARN", "[ERROR", "OpenCV", "Invalid SOS")


class Verdict(NamedTuple):
    """Whether OpenCV decodes a file, and the lines that it prints."""

    decodes: bool
    printed: List[str]


ORACLE = """
import json, os, sys
import cv2, numpy as np
scratch = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_TRUNC)
os.dup2(scratch, 2)
verdicts = {}
for name in sorted(os.listdir(sys.argv[1])):
    data = np.fromfile(os.path.join(sys.argv[1], name), np.uint8)
    os.ftruncate(2, 0)
    os.lseek(2, 0, 0)
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        pixels = None
    verdicts[name] = (pixels is not None, os.pread(2, 1 << 16, 0).decode("utf-8", "replace").split("\\n")[:-1])
print(json.dumps(verdicts))
"""


def opencv_says(files: Dict[str, bytes], folder: Path) -> Dict[str, Verdict]:
    """OpenCV's result for each file."""
    (folder / "files").mkdir()
    for name, data in files.items():
        (folder / "files" / name).write_bytes(data)
    command = [sys.executable, "-c", ORACLE, str(folder / "files"), str(folder / "stderr")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name: Verdict(*verdict) for name, verdict in json.loads(done.stdout).items()}


def textured(seed: int, height: int = 112, width: int = 112) -> np.ndarray:
    """uint8 (H, W, 3), with enough detail that most of a JPEG is scan."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (max(2, height // 6), max(2, width // 6), 3), dtype=np.uint8)
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def jpeg(seed: int = 0, height: int = 112, width: int = 112, **options) -> bytes:
    """A JPEG; ``options`` are OpenCV's, without IMWRITE_JPEG_."""
    flags = [v for name, value in options.items() for v in (getattr(cv2, f"IMWRITE_JPEG_{name}"), value)]
    return cv2.imencode(".jpg", textured(seed, height, width), flags)[1].tobytes()


def sampled(name: str) -> int:
    return getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}")


def pillow(seed: int = 0, mode: str = "RGB", kind: str = "JPEG", size=(112, 112), **options) -> bytes:
    """An image that Pillow encodes: modes and kinds that OpenCV does not write."""
    out = io.BytesIO()
    Image.fromarray(textured(seed, *size)).convert(mode).save(out, kind, **options)
    return out.getvalue()


def odd_jpegs() -> Dict[str, bytes]:
    """Sound JPEGs of many kinds."""
    found = {}
    for number, (height, width) in enumerate([(112, 112), (1, 1), (7, 9), (15, 33), (111, 113), (64, 200)]):
        for name in SUBSAMPLINGS:
            for quality, progressive, restart in ((5, 0, 0), (90, 0, 7), (100, 1, 0), (75, 1, 2)):
                options = {"QUALITY": quality, "PROGRESSIVE": progressive, "RST_INTERVAL": restart}
                data = jpeg(number, height, width, SAMPLING_FACTOR=sampled(name), **options)
                found[f"{height}x{width}-{name}-{quality}-{progressive}-{restart}"] = data
        for mode in ("L", "CMYK", "RGB"):
            for options in ({}, {"progressive": True}, {"optimize": True}):
                key = f"{height}x{width}-{mode}-{'-'.join(options)}"
                found[key] = pillow(number, mode, size=(height, width), quality=85, **options)
        found[f"{height}x{width}-rgb"] = pillow(number, size=(height, width), keep_rgb=True)
        cmyk = found[f"{height}x{width}-CMYK-"]
        at = cmyk.index(b"Adobe\0d") + 11  # the transform: 0 CMYK, 2 YCCK
        found[f"{height}x{width}-ycck"] = cmyk[:at] + b"\2" + cmyk[at + 1 :]
    return found


def unusual_sampling(size: int = 112, first_chroma: int = 0x21) -> bytes:
    """A sound grey JPEG whose first chroma component is sampled more finely than its luma."""
    header = jpeg(0, size, size, SAMPLING_FACTOR=sampled("444"))
    header = bytearray(header[: scan_of(header)])
    at = header.index(b"\xff\xc0") + 10
    assert header[at + 1] == header[at + 4] == header[at + 7] == 0x11
    header[at + 4] = first_chroma
    wide, high = first_chroma >> 4, first_chroma & 15
    mcu = "00" + "1010" + ("00" + "00") * (wide * high) + "00" + "00"  # a standard table, unchanged
    bits = mcu * (-(-size // (8 * wide)) * -(-size // (8 * high)))
    bits += "1" * (-len(bits) % 8)
    return bytes(header) + int(bits, 2).to_bytes(len(bits) // 8, "big") + b"\xff\xd9"


def scan_of(data: bytes) -> int:
    """The offset of the data of a JPEG's first scan."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def bit_flipped(data: bytes, rng: random.Random) -> bytes:
    """A bit of the scan is flipped."""
    at = rng.randrange(scan_of(data), len(data) - 2)
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def cut_with_end(data: bytes, rng: random.Random) -> bytes:
    """The scan ends early, followed by the end marker."""
    return data[: rng.randrange(scan_of(data) + 1, len(data) - 40)] + b"\xff\xd9"


def inserted(data: bytes, rng: random.Random) -> bytes:
    """Random bytes are inserted into the scan."""
    at = rng.randrange(scan_of(data), len(data) - 2)
    return data[:at] + bytes(rng.randrange(256) for _ in range(rng.randrange(1, 30))) + data[at:]


def zeroed(data: bytes, rng: random.Random) -> bytes:
    """A sector that was never written."""
    at = rng.randrange(scan_of(data), len(data) - 2)
    end = min(at + rng.randrange(1, 300), len(data) - 2)
    return data[:at] + bytes(end - at) + data[end:]


def marked(data: bytes, rng: random.Random) -> bytes:
    """A marker in the middle of the scan."""
    at = rng.randrange(scan_of(data), len(data) - 2)
    return data[:at] + b"\xff" + bytes([rng.choice([0xD0, 0xD5, 0xD9, 0xDA, 0xC4, 0xE1, 0x01])]) + data[at:]


def cut(data: bytes, rng: random.Random) -> bytes:
    """The file ends early."""
    return data[: rng.randrange(4, len(data) - 2)]


HARMS = (bit_flipped, cut_with_end, inserted, zeroed, marked, cut)


def damaged_jpegs(each: int = 2, seed: int = 0) -> Dict[str, bytes]:
    """JPEGs of some kinds, each damaged in every way, which the file names give."""
    rng = random.Random(seed)
    bases = {
        "420": jpeg(1, QUALITY=95, SAMPLING_FACTOR=sampled("420")),
        "444": jpeg(2, QUALITY=75, SAMPLING_FACTOR=sampled("444")),
        "restart": jpeg(3, QUALITY=90, RST_INTERVAL=5),
        "progressive": jpeg(4, QUALITY=90, PROGRESSIVE=1),
        "grey": pillow(5, "L", quality=90),
        "cmyk": pillow(6, "CMYK", quality=90),
        "large": jpeg(7, 250, 250, QUALITY=95),
        "small": jpeg(8, 9, 7, QUALITY=95, SAMPLING_FACTOR=sampled("420")) + b"",
    }
    found = {f"{name}.jpg": data for name, data in bases.items()}
    for name, data in bases.items():
        for harm in HARMS if name != "small" else (bit_flipped, inserted, marked):
            for number in range(each):
                found[f"{name}-{harm.__name__}-{number}.jpg"] = harm(data, rng)
    return found


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    return png[:33] + png_chunk(name, content) + png[33:]


def damaged_others(each: int = 6, seed: int = 0) -> Dict[str, bytes]:
    """PNG, WebP, BMP, TIFF and PNM files with flipped bits, missing ends and inserted bytes."""
    rng = random.Random(seed)
    bases = {
        "rgb.png": pillow(kind="PNG"),
        "palette.png": pillow(mode="P", kind="PNG"),
        "alpha.png": pillow(mode="RGBA", kind="PNG"),
        "profile.png": with_chunk(pillow(kind="PNG"), b"iCCP", b"\0" * 60),  # libpng: iCCP: too short, or so
        "a.webp": pillow(kind="WEBP"),
        "a.bmp": pillow(kind="BMP"),
        "a.tiff": pillow(kind="TIFF", compression="tiff_lzw"),
        "jpeg.tiff": pillow(kind="TIFF", compression="jpeg"),
        "a.ppm": pillow(kind="PPM"),
    }
    found = dict(bases)
    for name, data in bases.items():
        for number in range(each):
            at = rng.randrange(9, len(data) - 1)
            bit = bytes([data[at] ^ 1 << rng.randrange(8)])
            some = bytes(rng.randrange(256) for _ in range(9))
            for how, harmed in (
                ("flip", data[:at] + bit + data[at + 1 :]),
                ("cut", data[:at]),
                ("insert", data[:at] + some + data[at:]),
            ):
                found[f"{how}{number}-{name}"] = harmed
    return found
