"""Identity folders to lists: order, split by person, and the message for each bad folder."""

import os

import pytest

from insight.errors import InsightError
from insight.formats.labelmap import read_label_map
from insight.formats.lst import read_lst
from insight.sets.scan import default_val_output, folder_to_lists, scan_identities, split_identities


def labels_of(path):
    return {os.path.basename(os.path.dirname(e.path)): e.label for e in read_lst(path)}


def test_labels_follow_sorted_names(people, tmp_path):
    folder = people({"bob": 2, "Ann Lee": 1, "Żak 日本": 1, "10": 1, "9": 3})
    report = folder_to_lists(str(folder), str(tmp_path / "out/all.lst"), label_map=True)
    entries = read_lst(str(tmp_path / "out/all.lst"))
    assert [e.label for e in entries] == [0, 1, 1, 1, 2, 3, 3, 4]
    assert labels_of(str(tmp_path / "out/all.lst")) == {"10": 0, "9": 1, "Ann Lee": 2, "bob": 3, "Żak 日本": 4}
    assert all(e.aligned and os.path.exists(e.path) for e in entries)
    names = read_label_map(str(tmp_path / "out/all.labels.csv"))
    assert {name: label for label, name in names.items()} == labels_of(str(tmp_path / "out/all.lst"))
    assert report.lines() == [
        f"{tmp_path}/out/all.lst: 8 images of 5 identities",
        f"{tmp_path}/out/all.labels.csv: label map",
        "note: one image in 3 of 5 identities; --min-images 2 leaves them out, as InsightFace's script does",
    ]


def test_min_images_and_skipped_files(people, tmp_path):
    folder = people({"a": 3, "b": 1, "c": 2, "empty": 0})
    (folder / "a/notes.txt").write_text("seen from the left")
    (folder / "a/.hidden.jpg").touch()
    (folder / "a/deeper").mkdir()
    (folder / "a/UPPER.JPEG").touch()
    (folder / "a/tab\there.jpg").touch()
    (folder / "stray.jpg").touch()
    (folder / "README").touch()
    (folder / ".git").mkdir()
    before = sorted(folder.rglob("*"))
    scan = scan_identities(str(folder), min_images=2)
    assert [(i.name, len(i.paths)) for i in scan.identities] == [("a", 4), ("c", 2)]
    assert (scan.dropped_identities, scan.dropped_images, scan.images) == (1, 1, 6)
    assert scan.skipped == {
        "hidden": 2,
        "files that are not images": 1,
        "folders inside identity folders": 1,
        "paths with a tab or line end, which a list cannot hold": 1,
        "images beside the identity folders": 1,
        "files beside the identity folders": 1,
        "folders without images": 1,
    }
    lines = folder_to_lists(str(folder), str(tmp_path / "a.lst"), min_images=2).lines()
    assert "left out: 1 identities below --min-images, with 1 images" in lines
    assert "left out: 1 folders inside identity folders: a/deeper" in lines
    assert sorted(folder.rglob("*")) == before


def test_split_by_person(people, tmp_path):
    folder = people({f"p{i:02d}": 1 for i in range(20)})
    folder_to_lists(str(folder), str(tmp_path / "train.lst"), val_ratio=0.25, seed=3)
    training, held_out = labels_of(str(tmp_path / "train.lst")), labels_of(str(tmp_path / "val.lst"))
    assert len(training) == 15
    assert len(held_out) == 5
    assert not training.keys() & held_out.keys()
    for part in (training, held_out):
        assert sorted(part.values()) == list(range(len(part)))
        assert sorted(part, key=part.get) == sorted(part)


def test_split_depends_on_seed_and_name_alone(people):
    identities = scan_identities(str(people({f"p{i:02d}": 1 for i in range(40)}))).identities
    held_out = [{i.name for i in split_identities(identities, 0.25, seed)[1]} for seed in (0, 0, 1)]
    assert held_out[0] == held_out[1] != held_out[2]
    fewer = [i for i in identities if i.name not in ("p07", "p33")]
    assert len(held_out[0] ^ {i.name for i in split_identities(fewer, 0.25, 0)[1]}) <= 4


@pytest.mark.parametrize(("count", "ratio", "held_out"), [(4, 0.5, 2), (10, 0.2, 2), (10, 0.8, 8)])
def test_smallest_splits(people, count, ratio, held_out):
    identities = scan_identities(str(people({f"p{i}": 1 for i in range(count)}))).identities
    assert len(split_identities(identities, ratio)[1]) == held_out


@pytest.mark.parametrize(
    ("count", "ratio", "message"),
    [
        (1, 0.5, "--val-ratio 0.5 of 1 identities holds out 0 and trains on 1: both sides need 2"),
        (3, 0.5, "holds out 2 and trains on 1: both sides need 2"),
        (10, 0.1, "holds out 1 and trains on 9"),
        (10, 1.0, "want more than 0 and less than 1"),
        (10, -0.1, "want more than 0 and less than 1"),
    ],
)
def test_impossible_splits(people, tmp_path, count, ratio, message):
    folder = people({f"p{i}": 1 for i in range(count)})
    with pytest.raises(InsightError, match=message):
        folder_to_lists(str(folder), str(tmp_path / "train.lst"), val_ratio=ratio)
    assert not (tmp_path / "train.lst").exists()


def test_names_of_the_held_out_list():
    assert default_val_output("work/train.lst") == "work/val.lst"
    assert default_val_output("faces.lst") == "faces_val.lst"


