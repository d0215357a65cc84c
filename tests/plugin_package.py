"""Packages with entry points, laid into a folder as an installer would, without one; and the package of a document."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```$", re.M | re.S)
GROUP = re.compile(r'^\[project\.entry-points\."([\w.]+)"\]\n((?:[\w-]+ = ".*"\n)+)', re.M)


def install(site: Path, name: str, files: dict, entry_points: dict, version: str = "1.0") -> None:
    """Lay out a package.

    Parameters
    ----------
    site : Path
        Stands for ``site-packages``.
    name : str
    files : dict
        Path to text.
    entry_points : dict
        Group to {name: value}.
    """
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text, encoding="utf-8")
    about = site / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for group, points in entry_points.items()
    )
    (about / "entry_points.txt").write_text("\n".join(groups))


def of_document(page: Path) -> tuple:
    """(files, entry points) of the code blocks that begin with a comment that names their file."""
    files = dict(BLOCK.findall(page.read_text(encoding="utf-8")))
    return files, _groups(files.pop("pyproject.toml"))


def entry_points(pyproject: Path) -> dict:
    """Group to {name: value} of a pyproject.toml."""
    return _groups(pyproject.read_text(encoding="utf-8"))


def _groups(text: str) -> dict:
    return {group: dict(re.findall(r'^([\w-]+) = "(.*)"$', lines, re.M)) for group, lines in GROUP.findall(text)}


def insight(site: Path, folder: Path, *arguments, kill_at: int = 0):
    """Run a command in a process that sees the site's packages; it kills itself in step ``kill_at`` of training."""
    code = "import sys; from insight.cli import main; "
    if kill_at:
        code += f"import killed_run; killed_run.kill_at({kill_at}, 0.5); "
    return python(site, folder, code + "sys.exit(main())", *arguments)


def python(site: Path, folder: Path, code: str, *arguments):
    """Run code in a process that sees the site's packages."""
    path = os.pathsep.join(map(str, (site, ROOT, ROOT / "tests/train")))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
