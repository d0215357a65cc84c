"""Quality of `insight align-faces`: a line per figure, with what is wanted; status 1 if a figure misses it.

    python benchmarks/alignment_quality.py [--only made-up,turned,johns,lfw,folders] [--num-workers N]
                                           [--detector mtcnn|yunet:FILE|scrfd:FILE]

made-up   120 photos of people who do not exist, with known points: subjects found, median error of the points, crops
          of another person in photos of two and three
turned    the first 53 of them, and 53 of johns, by 90, 180 and 270 degrees without an EXIF orientation: points
          within 5 pixels of those of the upright photo
johns     5 people, 11 photos each: faces found, and photos whose most similar other photo is of the same person
lfw       the faces of the 4,317 pairs of lfw_dev, which are aligned: offset of the points that are found again from the
          template, and accuracy against the given alignment
folders   folders of 60 people of lfw_dev, with a stranger beside them in 60 % of the photos, or with the same companion
          in 60 %; the person has the largest face in 80 % of those. Faces of the right person, with --model and without

johns, lfw and folders read INSIGHT_TEST_DATA, and are skipped where it is unset. Errors are in pixels of the 112 x 112
crop, where the eyes are 35.2 apart. Nothing here is timed.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, NamedTuple

import alignment_photos as photos
import numpy as np

from insight.detect.face_table import NUMBERS
from insight.face_embedding import FaceEmbedding
from insight.faces.alignment import similarity, template
from insight.made_up.writer import write_photos
from insight.verify.folds import kfold_accuracy

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "import sys; from insight.cli import main; sys.exit(main())"
TURNS = (90, 180, 270)
TURNED = 53  # photos of each set
CLOSE = 5.0  # px of the crop: two detections of the same face


class Kept(NamedTuple):
    """A face that the command aligned."""

    box: np.ndarray  # (4,)
    points: np.ndarray  # (5, 2)
    crop: Path


class Report:
    """Prints figures, and knows whether all were as wanted."""

    missed = 0

    def line(self, section: str, what: str, value: float, want: str = "", unit: str = "") -> None:
        """``want`` is like ">= 119" or "<= 2.5"."""
        verdict = ""
        if want:
            relation, bound = want.split()
            met = value >= float(bound) if relation == ">=" else value <= float(bound)
            self.missed += not met
            verdict = f"  (want {want}{unit}{'' if met else ': MISSED'})"
        print(f"{section:8} {what}: {value:g}{unit}{verdict}", flush=True)


class Aligner:
    """Runs the command with common options and reads its table."""

    def __init__(self, work: Path, options: List[str]):
        self.work = work
        self.options = options

    def align(self, raw: Path, *options: str) -> Dict[str, Kept]:
        """Faces by the photo's path below ``raw``."""
        out = self.work / f"{raw.name}-aligned-{len(list(self.work.glob('*-aligned-*')))}"
        command = [sys.executable, "-c", COMMAND, "align-faces", str(raw), str(out), *self.options, *options]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command[3:])}: {done.stderr.strip()}")
        return read_table(out)


