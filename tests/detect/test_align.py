"""The whole command, on patterns with known landmarks."""

import csv
import json
import os
import pickle
import shutil
from functools import partial

import numpy as np
import pytest
from raw_folders import PatternNetwork, RawFolder, contents, pattern, shown

from insight.cli import run_command
from insight.detect import unit_work
from insight.detect.align import align
from insight.detect.output import OutputFolder
from insight.detect.raw import PhotoUnit
from insight.detect.settings import AlignSettings, AlignTools, digest_of
from insight.detect.unit_task import UnitTask
from insight.detect.unit_work import align_unit
from insight.errors import InsightError
from insight.executor.pool import RunEnded
from insight.images.pixels import decode_rgb


@pytest.fixture
def raw(tmp_path):
    """Ann alone, at any depth; Bob, with strangers who are larger in some photos; a photo without a face."""
    raw = RawFolder(tmp_path / "raw")
    for i in range(3):
        raw.photo(f"Ann/{'deeper/' * i}{i}.jpg", [(0, 50, 40, 150)])
    for i in range(6):
        stranger = (100 + i, 20, 30, 180 if i < 3 else 90)
        raw.photo(f"Bob/{i}.png", [(1, 240, 60, 130), *([stranger] if i < 5 else [])])
    raw.photo("Cid/nothing.jpg", [])
    return raw


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(AlignTools, "network", PatternNetwork())
    monkeypatch.setattr("insight.engines.model_files", lambda spec: [])


def table(out):
    with open(out / "faces.csv", newline="", encoding="utf-8", errors="surrogateescape") as rows:
        return list(csv.DictReader(rows))


def person_of(path):
    """Which pattern a crop shows."""
    pixels = decode_rgb(path.read_bytes(), "crop").astype(float)
    return min(range(110), key=lambda person: np.abs(pixels - pattern(person)).mean())


def kept(out):
    return {row["file"]: row["crop"] for row in table(out) if row["decision"] == "kept"}


