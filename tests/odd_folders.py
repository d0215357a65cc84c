"""A folder of identity folders with all kinds of files that occur in practice, and the expected result of a reader."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np

SIZE = (112, 112)
# Wrong and missing suffixes: name -> encoding of the file.
ENCODINGS = {
    "UPPER.JPG": ".jpg",
    "a.pgm": ".pgm",
    "b.ppm": ".ppm",
    "c.jfif": ".jpg",
    "d.webp": ".webp",
    "e.tif": ".tif",
    "f.bmp": ".bmp",
    "g.jp2": ".jp2",
    "none": ".png",
    "wrong.jpg": ".png",
    "wrong.txt": ".jpg",
}
BYTES = "J\udce9r\udcf4me"  # a name that is not UTF-8
PLAIN = [
    "Ann/1.jpg",
    "Ann/2.jpg",
    "Ann/caf\udce9.jpg",
    "Ann/link.jpg",
    f"{BYTES}/1.jpg",
    f"{BYTES}/2.jpg",
]
OTHERS = [f"Kinds/{name}" for name in sorted(ENCODINGS)]
OTHERS += ["Link/1.jpg", "Link/2.jpg", "Żak 日本/1.jpg", "Żak 日本/2.jpg"]
UNLISTABLE = ["Ann/line\nend.jpg", "Ann/tab\there.jpg"]
IMAGES = sorted(PLAIN + UNLISTABLE) + OTHERS  # in the order of a reader
LISTED = PLAIN + OTHERS  # paths that a .lst can contain
PEOPLE = ["Ann", BYTES, "Kinds", "Link", "Żak 日本"]
LABELS = [PEOPLE.index(key.partition("/")[0]) for key in IMAGES]
LEFT_OUT = {
    "hidden": 2,
    "files beside the identity folders": 1,
    "images beside the identity folders": 1,
    "broken links": 2,
    "links in a circle": 2,
    "links to the folder itself": 1,
    "links to a folder that is listed already": 2,
    "pipes, sockets or devices": 4,
    "folders inside identity folders": 2,
    "empty files": 1,
    "files that are not images": 2,
    "files that are not images (video)": 1,
    "HEIC images, which OpenCV does not decode (convert them to JPEG or PNG)": 1,
    "GIF images, which OpenCV does not decode (convert them to JPEG or PNG)": 1,
    "camera RAW images, which OpenCV does not decode (convert them to JPEG or PNG)": 1,
    "folders without images": 1,
}
# Files with an image suffix that are not images: listed, and reported when they are decoded.
CLAIMS = {
    "Ann/empty.jpg": b"",
    "Ann/phone.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "Ann/text.jpg": b"<html>404 Not Found</html>",
}


def picture(number: int, suffix: str = ".jpg") -> bytes:
    """An encoded image of SIZE, smooth, different for each number."""
    small = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    if suffix == ".jp2":
        return JP2
    return cv2.imencode(suffix, pixels[..., 0] if suffix == ".pgm" else pixels)[1].tobytes()


JP2 = cv2.imencode(".jp2", cv2.resize(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), SIZE))[1].tobytes()


def write(root: Path) -> Path:
    """Make the folder; returns it. The targets of its links are beside it."""
    number = 0
    for key in [*IMAGES, "../elsewhere/1.jpg", "../elsewhere/2.jpg", "Ann/.hidden.jpg", "beside.jpg"]:
        folder, _, name = key.rpartition("/")
        path = root / key
        if folder != "Link" and name != "link.jpg":
            path.parent.mkdir(parents=True, exist_ok=True)
            number += 1
            path.write_bytes(picture(number, ENCODINGS.get(name, ".jpg")))
    _links(root)
    _specials(root)
    _others(root)
    return root


def _links(root: Path) -> None:
    links = {
        "Ann/link.jpg": "../../elsewhere/1.jpg",
        "Ann/broken.jpg": "/nowhere.jpg",
        "Ann/circle.jpg": "circle.jpg",
        "Ann/device.jpg": "/dev/zero",
        "broken": "gone",
        "circle": "circle",
        "itself": ".",
        "Ann again": "Ann",  # before Ann in order, but a second name
        "Link": "../elsewhere",
        "Link too": "../elsewhere",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)


def _specials(root: Path) -> None:
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "Ann/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(root / "Ann")  # the path of a socket is short
        try:
            made.bind("socket.jpg")
        finally:
            os.chdir(here)
    (root / "Ann/folder.jpg").mkdir()
    (root / "Ann/deeper/deeper").mkdir(parents=True)
    (root / "bare").mkdir()
    (root / ".git").mkdir()


def _others(root: Path) -> None:
    files: Dict[str, bytes] = {
        "README": b"",
        "Ann/empty.gif": b"",
        "Ann/notes.txt": b"seen from the left",
        "Ann/Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "Ann/clip.mp4": b"\0\0\0\x20ftypisom\0\0\2\0",
        "Ann/phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "Ann/moving.gif": b"GIF89a\1\0\1\0",
        "Ann/raw.dng": picture(99, ".tif"),
    }
    for name, data in files.items():
        (root / name).write_bytes(data)


def write_claims(root: Path) -> List[str]:
    """Add files with wrong suffixes; returns the expected list."""
    for name, data in CLAIMS.items():
        (root / name).write_bytes(data)
    return sorted([*PLAIN, *CLAIMS]) + OTHERS