def test_bad_folders(people, tmp_path):
    with pytest.raises(InsightError, match="none: no such folder; want a folder that holds a folder of images"):
        scan_identities(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InsightError, match="empty: is empty"):
        scan_identities(str(tmp_path / "empty"))
    (tmp_path / "empty/x.jpg").touch()
    with pytest.raises(InsightError, match="its images are in the folder itself"):
        scan_identities(str(tmp_path / "empty"))
    with pytest.raises(InsightError, match=r"x\.jpg: a file"):
        scan_identities(str(tmp_path / "empty/x.jpg"))
    (tmp_path / "text/a").mkdir(parents=True)
    (tmp_path / "text/a/a.txt").write_text("a")
    with pytest.raises(InsightError, match=r"no folder with images \(1 files that are not images, 1 folders without"):
        scan_identities(str(tmp_path / "text"))
    with pytest.raises(InsightError, match="none of its 2 identities has 3 images; lower --min-images"):
        scan_identities(str(people({"a": 1, "b": 2})), min_images=3)
    with pytest.raises(InsightError, match="--min-images 0"):
        scan_identities(str(tmp_path), min_images=0)
    with pytest.raises(InsightError, match="--val-output: nothing is held out"):
        folder_to_lists(str(tmp_path / "faces"), str(tmp_path / "a.lst"), val_output="b.lst")


def test_one_identity_is_listed_with_a_note(people, tmp_path):
    report = folder_to_lists(str(people({"a": 2})), str(tmp_path / "a.lst"))
    assert report.lines()[-1] == "note: one identity can be merged or embedded; training needs two or more"


def test_existing_lists(people, tmp_path):
    folder = str(people({f"p{i}": 1 for i in range(6)}))
    (tmp_path / "val.lst").write_text("mine")
    with pytest.raises(InsightError, match=r"val\.lst: already exists"):
        folder_to_lists(folder, str(tmp_path / "train.lst"), val_ratio=0.5)
    assert not (tmp_path / "train.lst").exists()
    folder_to_lists(folder, str(tmp_path / "train.lst"), val_ratio=0.5, overwrite=True)
    assert len(read_lst(str(tmp_path / "val.lst"))) == 3


def test_outputs_that_are_folders_or_below_files(people, tmp_path):
    folder = str(people({"a": 1}))
    (tmp_path / "dir.lst").mkdir()
    with pytest.raises(InsightError, match=r"dir\.lst: a folder, want a file to write"):
        folder_to_lists(folder, str(tmp_path / "dir.lst"), overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(InsightError, match="file: a file, want a folder"):
        folder_to_lists(folder, str(tmp_path / "file/a.lst"))


def test_people_with_one_image_are_noted(people, tmp_path):
    folder = str(people({"a": 1, "b": 2, "c": 1}))
    note = "note: one image in 2 of 3 identities; --min-images 2 leaves them out, as InsightFace's script does"
    assert note in folder_to_lists(folder, str(tmp_path / "a.lst")).lines()
    lines = folder_to_lists(folder, str(tmp_path / "b.lst"), min_images=2).lines()
    assert not any("one image" in line for line in lines)


def test_without_a_list_it_is_printed(people, insight, tmp_path):
    people({"\u00e9": 1, "p0": 2, "p1": 2})
    assert insight("dir2lst", "faces", "all.lst")[0] == 0
    status, out, err = insight("dir2lst", "faces")
    assert (status, out) == (0, (tmp_path / "all.lst").read_text(encoding="utf-8"))
    assert err.splitlines() == [
        "standard output: 5 images of 3 identities",
        "note: one image in 1 of 3 identities; --min-images 2 leaves them out, as InsightFace's script does",
    ]
    status, out, err = insight("dir2lst", "faces", "--val-ratio", "0.4", "--val-output", "val.lst", "--min-images", "2")
    assert (status, out) == (2, "")  # a side of one
    people({f"q{i}": 2 for i in range(6)})
    status, out, err = insight("dir2lst", "faces", "--val-ratio", "0.5", "--val-output", "val.lst", "--min-images", "2")
    held_out = (tmp_path / "val.lst").read_text(encoding="utf-8")
    assert status == 0 and len(held_out.splitlines()) == len(out.splitlines()) == 8
    for more, message in (
        (["--val-ratio", "0.5"], "--val-ratio 0.5: needs a name for the held-out list; give LST, or --val-output"),
        (["--label-map"], "--label-map: is written beside the list, which goes to standard output; give LST"),
    ):
        assert insight("dir2lst", "faces", *more) == (2, "", f"error: {message}\n")


def test_command(people, insight, tmp_path):
    people({f"p{i}": 2 for i in range(8)})
    status, out, err = insight("dir2lst", "faces", "work/train.lst", "--val-ratio", "0.25", "--label-map")
    assert (status, err) == (0, "")
    assert out.splitlines()[:2] == [
        "work/train.lst: 12 images of 6 identities",
        "work/val.lst: 4 images of 2 identities",
    ]
    assert sorted(os.listdir(tmp_path / "work")) == ["train.labels.csv", "train.lst", "val.labels.csv", "val.lst"]
    assert (tmp_path / "work/train.lst").read_text().startswith("1\tfaces/p")
    status, out, err = insight("dir2lst", "nothing", "b.lst")
    assert (status, out) == (2, "")
    assert err.startswith("error: nothing: no such folder; want")
    assert err.count("\n") == 1