class TestCrops:
    def test_show_the_largest_face(self, raw, tmp_path):
        out = tmp_path / "out"
        lines = align(str(raw.root), str(out), AlignSettings(landmarks=raw.table()))
        assert person_of(out / "Ann/deeper_deeper_2.jpg") == 0
        assert [person_of(out / f"Bob/{i}.jpg") for i in range(6)] == [100, 101, 102, 1, 1, 1]
        assert sorted(os.listdir(out)) == [".align-faces", "Ann", "Bob", "faces.csv"]
        assert lines[0] == f"{out}: 9 faces of 10 photos in 3 folders"
        assert lines[1] == "  14 faces found: 9 kept, 5 another face of the photo was taken"
        assert "  1 photos without a face: 1 not in the landmarks file" in lines
        assert "  1 folders without a crop: Cid" in lines

    def test_are_those_of_the_person_with_a_model(self, raw, tmp_path, network):
        out = tmp_path / "out"
        lines = align(str(raw.root), str(out), AlignSettings(landmarks=raw.table(), model="m,0"))
        assert [person_of(out / f"Bob/{i}.jpg") for i in range(6)] == [1] * 6
        assert lines[-1] == "  note: m,0: has no layers"
        cosines = [float(row["cosine"]) for row in table(out) if row["file"] == "Bob/0.png"]
        assert len(cosines) == 2 and max(cosines) > 0.9
        assert {row["cosine"] for row in table(out) if row["file"].startswith("Ann")} == {""}  # nothing to choose

    def test_two_people_who_are_equally_likely(self, raw, tmp_path, network):
        for i in range(4):
            big, small = (110 + i % 2, 20, 20, 180), (111 - i % 2, 250, 20, 100)
            raw.photo(f"Two/{i}.jpg", [big, small])
        lines = align(str(raw.root), str(tmp_path / "out"), AlignSettings(landmarks=raw.table(), model="m,0"))
        assert "  1 ambiguous folders, where two people are equally likely: Two" in lines
        reasons = {row["reason"] for row in table(tmp_path / "out") if row["file"].startswith("Two")}
        assert reasons == {"ambiguous", "another face of the photo was taken"}

    def test_photo_without_the_person(self, raw, tmp_path, network):
        raw.photo("Bob/9.png", [(108, 20, 30, 180), (109, 240, 60, 140)])
        align(str(raw.root), str(tmp_path / "out"), AlignSettings(landmarks=raw.table(), model="m,0"))
        rows = [row for row in table(tmp_path / "out") if row["file"] == "Bob/9.png"]
        assert [row["reason"] for row in rows] == ["no face of the photo is the folder's person"] * 2

    def test_multi_skip_and_all(self, raw, tmp_path):
        settings = AlignSettings(landmarks=raw.table(), multi="skip")
        align(str(raw.root), str(tmp_path / "skip"), settings)
        assert sorted(kept(tmp_path / "skip")) == [
            "Ann/0.jpg",
            "Ann/deeper/1.jpg",
            "Ann/deeper/deeper/2.jpg",
            "Bob/5.png",
        ]
        align(str(raw.root), str(tmp_path / "all"), settings._replace(multi="all"))
        assert [person_of(tmp_path / f"all/Bob/0_{i}.jpg") for i in range(2)] == [100, 1]
        assert len(shown(tmp_path / "all")) == 14 + 1

    def test_flat(self, raw, tmp_path):
        raw.photo("beside.jpg", [(5, 100, 100, 112)])
        settings = AlignSettings(landmarks=raw.table(), multi="all", flat=True)
        lines = align(str(raw.root), str(tmp_path / "out"), settings)
        assert lines[0].endswith(": 15 faces of 11 photos in 4 folders")
        assert person_of(tmp_path / "out/flat/beside_0.jpg") == 5
        names = {name for name in shown(tmp_path / "out") if name.startswith("Bob")}
        assert names == {f"Bob/{i}_{k}.jpg" for i in range(6) for k in range(2 if i < 5 else 1)}

    def test_png_and_96_columns(self, raw, tmp_path):
        settings = AlignSettings(landmarks=raw.table(), encoding=".png", image_size=(112, 96))
        align(str(raw.root), str(tmp_path / "out"), settings)
        pixels = decode_rgb((tmp_path / "out/Ann/0.png").read_bytes(), "crop")
        assert np.abs(pixels.astype(int) - pattern(0)[:, 8:-8]).mean() < 2

    @pytest.mark.parametrize(
        "limit, rejected, reason",
        [
            ({"min_eyes": 30.0}, 2, "eyes nearer than --min-eyes"),  # those of 90 pixels
            ({"min_score": 0.95}, 14, "score below --min-score"),
            ({"max_outside": 0.0}, 0, ""),
            ({"min_sharpness": 1e9}, 9, "sharpness below --min-sharpness"),  # of the chosen
        ],
    )
    def test_filters(self, raw, tmp_path, limit, rejected, reason):
        align(str(raw.root), str(tmp_path / "out"), AlignSettings(landmarks=raw.table(), **limit))
        reasons = [row["reason"] for row in table(tmp_path / "out")]
        assert reasons.count(reason) == rejected or not reason

    def test_share_outside(self, raw, tmp_path):
        raw.photo("Ann/cut.jpg", [(0, 50, 40, 150)])
        face = raw.rows[-1].face
        raw.rows[-1] = raw.rows[-1]._replace(face=face._replace(points=face.points + np.array([0, 200])))
        align(str(raw.root), str(tmp_path / "out"), AlignSettings(landmarks=raw.table(), max_outside=0.3))
        (row,) = (row for row in table(tmp_path / "out") if row["file"] == "Ann/cut.jpg")
        assert row["reason"] == "share outside above --max-outside" and float(row["outside"]) > 0.3


def test_the_photos_are_not_touched(raw, tmp_path):
    def state():
        paths = sorted(raw.root.rglob("*"))
        return [(path, path.lstat().st_mtime_ns, path.lstat().st_ino, path.lstat().st_mode) for path in paths]

    before, bytes_before = state(), contents(raw.root)
    align(str(raw.root), str(tmp_path / "out"), AlignSettings(landmarks=raw.table()), 2)
    assert state() == before and contents(raw.root) == bytes_before


def test_a_unit_can_be_done_anywhere(raw, tmp_path):
    """By a cluster's worker, which gets the task and gives the result through a pipe."""
    align(str(raw.root), str(tmp_path / "out"), AlignSettings(landmarks=raw.table()))
    settings = json.loads((tmp_path / "out/.align-faces/settings.json").read_text())
    (tmp_path / "other").mkdir()
    for name in ("Ann", "Bob", "Cid"):
        task = UnitTask(
            str(raw.root),
            str(tmp_path / "other"),
            PhotoUnit(name, name),
            AlignSettings(landmarks=raw.table()),
            digest_of(settings),
            on_cluster=True,
        )
        result = pickle.dumps(align_unit(pickle.loads(pickle.dumps(task))))
        assert len(result) < 1000 and pickle.loads(result).folder == name
    whole, single = contents(tmp_path / "out"), contents(tmp_path / "other")
    assert set(whole) - set(single) == {"faces.csv", ".align-faces/settings.json"}
    assert all(whole[name] == data for name, data in single.items())


