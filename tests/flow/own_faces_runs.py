"""Runs of recipes/own_faces, for its tests."""

import os
import re
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes/own_faces"
STAGES = [script.stem for script in sorted(RECIPE.glob("[0-9]*.sh"))]
NAMES = (RECIPE.parent / "steps.sh").read_text()
SETTINGS = re.search(r'setting_names="([^"]*)"', NAMES)[1].split()
SETTINGS += ["PHOTOS", "ALIGNED", "PRETRAINED", "MODELS", "DATA_DIR", "TARGET", "CKPT", "RECIPE_ENV", "SMOKE_DIR"]
SETTINGS += ["CUDA_VISIBLE_DEVICES"]


def environment(settings):
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return {**clean, "GPUS": "", **{name: str(value) for name, value in settings.items()}}


def run(*arguments, script="all", root=ROOT, folder=None, **settings):
    command, folder = [str(root / f"recipes/own_faces/{script}.sh"), *map(str, arguments)], folder or root
    return subprocess.run(command, capture_output=True, text=True, env=environment(settings), cwd=folder, timeout=400)


def commands(output):
    """{stage: the commands that it shows}, as lists of words."""
    found = {}
    for line in output.splitlines():
        if re.fullmatch(r"\[\d\d_\w+\]", line):
            found[line[1:-1]] = []
        elif line.startswith("    insight "):
            found[list(found)[-1]].append(shlex.split(line)[1:])
    return found