def read_table(out: Path) -> Dict[str, Kept]:
    kept = {}
    with open(out / "faces.csv", encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            if row["decision"] == "kept":
                values = np.array([float(row[name]) for name in NUMBERS])
                kept[row["file"]] = Kept(values[:4], values[4:].reshape(5, 2), out / row["crop"])
    return kept


def points_error(points: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of five points (5, 2), in pixels of the crop that ``truth`` (5, 2) gives."""
    scale = np.linalg.norm(similarity(truth, template((112, 112)))[:, 0])
    return float(scale * np.linalg.norm(points - truth, axis=1).mean())


# ------------------------------------------------------------------------------- sections


def made_up(report: Report, aligner: Aligner, data: Path) -> None:
    raw = aligner.work / "made-up"
    write_photos(raw, identities=24, images=5)
    truth: Dict[str, list] = {}
    with open(raw / "faces.csv", newline="") as table:
        for row in csv.DictReader(table):  # in order: the subject first
            truth.setdefault(row["image"], []).append(np.array(list(row.values())[8:], float).reshape(5, 2))
    kept = aligner.align(raw)
    errors, wrong = [], 0
    for name, faces in truth.items():
        if name in kept:
            distances = [points_error(kept[name].points, face) for face in faces]
            wrong += int(np.argmin(distances)) > 0
            errors.append(distances[0])
    several = sum(len(faces) > 1 for faces in truth.values())
    found = sum(error < 20 for error in errors)
    report.line("made-up", f"subjects found, of {len(truth)}", found, ">= 119")
    report.line("made-up", "median error of the points", round(float(np.median(errors)), 2), "<= 2.5", " px")
    report.line("made-up", f"wrong persons, in {several} photos of two and three", wrong, "<= 0")


def turned(report: Report, aligner: Aligner, data: Path) -> None:
    raws = [aligner.work / "few-made-up"]
    write_photos(raws[0], identities=11, images=5)
    if data:
        raws.append(_johns(aligner, data))
    for raw in raws:
        names = sorted(str(path.relative_to(raw)) for path in raw.rglob("*.jpg"))[:TURNED]
        upright = aligner.align(photos.turned(raw, aligner.work / f"{raw.name}-0", names, 0))
        report.line("turned", f"{raw.name}, upright: found, of {TURNED}", len(upright), f">= {TURNED}")
        for turn in TURNS:
            folder = photos.turned(raw, aligner.work / f"{raw.name}-{turn}", names, turn)
            kept = aligner.align(folder)
            right = 0
            for name in names:
                if name in kept and name in upright:
                    expected = photos.turn_points(upright[name].points, photos.size_of(raw / name), turn)
                    right += points_error(kept[name].points, expected) < CLOSE
            what = f"{raw.name}, {turn} degrees: right, of {TURNED} ({len(kept)} kept)"
            report.line("turned", what, right, ">= 45")


def johns(report: Report, aligner: Aligner, data: Path) -> None:
    kept = aligner.align(_johns(aligner, data))
    names = sorted(kept)
    report.line("johns", "photos with a face, of 55", len(names), ">= 55")
    rows = embed(data, [kept[name].crop for name in names])
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2)
    people = np.array([name.split("/")[0] for name in names])
    same = people[cosines.argmax(axis=1)] == people
    report.line("johns", "most similar photo of the same person", round(100 * same.mean(), 2), ">= 100", " %")


def lfw(report: Report, aligner: Aligner, data: Path) -> None:
    raw = aligner.work / "lfw"
    with open(data / "data/lfw_dev_pairs.csv", newline="") as table:
        pairs = [(row["image_a"], row["image_b"], row["same"] == "1") for row in csv.DictReader(table)]
    pairs = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]  # folds of both kinds
    names = sorted({name for pair in pairs for name in pair[:2]})
    photos.unpack(data / "data/lfw_dev.tar", raw, "lfw_dev/", set(names))
    kept = aligner.align(raw)
    offsets = np.array([kept[name].points for name in names if name in kept]) - template((112, 112))
    report.line("lfw", f"faces found, of {len(names)}", len(kept))
    for axis, name in enumerate("xy"):
        offset = round(float(np.median(offsets[..., axis])), 2)
        what = f"median offset from the template in {name}, of {offset:+g} px; its size"
        report.line("lfw", what, abs(offset), "<= 0.5", " px")
    given = accuracy(data, pairs, {name: raw / name for name in names}, "given alignment", report)
    again = accuracy(data, pairs, {name: face.crop for name, face in kept.items()}, "aligned again", report)
    report.line("lfw", "loss of accuracy", round(given - again, 2), "<= 0.1", " points")


def accuracy(data: Path, pairs: list, crops: Dict[str, Path], what: str, report: Report) -> float:
    """Percent of pairs that are told apart, over 10 folds; a pair without both faces counts as wrong."""
    names = sorted(crops)
    index = {name: i for i, name in enumerate(names)}
    rows = embed(data, [crops[name] for name in names])
    both = [(index[a], index[b], same) for a, b, same in pairs if a in index and b in index]
    first, second, same = (np.array(column) for column in zip(*both))
    cosine = (rows[first] * rows[second]).sum(axis=1)
    percent = 100 * kfold_accuracy(2 - 2 * cosine, same).accuracy * len(both) / len(pairs)
    spread = np.sqrt((cosine[same].var() + cosine[~same].var()) / 2)
    d = (cosine[same].mean() - cosine[~same].mean()) / spread
    report.line("lfw", f"{what}: accuracy of {len(both)} of {len(pairs)} pairs", round(percent, 2), unit=" %")
    report.line("lfw", f"{what}: d'", round(float(d), 2))
    return percent


def folders(report: Report, aligner: Aligner, data: Path) -> None:
    source = aligner.work / "people"
    photos.unpack(data / "data/lfw_dev.tar", source, "lfw_dev/")
    for same_companion, want in ((False, ">= 98"), (True, ">= 95")):
        kind = "companion" if same_companion else "strangers"
        raw = aligner.work / kind
        sides = photos.side_by_side(source, raw, same_companion)  # of the photos with two faces: where the person is
        for options, bound in (([], ""), (["--model", model(data)], want)):
            kept = aligner.align(raw, *options)
            right = sum(photos.side(kept[name].box) == side for name, side in sides.items() if name in kept)
            count = sum(name in kept for name in sides)
            how = "with --model" if options else "the largest"
            what = f"{kind}, {how}: right, of {count} aligned ({len(sides)} photos of two)"
            report.line("folders", what, round(100 * right / count, 2), bound, " %")


# ----------------------------------------------------------------------------- real faces


def _johns(aligner: Aligner, data: Path) -> Path:
    raw = aligner.work / "johns"
    if not raw.exists():
        photos.unpack(data / "data/johns.tar", raw, "johns/")
    return raw


def model(data: Path) -> str:
    return f"{data / 'models/model-y1-test2/model'},0"


def embed(data: Path, crops: List[Path]) -> np.ndarray:
    """Unit embeddings (N, E)."""
    return FaceEmbedding(model(data)).embed_many(crops)


SECTIONS = {"made-up": made_up, "turned": turned, "johns": johns, "lfw": lfw, "folders": folders}
NEED_DATA = ("johns", "lfw", "folders")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="comma-separated sections (all)")
    parser.add_argument("--num-workers", default="1")
    parser.add_argument("--detector", default="mtcnn")
    args = parser.parse_args()
    unknown = set(args.only.split(",")) - set(SECTIONS)
    if unknown:
        parser.error(f"--only: no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    data = os.environ.get("INSIGHT_TEST_DATA")
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        aligner = Aligner(Path(scratch), ["--num-workers", args.num_workers, "--detector", args.detector])
        for name in args.only.split(","):
            if name in NEED_DATA and not data:
                print(f"{name}: skipped: INSIGHT_TEST_DATA is unset")
            else:
                SECTIONS[name](report, aligner, Path(data) if data else None)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