def test_a_worker_ends_when_its_run_does(raw, tmp_path, monkeypatch):
    wanted = iter([True, False])
    monkeypatch.setattr(unit_work, "stop_if_unwanted", partial(stop_unless, wanted))
    settings = AlignSettings(landmarks=raw.table())
    task = UnitTask(str(raw.root), str(tmp_path / "out"), PhotoUnit("Bob", "Bob"), settings, "")
    with pytest.raises(RunEnded):
        align_unit(task)
    assert not (tmp_path / "out").exists() and next(wanted, None) is None


def stop_unless(wanted):
    if not next(wanted):
        raise RunEnded


@pytest.mark.parametrize("unmade", [False, True])
def test_a_unit_whose_worker_has_ended_was_not_done_by_an_earlier_run(raw, tmp_path, unmade):
    """The worker has written its part, but another does the unit again."""
    settings = AlignSettings(landmarks=raw.table())
    made_with = digest_of(AlignTools(settings, str(raw.root)).identity())
    task = UnitTask(str(raw.root), str(tmp_path / "out"), PhotoUnit("Bob", "Bob"), settings, made_with, unmade=unmade)
    (tmp_path / "out").mkdir()
    first, again = align_unit(task), align_unit(task)
    assert not first.reused and again == first._replace(reused=not unmade)


def test_a_worker_with_other_files_or_packages_is_refused(raw, tmp_path):
    settings = AlignSettings(landmarks=raw.table())
    task = UnitTask(
        str(raw.root), str(tmp_path / "out"), PhotoUnit("Bob", "Bob"), settings, "of another model", on_cluster=True
    )
    with pytest.raises(InsightError, match="its detector, model or runtime is another than the run's"):
        align_unit(task)


