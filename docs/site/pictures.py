"""Draws docs/pictures with the commands that the pages show, from a run of the quickstart.

    ./recipes/quickstart.sh --output runs/pictures
    python docs/site/pictures.py runs/pictures

triplets.png is of a run on real faces (docs/triplet.md), and not drawn here. flow.svg needs no run.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List

import cv2
import numpy as np
from flow import svg

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs/pictures"
PEOPLE, EACH = 4, 8  # made-up people, and pictures of each
PHOTO_SEED, PHOTO_PEOPLE = 3, 3
PHOTO_HEIGHT, GAP = 300, 12  # pixels
KEPT, NOT_MEANT = (176, 109, 47), (34, 98, 196)  # BGR
PAGE = (1280, 860)  # of the screenshot: width, height
CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def main(run: Path) -> None:
    (PICTURES / "flow.svg").write_text(svg(), encoding="utf-8")
    _write("faces.jpg", made_up_faces(run / "faces"))
    logs = [str(run / stage / "model-log.jsonl") for stage in ("softmax", "arcface")]
    insight("plot-log", *logs, "--output", str(PICTURES / "curves.png"))
    with tempfile.TemporaryDirectory() as folder:
        _write("alignment.jpg", alignment(Path(folder)))
        report(run, logs, Path(folder) / "page.html")


def made_up_faces(folder: Path) -> np.ndarray:
    """The first pictures of the first people, a row each."""
    people = sorted(folder.iterdir())[:PEOPLE]
    return np.vstack([np.hstack([_read(path) for path in sorted(person.iterdir())[:EACH]]) for person in people])


def alignment(folder: Path) -> np.ndarray:
    """Photos with the faces that were found in them, above their crops."""
    people = ("--identities", str(PHOTO_PEOPLE), "--images", "1", "--seed", str(PHOTO_SEED))
    insight("made-up-faces", str(folder / "photos"), "--photos", *people)
    insight("align-faces", str(folder / "photos"), str(folder / "faces"))
    with open(folder / "faces/faces.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = []
    for name in sorted({row["file"] for row in rows}):
        photo, faces = _read(folder / "photos" / name), [row for row in rows if row["file"] == name]
        for row in faces:
            _mark(photo, row)
        (crop,) = [row["crop"] for row in faces if row["crop"]]
        columns.append(_column(photo, _read(folder / "faces" / crop)))
    return np.hstack(columns)


def report(run: Path, logs: List[str], page: Path) -> None:
    """The upper part of the report on the run's model, as Chromium shows it."""
    sets = ("--data-dir", str(run / "set"), "--target", "val")
    model = ("--model", f"{run}/arcface/model,1", "--title", "Made-up faces, MobileFaceNet")
    insight("report", *model, *sets, "--log", *logs, "--output", str(page))
    shot = f"--screenshot={PICTURES / 'report.png'}"
    size = "--window-size={},{}".format(*PAGE)
    subprocess.run(["chromium", *CHROMIUM, size, shot, page.as_uri()], check=True, capture_output=True)


def insight(*command: str) -> None:
    """Run a command of the checkout."""
    print("insight", *command)
    subprocess.run([sys.executable, "-m", "insight.cli", *command], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


def _mark(photo: np.ndarray, row: dict) -> None:
    colour = KEPT if row["crop"] else NOT_MEANT
    x1, y1, x2, y2 = (round(float(row[name])) for name in ("x1", "y1", "x2", "y2"))
    cv2.rectangle(photo, (x1, y1), (x2, y2), colour, 3)
    for name in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth"):
        x, y = round(float(row[f"{name}_x"])), round(float(row[f"{name}_y"]))
        cv2.circle(photo, (x, y), 3, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(photo, (x, y), 3, colour, 1, cv2.LINE_AA)


def _column(photo: np.ndarray, crop: np.ndarray) -> np.ndarray:
    scale = PHOTO_HEIGHT / photo.shape[0]
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = photo.shape[0] + crop.shape[0] + 3 * GAP, photo.shape[1] + 2 * GAP
    column = np.full((height, width, 3), 255, np.uint8)
    column[GAP : GAP + photo.shape[0], GAP : GAP + photo.shape[1]] = photo
    left = (width - crop.shape[1]) // 2
    column[-GAP - crop.shape[0] : -GAP, left : left + crop.shape[1]] = crop
    return column


def _read(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise SystemExit(f"{path}: no image; want the folder of a quickstart run")
    return pixels


def _write(name: str, pixels: np.ndarray) -> None:
    cv2.imwrite(str(PICTURES / name), pixels, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "faces").is_dir():
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]).resolve())
