"""Time of face2rec against tar of the same files: whole processes, warm cache, alternating.

    python benchmarks/packing.py [--images DIR] [--rounds 7]

DIR contains identity folders of aligned JPEGs; without it, 10,000 made-up ones are written to a temporary folder first.
The result is the ratio of the medians: with all images checked by the decoder, and by their headers only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSIGHT = [sys.executable, "-c", "import sys; from insight.cli import main; sys.exit(main())"]


def make_faces(folder: Path, identities: int = 2000, images: int = 5) -> None:
    """Write identity folders of 112 x 112 JPEGs with about the file size of faces."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for identity in range(identities):
        (folder / f"{identity:05d}").mkdir(parents=True)
        for image in range(images):
            small = rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)
            pixels = cv2.resize(small, (112, 112), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / f"{identity:05d}/{image}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])


def seconds(command: list) -> float:
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of identity folders")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        images = args.images
        if images is None:
            images = Path(scratch, "faces")
            make_faces(images)
        lst = f"{scratch}/train.lst"
        subprocess.run([*INSIGHT, "dir2lst", images, lst], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        tar = ["tar", "cf", f"{scratch}/faces.tar", str(images)]
        pack = [*INSIGHT, "face2rec", lst, "--output", f"{scratch}/set", "--overwrite"]
        commands = {
            "tar": tar,
            "face2rec": pack,
            "face2rec --check-images headers": [*pack, "--check-images", "headers"],
        }
        times = {name: [] for name in commands}
        for round_number in range(args.rounds + 1):
            for name, command in commands.items():
                duration = seconds(command)
                if round_number:  # the first is a warm-up
                    times[name].append(duration)
    medians = {name: statistics.median(durations) for name, durations in times.items()}
    tar_time = medians.pop("tar")
    for name, median in medians.items():
        print(f"tar {tar_time:.3f} s, {name} {median:.3f} s: {median / tar_time:.2f} times tar ({args.rounds} rounds)")


if __name__ == "__main__":
    main()
