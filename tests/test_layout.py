"""Files and rooms of the package stay small enough to read."""

from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "insight"
LINES, FILES = 300, 20
COMMANDS = "cli"  # a file per command; its other files have names that begin with _
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)


def test_no_file_is_long():
    lines = {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8").count("\n")
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: count for name, count in lines.items() if count > LINES} == {}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(PACKAGE).as_posix())
def test_no_room_has_many_files(room):
    names = [path.name for path in room.glob("*.py") if path.name != "__init__.py"]
    if room.name == COMMANDS:
        names = [name for name in names if name.startswith("_")]
    assert len(names) <= FILES


def test_every_folder_of_python_files_is_a_room():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert folders == {PACKAGE, *ROOMS}
