"""Compare the results of two checkouts: run the same commands in both on the same inputs, compare the files written.

    python benchmarks/same_results.py OLD_CHECKOUT [NEW_CHECKOUT] [--only int8,ncnn] [--keep DIR]

The new checkout is the one of this file unless it is given. Each command runs in both, one after the other, as
``insight COMMAND`` in the Python environment of this script with that checkout's own package, on a single thread
(OMP_NUM_THREADS chooses another number). A line for each says ``same``, or in which file, where, and by how much at
most the results differ; the exit status is 1 if any differs. ``same_cases.py`` has the commands, ``same_inputs.py`` the
inputs, and ``differences.py`` what equal means for each kind of file. INSIGHT_TEST_DATA adds real faces and a trained
network. All takes some minutes.

A command or option that only the new checkout has cannot be compared: the line says so, and that is no difference.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Dict, List

import same_inputs
from differences import Comparison, compare_folders, exemptions
from same_cases import CASES, REAL_CASES, Case

ROOT = Path(__file__).resolve().parents[1]
SAME, DIFFERENT, SKIPPED = "same", "DIFFERENT", "not compared"
UNKNOWN = ("unrecognized arguments: ", "no command ")


class Checkout:
    """A checkout whose commands run in a folder of its own.

    Raises
    ------
    SystemExit
        The folder holds no package, or another package is imported.
    """

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root.resolve(), folder
        threads = os.environ.get("OMP_NUM_THREADS", "1")
        self._environment = {**os.environ, "PYTHONPATH": str(self.root), "OMP_NUM_THREADS": threads}
        self._environment["PYTHONHASHSEED"] = "0"
        folder.mkdir(parents=True)
        code = "import insight; print(insight.__file__)"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=folder, env=self._environment, capture_output=True, text=True)
        if Path(done.stdout.strip()) != self.root / "insight/__init__.py":
            lines = (done.stdout or done.stderr).strip().splitlines()
            raise SystemExit(f"error: {root}: not a checkout of insight; importing it gave {lines[-1]}")

    def start(self, words: List[str]) -> subprocess.Popen:
        """Start a command in the folder; the working directory must not be a checkout, since -m puts it first."""
        command = [sys.executable, "-m", "insight.cli", *words]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, env=self._environment, text=True, **streams)

    def run(self, words: List[str]) -> tuple:
        """(exit status, last line on stderr)."""
        with self.start(words) as process:
            lines = process.communicate()[1].strip().splitlines()
        return process.returncode, lines[-1] if lines else ""

    def run_or_stop(self, words: List[str]) -> None:
        """Run a command that must succeed; raises SystemExit."""
        status, line = self.run(words)
        if status:
            raise SystemExit(f"error: insight {' '.join(words)}: status {status}: {line}")

    def run_case(self, case: Case) -> tuple:
        """As :meth:`run`, killed and resumed where the case says so; a text for the status if it was not killed."""
        words = shlex.split(case.command)
        if not case.killed_after:
            return self.run(words)
        with self.start(words) as process:
            while process.poll() is None and not (self.folder / case.killed_after).exists():
                time.sleep(0.01)
            process.kill()
            error = process.communicate()[1]
        if process.returncode != -signal.SIGKILL:
            return f"{process.returncode} before it was killed", error.strip()[-200:]
        return self.run([*words, "--resume"])


def compare(case: Case, old: Checkout, new: Checkout) -> tuple:
    """Run a case in both; returns (SAME, DIFFERENT or SKIPPED, what there is to say)."""
    results = [side.run_case(case) for side in (old, new)]
    unknown = [any(text in line for text in UNKNOWN) for _, line in results]
    if unknown == [True, False]:
        return SKIPPED, f"the old checkout does not have it: {results[0][1]}"
    if [status for status, _ in results] != [case.status] * 2:
        ends = " against ".join(f"status {status} ({line})" for status, line in results)
        return DIFFERENT, f"expected status {case.status}, got {ends}"
    patterns = case.outputs.split()
    comparisons = compare_folders(old.folder, new.folder, patterns)
    if case.like:
        for name, side in (("old", old), ("new", new)):
            comparisons.update(_compare_within(name, side.folder, patterns, case.like))
    different = [f"{name}: {found.difference}" for name, found in comparisons.items() if found.difference]
    if different:
        return DIFFERENT, "; ".join(different)
    exempt = "; ".join(exemptions(comparisons))
    return SAME, f"{len(comparisons)} files" + (f", apart from {exempt}" if exempt else "")


def _compare_within(name: str, folder: Path, patterns: List[str], like: str) -> Dict[str, Comparison]:
    """Compare a case's outputs with those of another case of the same checkout."""
    found: Dict[str, Comparison] = {}
    for pattern in patterns:
        own, _, rest = pattern.partition("/")
        for file, comparison in compare_folders(folder / like, folder / own, [rest]).items():
            found[f"{name} {own}/{file} against {like}/{file}"] = comparison
    return found


def select(cases: List[Case], words: List[str]) -> List[Case]:
    """The cases whose names contain one of the words, and those that write what they read."""
    selected: List[Case] = []
    for case in reversed(cases):
        written = [pattern.split("/")[0] for pattern in case.outputs.split()]
        read = {name for later in selected for name in re.split(r"[\s,/]+", f"{later.command} {later.like}")}
        if any(word in case.name for word in words) or any(fnmatch(name, own) for name in read for own in written):
            selected.insert(0, case)
    return selected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("new", type=Path, metavar="NEW_CHECKOUT", nargs="?", default=ROOT)
    parser.add_argument("--only", default="", metavar="WORD,..", help="cases with such names, and those they depend on")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="a new folder for inputs and results; else temporary")
    args = parser.parse_args()
    if args.keep and args.keep.exists():
        parser.error(f"--keep {args.keep}: already exists; name a new folder")
    words = args.only.split(",")
    if not select(CASES + REAL_CASES, words):
        parser.error(f"--only {args.only}: no case has such a name; same_cases.py has them all")
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.keep or Path(temporary) / "work").resolve()
        inputs = Checkout(args.new, work / "inputs")
        old, new = Checkout(args.old, work / "old"), Checkout(args.new, work / "new")
        same_inputs.make(inputs.folder, inputs.run_or_stop)
        counts = {SAME: 0, DIFFERENT: 0, SKIPPED: 0}
        cases = CASES + (REAL_CASES if (inputs.folder / "real").exists() else [])
        for case in select(cases, words):
            start = time.perf_counter()
            outcome, text = compare(case, old, new)
            counts[outcome] += 1
            print(f"{outcome:12}  {case.name}: {text} ({time.perf_counter() - start:.0f} s)", flush=True)
        print(", ".join(f"{count} {outcome.lower()}" for outcome, count in counts.items()))
    return 1 if counts[DIFFERENT] else 0


if __name__ == "__main__":
    sys.exit(main())
