"""recipes/own_faces on photos of real people: its time, what it changes, and whether a killed one ends the same.

    INSIGHT_TEST_DATA=DIR python benchmarks/own_faces.py --output WORK [--people 60] [--images 4,8] [--kill]

The photos are those of --people of lfw_dev, drawn among those with so many --images: two thirds as they are, the
others turned in larger photos, most with a stranger beside them. The recipe fine-tunes the checkpoint model-y1-test2
on them. A line a stage, then the figures of held-out people before and after.

With --kill, a second run is killed (SIGKILL of all its processes) once in each stage, in the middle of the time that
the stage took, and started again with the same command each time. All files of the two are then compared. WORK must
not exist: nothing is overwritten.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Tuple

import alignment_photos as photos
import onnx

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "recipes/own_faces"
STAGES = [script.stem for script in sorted(RECIPE.glob("[0-9]*.sh"))]
# Files with times, speeds and paths in them. What was made is in the others.
TIMED = (
    *("-log.jsonl", "-log.txt", "benchmark.csv", "lock", "steps.txt", "summary.txt", "report.html", "card.md"),
    *("before.json", "check.json", "-lineage.json", "model-resume.npz"),
)
LOGS = ("/log/", "-tensorboard/", ".align-faces/")


class Recipe:
    """One run of the recipe into a folder, which may be killed and started again."""

    def __init__(self, albums: Path, checkpoint: str, output: Path):
        self.output = output
        self.command = [str(RECIPE / "all.sh"), str(albums), "--pretrained", checkpoint, "--output", str(output)]

    def start(self) -> subprocess.Popen:
        """Its output goes to a file beside the folder."""
        with open(f"{self.output}.txt", "a") as log:
            return subprocess.Popen(self.command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)

    def begun(self, stage: str) -> bool:
        """Whether a command of the stage has been started."""
        steps = self.output / stage / "steps.txt"
        return steps.exists() and "begun " in steps.read_text()

    def watched(self) -> Dict[str, float]:
        """Run to the end; returns the seconds of each stage."""
        process, began = self.start(), {}
        while process.poll() is None:
            for stage in STAGES:
                if stage not in began and self.begun(stage):
                    began[stage] = time.monotonic()
            time.sleep(0.1)
        last = time.monotonic()
        if process.returncode:
            sys.exit(f"{self.output}.txt: the recipe ended with {process.returncode}")
        ends = [*list(began.values())[1:], last]
        return {stage: end - start for (stage, start), end in zip(began.items(), ends)}

    def killed(self, stage: str, after: float) -> bool:
        """Start, and kill all processes so many seconds after the stage has begun; returns False if it was too fast."""
        process, since = self.start(), None
        while process.poll() is None:
            if since is None and self.begun(stage):
                since = time.monotonic()
            if since is not None and time.monotonic() >= since + after:
                kill_session(process.pid)
                process.wait()
                return True
            time.sleep(0.05)
        return False


def kill_session(session: int) -> None:
    """SIGKILL of all its processes, and wait for their end: the recipe's commands have process groups of their own."""
    while True:
        living = [folder.name for folder in Path("/proc").glob("[0-9]*") if _lives_in(folder, session)]
        if not living:
            return
        for process in living:
            try:
                os.kill(int(process), signal.SIGKILL)
            except ProcessLookupError:  # it has just ended
                pass
        time.sleep(0.05)


def _lives_in(process: Path, session: int) -> bool:
    """Any of its threads: the first one is a zombie while the others still give memory and locks back."""
    threads = [_state(stat) for stat in process.glob("task/*/stat")]
    return any(state not in "ZX" and of == session for state, of in threads)


def _state(stat: Path) -> Tuple[str, int]:
    """(state, session); ("X", 0) of what has just ended."""
    try:
        about = stat.read_text().rpartition(")")[2].split()  # state, parent, process group, session
    except OSError:
        return "X", 0
    return about[0], int(about[3])


def contents(folder: Path) -> Dict[str, bytes]:
    """{path: bytes} of the files that a run has made, without those with times; paths in them are made the same."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.endswith(TIMED) and not any(part in name for part in LOGS):
            files[name] = path.read_bytes().replace(str(folder).encode(), b"OUTPUT")
    return files


def without_metadata(data: bytes) -> bytes:
    """An ONNX model without the notes on its origin, which have paths and times."""
    model = onnx.load_from_string(data)
    del model.metadata_props[:]
    return model.SerializeToString(deterministic=True)


def differing(first: Dict[str, bytes], second: Dict[str, bytes]) -> List[str]:
    """Names of the files that are not equal, or are there once."""

    def same(name: str) -> bool:
        one, other = first.get(name), second.get(name)
        if one is None or other is None or one == other:
            return one == other
        return name.endswith(".onnx") and without_metadata(one) == without_metadata(other)

    return [name for name in sorted({*first, *second}) if not same(name)]


def resumed(recipe: Recipe, seconds: Dict[str, float]) -> List[str]:
    """Kill a run once in each stage, then let it end; returns the stages in which the kill hit."""
    hit = [stage for stage in STAGES if recipe.killed(stage, seconds[stage] / 2)]
    recipe.watched()
    return hit


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, metavar="WORK")
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--images", default="4,8", help="least and most images of a person")
    parser.add_argument("--kill", action="store_true", help="kill a second run in each stage, and compare")
    args = parser.parse_args()
    data = Path(os.environ.get("INSIGHT_TEST_DATA", ""))
    if not (data / "data/lfw_dev.tar").is_file():
        sys.exit("INSIGHT_TEST_DATA: want the folder of the test data, with data/lfw_dev.tar")
    work = args.output.resolve()
    work.mkdir(parents=True)
    photos.unpack(data / "data/lfw_dev.tar", work / "lfw", "lfw_dev/")
    least, most = map(int, args.images.split(","))
    count, larger = photos.mixed_albums(work / "lfw", work / "photos", args.people, (least, most))
    print(f"{count} photos of {args.people} people, {larger} of them larger photos", flush=True)

    checkpoint = f"{data.resolve()}/models/model-y1-test2/model,0"
    whole = Recipe(work / "photos", checkpoint, work / "whole")
    seconds = whole.watched()
    for stage, spent in seconds.items():
        print(f"{stage:12} {spent:7.1f} s", flush=True)
    print(f"all          {sum(seconds.values()):7.1f} s")
    print("\n".join(re.findall(r"^.*: before, with .*$", (work / "whole/80_verify/log/report.txt").read_text(), re.M)))
    if args.kill:
        recipe = Recipe(work / "photos", checkpoint, work / "killed")
        hit = resumed(recipe, seconds)
        first, second = contents(work / "whole"), contents(work / "killed")
        differ = differing(first, second)
        print(f"killed in {', '.join(hit)}: {len(first) - len(differ)} of {len(first)} files equal")
        print("\n".join(f"  differs: {name}" for name in differ))
        sys.exit(1 if differ or hit != STAGES else 0)


if __name__ == "__main__":
    main()