class TestAgain:
    @pytest.fixture
    def first(self, raw, tmp_path):
        settings = AlignSettings(landmarks=raw.table())
        align(str(raw.root), str(tmp_path / "out"), settings)
        return settings

    def again(self, raw, tmp_path, settings, **options):
        return align(str(raw.root), str(tmp_path / "out"), settings, **options)

    def fresh(self, raw, tmp_path, settings):
        shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
        align(str(raw.root), str(tmp_path / "fresh"), settings)
        return contents(tmp_path / "fresh")

    def test_reads_no_photo_again(self, raw, tmp_path, first, monkeypatch):
        before = contents(tmp_path / "out")
        monkeypatch.setattr("insight.detect.unit_work.candidates_of", None)
        lines = self.again(raw, tmp_path, first)
        assert "  10 of the photos were done by an earlier run" in lines
        assert contents(tmp_path / "out") == before

    @pytest.mark.parametrize("workers", [2, 4])
    def test_number_of_workers(self, raw, tmp_path, first, workers):
        align(str(raw.root), str(tmp_path / "other"), first, workers)
        assert contents(tmp_path / "other") == contents(tmp_path / "out")

    def test_threads(self, raw, tmp_path, first, monkeypatch):
        monkeypatch.setattr("insight.executor.may_fork", lambda: False)
        align(str(raw.root), str(tmp_path / "other"), first, 3)
        assert contents(tmp_path / "other") == contents(tmp_path / "out")

    def test_processes(self, raw, tmp_path, first, monkeypatch):
        monkeypatch.setattr("insight.executor.may_fork", lambda: True)
        align(str(raw.root), str(tmp_path / "other"), first, 3)
        assert contents(tmp_path / "other") == contents(tmp_path / "out")

    def test_new_photos_are_added(self, raw, tmp_path, first):
        raw.photo("Ann/new.jpg", [(0, 50, 40, 150)])
        raw.photo("Dan/1.jpg", [(3, 50, 40, 150)])
        settings = first  # whose table has them now
        raw.table()
        with pytest.raises(InsightError, match="its crops were made with another --landmarks"):
            self.again(raw, tmp_path, settings)
        self.again(raw, tmp_path, settings, overwrite=True)
        assert contents(tmp_path / "out") == self.fresh(raw, tmp_path, settings)

    def test_crops_that_were_removed_by_hand_come_back(self, raw, tmp_path, first):
        before = contents(tmp_path / "out")
        (tmp_path / "out/Bob/3.jpg").unlink()
        self.again(raw, tmp_path, first)
        assert contents(tmp_path / "out") == before

    def test_a_part_that_another_program_damaged(self, raw, tmp_path, first):
        before = contents(tmp_path / "out")
        for number, part in enumerate((tmp_path / "out/.align-faces/parts").rglob("*.csv")):
            part.write_bytes([b"", b"{}\n", b"{\xff"][number])
        self.again(raw, tmp_path, first)
        assert contents(tmp_path / "out") == before

    def test_crops_of_photos_that_are_gone_stay_and_are_listed(self, raw, tmp_path, first):
        (raw.root / "Bob/0.png").unlink()
        for _ in range(2):
            lines = self.again(raw, tmp_path, first)
            assert next(line for line in lines if "earlier run whose photo is gone" in line).endswith(": Bob/0.jpg")
        assert (tmp_path / "out/Bob/0.jpg").exists() and "Bob/0.png" not in kept(tmp_path / "out")
        self.again(raw, tmp_path, first, overwrite=True)
        assert contents(tmp_path / "out") == self.fresh(raw, tmp_path, first)

    def test_flat_units_that_change_leave_the_crops_of_others(self, tmp_path, monkeypatch):
        """A photo more or less may move others to another unit."""
        monkeypatch.setattr("insight.detect.raw.RUN", 2)
        raw = RawFolder(tmp_path / "crowd")
        for i in range(0, 40, 2):
            raw.photo(f"{i:02d}.jpg", [(i, 50, 40, 150)])
        for i in range(1, 40, 2):
            raw.photo(f"{i:02d}.jpg", [(i, 50, 40, 150)])
            (raw.root / f"{i:02d}.jpg").rename(tmp_path / f"{i:02d}.jpg")
        settings = AlignSettings(landmarks=raw.table(), flat=True, multi="all")
        self.again(raw, tmp_path, settings)
        for i in range(1, 40, 2):
            (tmp_path / f"{i:02d}.jpg").rename(raw.root / f"{i:02d}.jpg")
        (raw.root / "06.jpg").unlink()
        self.again(raw, tmp_path, settings)
        lines = self.again(raw, tmp_path, settings, overwrite=True)
        assert lines[0].endswith(": 39 faces of 39 photos in 1 folders")
        assert len(kept(tmp_path / "out")) == 39
        assert all((tmp_path / "out" / crop).is_file() for crop in kept(tmp_path / "out").values())

    def test_a_folder_that_is_gone_is_listed(self, raw, tmp_path, first):
        shutil.rmtree(raw.root / "Ann")
        assert "  1 folders of the output without photos: Ann" in self.again(raw, tmp_path, first)

    def test_other_settings(self, raw, tmp_path, first):
        before = contents(tmp_path / "out")
        other = first._replace(multi="all", min_eyes=12.0)
        with pytest.raises(
            InsightError, match=r"made with --multi largest, not all; .* or --overwrite to replace them"
        ):
            self.again(raw, tmp_path, other)
        assert contents(tmp_path / "out") == before
        self.again(raw, tmp_path, other, overwrite=True)
        assert contents(tmp_path / "out") == self.fresh(raw, tmp_path, other)

    def test_a_killed_overwrite_goes_on_without_the_option(self, raw, tmp_path, first):
        """Crops of the old settings are removed although only the run before was asked to."""
        other = first._replace(encoding=".png")
        folder = OutputFolder(str(tmp_path / "out"))
        folder.agree(AlignTools(other, str(raw.root)).identity(), True)  # and no unit is done
        folder.close()
        self.again(raw, tmp_path, other)
        assert contents(tmp_path / "out") == self.fresh(raw, tmp_path, other)

    def test_the_table_as_landmarks_gives_the_same_crops(self, raw, tmp_path, first):
        settings = first._replace(landmarks=str(tmp_path / "out/faces.csv"))
        align(str(raw.root), str(tmp_path / "other"), settings)
        assert shown(tmp_path / "other") == shown(tmp_path / "out")


