"""What commands leave in a folder."""

import csv
from pathlib import Path


def names(folder: Path) -> list:
    """Names of a folder's files, sorted."""
    return sorted(path.name for path in folder.iterdir())


def rows(path: Path) -> list:
    """Rows of a CSV with a heading, as dicts."""
    with open(path, newline="") as source:
        return list(csv.DictReader(source))
