"""The inputs that ``same_results.py`` gives to both checkouts: made-up faces, odd images, a damaged set, real faces.

``make(folder, insight)`` writes, from the faces that the command line ``insight`` draws:

faces/                  8 identities of 6 images, 112x112
gallery/, probes/       the same, shared out by image; the last two identities are in probes/ only
first_set/, second_set/ record sets of identities 0 to 4 and 3 to 7: two are in both, by other images
odd/, odd.lst           one image of each kind that is converted, skipped or damaged
damaged/                a record set with a changed payload, a changed length and a cut end
real/                   where INSIGHT_TEST_DATA is set: johns/, pairs.csv with 20 pairs of each kind of the images in
                        lfw/, and a checkpoint model-0000.params
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import Callable, List

import cv2
import numpy as np

IDENTITIES, IMAGES = 8, 6
PAIRS = 20  # real ones of each kind
EXIF_TURNED = bytes.fromhex("ffe1 0022 457869660000 4d4d002a00000008 0001 0112 0003 00000001 0006 0000 00000000")
LANDMARKS = [80, 150, 115, 82, 148, 100, 101, 140, 170, 169]  # five x, then five y, in a picture of 230x230


def make(folder: Path, insight: Callable[[List[str]], None]) -> None:
    """Write all inputs into ``folder``, the working directory of the commands that ``insight`` runs."""
    counts = ["--identities", str(IDENTITIES), "--images", str(IMAGES), "--seed", "0"]
    insight(["made-up-faces", "faces", *counts])
    people = sorted(path for path in (folder / "faces").iterdir() if path.is_dir())
    for number, person in enumerate(people):
        images = sorted(person.iterdir())
        half = len(images) // 2
        _copy(images[:half] if number < IDENTITIES - 2 else [], folder / "gallery" / person.name)
        _copy(images[half:], folder / "probes" / person.name)
        _copy(images[:half] if number < 5 else [], folder / "first" / person.name)
        _copy(images[half:] if number > 2 else [], folder / "second" / person.name)
    _write_odd(folder, cv2.imread(str(sorted(people[0].iterdir())[0])))
    for name in ("first", "second"):
        insight(["dir2lst", name, f"{name}.lst"])
        insight(["face2rec", f"{name}.lst", "--output", f"{name}_set"])
    shutil.copytree(folder / "first_set", folder / "damaged")
    _damage(folder / "damaged/train.rec")
    if os.environ.get("INSIGHT_TEST_DATA"):
        _take_real(Path(os.environ["INSIGHT_TEST_DATA"]).resolve(), folder / "real", insight)


def _copy(images: List[Path], folder: Path) -> None:
    for image in images:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, folder / image.name)


def _write_odd(folder: Path, bgr: np.ndarray) -> None:
    """odd/ and odd.lst, of which the last entry is unaligned and the one before does not exist."""

    def encoded(pixels: np.ndarray, suffix: str = ".jpg") -> bytes:
        return cv2.imencode(suffix, pixels)[1].tobytes()

    large = cv2.resize(bgr, (230, 230), interpolation=cv2.INTER_CUBIC)
    grey, jpeg = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), encoded(bgr)
    files = {
        "plain.jpg": jpeg,
        "grey.jpg": encoded(grey),
        "grey.png": encoded(grey, ".png"),
        "alpha.png": encoded(np.dstack([bgr, grey]), ".png"),
        "deep.png": encoded(bgr.astype(np.uint16) * 257, ".png"),
        "lossless.bmp": encoded(bgr, ".bmp"),
        "small.webp": encoded(bgr, ".webp"),
        "scanned.tif": encoded(bgr, ".tif"),
        "turned.jpg": jpeg[:2] + EXIF_TURNED + jpeg[2:],
        "large.jpg": encoded(large),
        "wide.png": encoded(large[:150], ".png"),
        "wrong_suffix.png": encoded(bgr[:, ::-1]),
        "cut.jpg": jpeg[: len(jpeg) * 2 // 3],
        "changed.jpg": jpeg[: len(jpeg) // 2] + b"\xff\xc0" + jpeg[len(jpeg) // 2 + 2 :],
        "text.jpg": b"<html>404 Not Found</html>",
        "empty.jpg": b"",
    }
    (folder / "odd").mkdir()
    for name, data in files.items():
        (folder / "odd" / name).write_bytes(data)
    lines = [f"1\todd/{name}\t{number // 4}" for number, name in enumerate([*files, "missing.jpg"])]
    lines.append("\t".join(["0", "odd/large.jpg", "5", "0", "0", "230", "230", *map(str, LANDMARKS)]))
    (folder / "odd.lst").write_text("\n".join(lines) + "\n")


def _damage(rec_path: Path) -> None:
    data = bytearray(rec_path.read_bytes())
    starts = [i for i in range(0, len(data), 4) if data[i : i + 4] == bytes.fromhex("0a23d7ce")]
    third, seventh = starts[3], starts[7]
    data[third + 32 : third + 40] = b"no image"
    data[seventh + 4] ^= 0x40
    rec_path.write_bytes(data[:-10])


def _take_real(data: Path, folder: Path, insight: Callable[[List[str]], None]) -> None:
    insight(["rec2image", str(data / "data/lfw_dev.bin"), "real/lfw"])
    heading, *pairs = (folder / "lfw/pairs.csv").read_text().splitlines()
    some = [pair for same in "01" for pair in [pair for pair in pairs if pair.endswith(f",{same}")][:PAIRS]]
    (folder / "pairs.csv").write_text("\n".join([heading, *some]) + "\n")
    with tarfile.open(data / "data/johns.tar") as tar:
        for member in tar.getmembers():
            if member.isfile() and not member.name.startswith(("/", "..")):
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())
    for path in sorted((data / "models/model-y1-test2").iterdir()):
        shutil.copyfile(path, folder / path.name)