class TestRefusals:
    def test_nested_folders(self, raw, tmp_path):
        (tmp_path / "link").symlink_to("raw")
        settings = AlignSettings(landmarks=raw.table())
        before = contents(tmp_path)
        for out, says in {
            raw.root: "is the folder of the photos",
            raw.root / "out": "is inside",
            tmp_path: "contains",
            tmp_path / "link/out": "is inside",
            raw.root / "../raw/Ann": "is inside",
        }.items():
            with pytest.raises(InsightError, match=says):
                align(str(raw.root), str(out), settings)
        assert contents(tmp_path) == before

    def test_a_folder_of_other_files(self, raw, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/mine.jpg").write_bytes(b"")
        with pytest.raises(InsightError, match="out: holds files that align-faces did not write; give another output"):
            align(str(raw.root), str(tmp_path / "out"), AlignSettings(landmarks=raw.table()))
        assert os.listdir(tmp_path / "out") == ["mine.jpg"]

    def test_another_run_is_at_work(self, raw, tmp_path, monkeypatch):
        from insight.detect import output

        monkeypatch.setattr(output, "PATIENCE", 0.1)
        holder = output.OutputFolder(str(tmp_path / "out"))
        with pytest.raises(InsightError, match="another run is writing into it"):
            align(str(raw.root), str(tmp_path / "out"), AlignSettings(landmarks=raw.table()))
        holder.close()
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "words, says",
        [
            ([], "raw: holds no folder with photos; want a folder of photos per person, or give --flat"),
            (["--flat"], "raw: holds no photo"),
            (["--flat", "--model", "m,0"], "--model m,0: takes one face of each photo of an identity folder"),
            (["--model", "m,0", "--multi", "all"], "leave it out with --multi all"),
            (["--max-outside", "2"], "--max-outside 2: want 0 to 1"),
            (["--min-eyes", "-1"], "--min-eyes -1: want 0 or more"),
            (["--detector", "mtcnn", "--landmarks", "x"], "--detector mtcnn: is not used with --landmarks"),
        ],
    )
    def test_options(self, tmp_path, monkeypatch, capsys, words, says):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "raw/Ann").mkdir(parents=True)
        assert run_command("align-faces", ["raw", "out", *words]) == 2
        assert says in capsys.readouterr().err
        assert os.listdir(tmp_path) == ["raw"]

    @pytest.mark.parametrize(
        "words, says",
        [
            (["--detector", "nobody"], "detector 'nobody' is not known"),
            (["--detector", "yunet"], "--detector yunet: the file is missing"),
            (["--landmarks", "gone.csv"], "gone.csv: no such file; want a table that align-faces wrote"),
            (["--landmarks", "bad.lst"], "bad.lst:1: x.jpg has no landmarks; want"),
            (["--landmarks", "empty.csv"], "empty.csv: has no face; want"),
            (["--landmarks", "short.csv"], "short.csv:2: a face without its box and points"),
            (["--model", "gone,0"], "gone-symbol.json"),
            (["--image-size", "64,64"], "--image-size 64,64: alignment by landmarks is defined for"),
        ],
    )
    def test_are_made_before_anything_is_written(self, raw, tmp_path, monkeypatch, capsys, words, says):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "bad.lst").write_text("1\tx.jpg\t0\n")
        (tmp_path / "empty.csv").write_text("file,face,faces,decision\nAnn/0.jpg,0,0,skipped\n")
        (tmp_path / "short.csv").write_text("file,face,faces,x1\nAnn/0.jpg,0,1,7\n")
        source = [] if words[0] in ("--detector", "--landmarks") else ["--landmarks", raw.table()]
        assert run_command("align-faces", ["raw", "out", *source, *words]) == 2
        err = capsys.readouterr().err
        assert says in err and err.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_dir2lst_and_face2rec_take_the_output(raw, tmp_path, monkeypatch, capsys):
    from insight.formats.faceset import FaceSet

    monkeypatch.chdir(tmp_path)
    assert run_command("align-faces", ["raw", "out", "--landmarks", raw.table()]) == 0
    capsys.readouterr()
    assert run_command("dir2lst", ["out", "all.lst"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "all.lst: 9 images of 2 identities",
        "left out: 1 hidden: .align-faces",
        "left out: 1 files beside the identity folders: faces.csv",
    ]
    assert run_command("face2rec", ["all.lst", "--output", "set"]) == 0
    with FaceSet.open(str(tmp_path / "set")) as faces:
        assert len(faces) == 9 and faces.payload(0) == (tmp_path / "out/Ann/0.jpg").read_bytes()


def test_landmarks_of_a_list(raw, tmp_path, monkeypatch):
    """Paths below the folder, or beginning with it; boxes of zeros, as glint2lst writes them."""
    lines = []
    for number, row in enumerate(row for row in raw.rows if row.file.startswith("Ann")):
        path = [row.file, f"raw/{row.file}", f"{raw.root}/{row.file}"][number]
        points = "\t".join(map(repr, row.face.points.T.ravel().tolist()))
        lines.append(f"0\t{path}\t7\t0\t0\t0\t0\t{points}\n")
    (tmp_path / "marks.lst").write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    align("raw", "out", AlignSettings(landmarks="marks.lst"))
    assert len(kept(tmp_path / "out")) == 3
    assert all(person_of(tmp_path / "out" / crop) == 0 for crop in kept(tmp_path / "out").values())
