"""Listing of raw photos: depth, links, names."""

import os

import odd_folders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insight.detect.raw import RawPhoto, flat_units, identity_units, inputs_digest, photos_below, with_stems
from insight.errors import InsightError
from insight.faces.folders import Skipped


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff\xe0 a photo")
    return str(root)


def test_any_depth_and_kind(tmp_path):
    names = ["Ann/x.JPG", "Ann/2019/May/x.png", "Ann/2019/none", "Bob/1.webp"]
    folder = touch(tmp_path, *names, "Ann/.hidden/1.jpg", "Ann/.1.jpg", "beside.jpg")
    (tmp_path / "Ann/phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "Ann/notes.txt").write_bytes(b"hello")
    skipped = Skipped()
    assert [unit.folder for unit in identity_units(folder, skipped)] == ["Ann", "Bob"]
    assert photos_below(folder, "Ann", skipped) == sorted([*names[:3], "Ann/phone.heic"])
    assert dict(skipped) == {"images beside the identity folders": 1, "hidden": 2, "files that are not images": 1}


def test_links_in_a_circle_are_followed_once(tmp_path):
    folder = touch(tmp_path / "raw", "Ann/a/1.jpg", "Ann/b/2.jpg")
    touch(tmp_path / "elsewhere", "deep/3.jpg")
    for link, target in {"Ann/a/up": "..", "Ann/self": ".", "Ann/b/a": "../a", "Ann/far": "../../elsewhere"}.items():
        (tmp_path / "raw" / link).symlink_to(target)
    (tmp_path / "raw/Ann/loop.jpg").symlink_to("loop.jpg")
    skipped = Skipped()
    paths = photos_below(folder, "Ann", skipped)
    assert paths == ["Ann/a/1.jpg", "Ann/b/2.jpg", "Ann/far/deep/3.jpg"]
    assert dict(skipped) == {"links to a folder that is listed already": 3, "links in a circle": 1}


def test_links_to_a_folder_around_are_not_followed(tmp_path):
    folder = touch(tmp_path / "raw", "Ann/1.jpg", "Bob/1.jpg", "beside.jpg")
    for link, target in {"Ann/up": "..", "Ann/top": "/", "Bob/ann": "../Ann", "top": "../.."}.items():
        (tmp_path / "raw" / link).symlink_to(target)
    for name, paths, around in (("Ann", ["Ann/1.jpg"], 2), ("Bob", ["Bob/1.jpg", "Bob/ann/1.jpg"], 2), ("top", [], 1)):
        skipped = Skipped()
        assert photos_below(folder, name, skipped) == paths
        assert dict(skipped) == {"links to a folder that contains them": around}


def test_all_kinds_of_files(tmp_path):
    root = str(odd_folders.write(tmp_path / "odd"))
    skipped = Skipped()
    listed = [path for unit in identity_units(root, skipped) for path in photos_below(root, unit.folder, skipped)]
    undecoded = [f"Ann/{name}" for name in ("phone.heic", "moving.gif", "raw.dng")]
    assert sorted(listed) == sorted([*odd_folders.IMAGES, *undecoded])


def test_missing_folder(tmp_path):
    with pytest.raises(InsightError, match="gone: no such folder"):
        identity_units(str(tmp_path / "gone"), Skipped())
    with pytest.raises(InsightError, match="gone: no such folder"):
        list(flat_units(str(tmp_path / "gone"), Skipped()))


def stems(*paths):
    return [photo.stem for photo in with_stems("Ann", paths)]


class TestStems:
    def test_suffix_goes_where_names_differ_without_it(self):
        assert stems("Ann/a.jpg", "Ann/a.png", "Ann/b.png") == ["a", "a.png", "b"]
        assert stems("Ann/2019/a.jpg", "Ann/a.jpg", "Ann/x\ty.jpg") == ["2019_a", "a", "x_y"]

    def test_clash_with_a_name_that_looks_like_it(self):
        first, second, third, fourth = stems("Ann/a.jpg", "Ann/a.png", "Ann/a.png.jpg", "Ann/a.png.jpg.png")
        assert (first, second, third) == ("a", "a.png", "a.png.jpg")
        assert fourth.startswith("a.png.jpg.png") and fourth not in (first, second, third)

    def test_long_names_fit_with_all_that_is_added(self, tmp_path):
        for name in (
            "x" * 251 + ".jpg",
            "é" * 125 + ".jpg",
            "\udce9" * 250 + ".jpg",
            "/".join(["d" * 200] * 10) + "/1.jpg",
        ):
            (stem,) = stems(f"Ann/{name}")
            (tmp_path / f".{stem}_1234.jpg.1234567.partial").write_bytes(b"")
        long = [f"Ann/{'x' * 240}{i}.jpg" for i in range(10)]
        assert len(set(stems(*long))) == 10

    @given(st.lists(st.text("ab./_", min_size=1, max_size=8), unique=True))
    def test_differ(self, names):
        result = stems(*sorted(f"Ann/{name}" for name in names))
        assert len(set(result)) == len(names) and "" not in result


class TestFlat:
    def test_covers_everything_once(self, tmp_path):
        names = [f"{i:03d}.jpg" for i in range(300)] + [f"sub/{i}.jpg" for i in range(5)] + ["sub/x/1.png"]
        folder = touch(tmp_path, *names)
        units = list(flat_units(folder, Skipped()))
        assert sorted(photo.path for unit in units for photo in unit.photos) == sorted(names)
        assert len({unit.key for unit in units}) == len(units) > 2
        assert {unit.folder for unit in units} == {"flat", "sub"}
        assert [p.stem for u in units for p in u.photos if u.folder == "sub"][-1] == "x_1"

    def test_one_photo_more_changes_one_unit(self, tmp_path):
        folder = touch(tmp_path, *(f"{i:04d}.jpg" for i in range(1000)))
        before = {unit.key: unit for unit in flat_units(folder, Skipped())}
        touch(tmp_path, "0500b.jpg")
        after = {unit.key: unit for unit in flat_units(folder, Skipped())}
        assert len([key for key in after if after[key] != before.get(key)]) <= 2
        assert 5 < len(after) < 60

    def test_folder_of_that_name(self, tmp_path):
        folder = touch(tmp_path, "1.jpg", "flat/1.jpg")
        (unit,) = flat_units(folder, Skipped())
        assert sorted(photo.stem for photo in unit.photos) == ["1", "1.jpg"]


def test_digest_sees_size_time_and_name(tmp_path):
    folder = touch(tmp_path, "Ann/1.jpg")
    os.utime(tmp_path / "Ann/1.jpg", ns=(1, 10**18))
    photos = [RawPhoto("Ann/1.jpg", "1")]
    digest = inputs_digest(folder, photos)
    assert inputs_digest(folder, photos) == digest
    os.utime(tmp_path / "Ann/1.jpg", ns=(1, 10**18 + 1))
    later = inputs_digest(folder, photos)
    (tmp_path / "Ann/1.jpg").write_bytes(b"\xff\xd8\xff")
    os.utime(tmp_path / "Ann/1.jpg", ns=(1, 10**18 + 1))
    shorter = inputs_digest(folder, photos)
    (tmp_path / "Ann/1.jpg").unlink()
    assert len({digest, later, shorter, inputs_digest(folder, photos), inputs_digest(folder, [])}) == 5
