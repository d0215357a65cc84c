"""Lists of images, and the images of a folder."""

import json

import pytest

from insight.errors import InsightError
from insight.identify import facelist

NAMES = ["Adam_Sandler/Adam_Sandler_1.png", "Zoe/é 2.jpg"]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(NAMES),
        "\r\n".join(NAMES) + "\r\n",
        "\ufeff./" + "\n\n".join(NAMES).replace("/", "\\") + "\n",
        json.dumps({"path": NAMES}),
        " \n" + json.dumps({"id": None, "path": NAMES}, indent=4, ensure_ascii=False),
    ],
)
def test_names(tmp_path, text):
    (tmp_path / "list").write_bytes(text.encode())
    assert facelist.read_list(tmp_path / "list") == (NAMES, None)


def test_identities(tmp_path):
    (tmp_path / "list").write_text(json.dumps({"path": NAMES, "id": ["a", "b"]}))
    assert facelist.read_list(tmp_path / "list").identities == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list: empty; want a path per line, or JSON"),
        ('{"path": []}', "list: empty"),
        ('{"path": ["a/b.jpg"', "list: not valid JSON"),
        ('{"paths": ["a/b.jpg"]}', "list: want a path per line, .*; found 'paths'"),
        ("{}", "found ''"),
        ('{"path": ["a/b.jpg"], "id": []}', "lists of strings of one length; found 'path, id'"),
        ('{"path": [1]}', "lists of strings of one length"),
        ("a/b.jpg\n../c.jpg\n", r"list:2: .*; found '../c.jpg', which is not a path under a folder"),
        ("a/b.jpg\n/c.jpg\n", r"list:2: .*; found '/c.jpg'"),
        ('{"path": ["a//b.jpg"]}', r"list:1: .*; found 'a//b.jpg'"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    (tmp_path / "list").write_text(text)
    with pytest.raises(InsightError, match=message):
        facelist.read_list(tmp_path / "list")
    with pytest.raises(InsightError, match="gone: no such file; want a path per line"):
        facelist.read_list(tmp_path / "gone")


def test_files_of_a_folder(tmp_path):
    for name in ("b/2/x.jpg", "b/10/y.PNG", "a.jpeg", "b/notes.txt", ".hidden/z.jpg", "b/.z.jpg", "b/2/x.jpg_me.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert facelist.list_files(tmp_path).names == ["a.jpeg", "b/10/y.PNG", "b/2/x.jpg"]
    assert facelist.list_files(tmp_path, "_me.bin").names == ["b/2/x.jpg"]
    with pytest.raises(InsightError, match=r"has no file that ends in _you\.bin, at any depth"):
        facelist.list_files(tmp_path, "_you.bin")
    with pytest.raises(InsightError, match="gone: No such file or directory; want a folder of faces"):
        facelist.list_files(tmp_path / "gone")


def test_parts_of_a_path():
    assert facelist.end_of("root/100/100@N0/1.jpg", 3) == "100/100@N0/1.jpg"
    assert facelist.end_of("1.jpg", 3) == "1.jpg"
    assert [facelist.folder_of(name) for name in ("x/Ann/1.jpg", "Ann/1.jpg", "1.jpg")] == ["Ann", "Ann", ""]
