"""Where listed files are searched, and in which spellings."""

import os
import unicodedata

import pytest

from insight.errors import InsightError
from insight.files.places import Places, spellings


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ("lists", "root", "lists/faces", "root/faces"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def first(places, name):
    return next(filter(os.path.isfile, places.paths(name)), None)


def test_the_root_then_the_working_directory_then_the_list(folders):
    places = Places("lists", "root")
    assert list(places.paths("a.JPG"))[:3] == ["root/a.JPG", "a.JPG", "lists/a.JPG"]
    assert places.first("a.jpg") == "root/a.jpg"
    assert Places("lists").first("a.jpg") == next(Places("lists").paths("a.jpg")) == "a.jpg"
    assert first(places, "a.jpg") is None
    for folder in ("lists", ".", "root"):  # each precedes the one created before it
        (folders / folder / "a.jpg").touch()
        assert first(places, "a.jpg") == os.path.normpath(os.path.join(folder, "a.jpg"))
    assert next(places.paths("/x/a.jpg")) == "/x/a.jpg"
    assert places.describe() == "in --image-root root, in the working directory or beside the list (lists)"


def test_a_list_in_the_working_directory(folders, monkeypatch):
    for folder in ("", ".", str(folders)):
        assert Places(folder).describe() == "in the working directory"
    monkeypatch.chdir(folders / "lists")
    assert Places("../lists").describe() == "in the working directory"
    assert Places("..").describe() == "in the working directory or beside the list (..)"


def test_a_root_that_is_not_a_folder(folders):
    (folders / "file").touch()
    for root in ("none", "file"):
        with pytest.raises(InsightError, match=f"--image-root {root}: no such folder"):
            Places("", root)


@pytest.mark.parametrize(
    ("listed", "file"),
    [
        ("faces\\a.jpg", "faces/a.jpg"),
        (".\\faces\\a.jpg", "faces/a.jpg"),
        (" faces/a.jpg ", "faces/a.jpg"),
        ('"faces/a b.jpg"', "faces/a b.jpg"),
        ("faces/a.JPG", "faces/a.jpg"),
        ("faces\\A.jpg", "faces/A.JPG"),
        ("faces/é.jpg", unicodedata.normalize("NFD", "faces/é.jpg")),
        (unicodedata.normalize("NFD", "faces/é.jpg"), "faces/é.jpg"),
    ],
)
@pytest.mark.parametrize("folder", ["lists", "root", "."])
def test_other_spellings(folders, listed, file, folder):
    (folders / "faces").mkdir()
    (folders / folder / file).touch()
    assert os.path.samefile(first(Places("lists", "root"), listed), folders / folder / file)


def test_the_exact_spelling_is_preferred_in_any_place(folders):
    (folders / "root/faces/a.jpg").touch()
    (folders / "lists/faces\\a.jpg").touch()
    assert first(Places("lists", "root"), "faces\\a.jpg") == "lists/faces\\a.jpg"
    assert list(spellings("a.jpg")) == ["a.jpg", "a.JPG"]
    assert list(spellings("")) == [""]
