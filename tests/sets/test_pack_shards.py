"""face2rec --shards, and the commands that read such sets, against the same set in one file."""

import shutil
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from cut_sets import in_shards
from made_faces import encode, face
from written_files import names

from insight.check.check import check
from insight.errors import InsightError
from insight.faces.sources import image_source
from insight.formats.faceset import FaceSet
from insight.repair.repair import repair
from insight.sets.pack import pack
from insight.sets.scan import folder_to_lists
from insight.sets.unpack import unpack


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Lists of 14 images, some of which are converted or cannot be used, and their set in one file."""
    root = tmp_path_factory.mktemp("made")
    number = 0
    for person, count in {"ann": 5, "bob": 1, "cy": 6, "di": 2}.items():
        (root / "faces" / person).mkdir(parents=True)
        for i in range(count):
            size = (120, 100) if number in (4, 5) else (112, 112)
            data = encode(face(number, *size))
            (root / "faces" / person / f"{i}.jpg").write_bytes(data[:40] if number == 9 else data)
            number += 1
    folder_to_lists(str(root / "faces"), str(root / "train.lst"))
    pack(str(root / "train.lst"), str(root / "one"))
    pack(str(root / "train.lst"), str(root / "plain"), layout="plain")
    return root


def packed(made, tmp_path, count, **options):
    return pack(str(made / "train.lst"), str(tmp_path / "set"), shard_count=count, **options)[0]


def payloads(path):
    with FaceSet.open(str(path)) as faces:
        return [bytes(faces.payload(i)) for i in range(len(faces))]


def joined(folder, ending):
    return b"".join(path.read_bytes() for path in sorted(folder.glob(f"train-*{ending}")))


@pytest.mark.parametrize("count", [2, 3, 14])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("layout", ["indexed", "plain"])
def test_shards_are_the_one_file_cut_between_images(made, tmp_path, count, workers, layout):
    report = packed(made, tmp_path, count, workers=workers, layout=layout)
    single = made / ("one" if layout == "indexed" else "plain")
    lines = (single / "train.idx").read_text().splitlines()
    edges = [min(14 * number // count, 13) for number in range(1, count)]  # one image of 14 could not be used
    in_shards(single, tmp_path / "want", edges)
    assert names(tmp_path / "set") == sorted([*names(tmp_path / "want"), "train.skipped.csv"])
    for path in (tmp_path / "want").iterdir():
        assert (tmp_path / "set" / path.name).read_bytes() == path.read_bytes(), path.name
    assert joined(tmp_path / "set", ".rec") == (single / "train.rec").read_bytes()
    assert joined(tmp_path / "set", ".idx").count(b"\n") == len(lines)
    assert report.lines()[0].startswith(f"{tmp_path}/set/train-*-of-{count:05d}.rec: 13 images")


def test_one_shard_is_the_set_in_one_file(made, tmp_path):
    packed(made, tmp_path, 1)
    assert names(tmp_path / "set") == names(made / "one")
    for name in ("train.rec", "train.idx", "property"):
        assert (tmp_path / "set" / name).read_bytes() == (made / "one" / name).read_bytes()


@pytest.mark.parametrize(
    ("count", "message"), [(0, "--shards 0: want 1 to 500"), (501, "want 1 to 500"), (15, "has only 14 images; use at")]
)
def test_numbers_of_shards(made, tmp_path, count, message):
    with pytest.raises(InsightError, match=message):
        packed(made, tmp_path, count)
    assert not (tmp_path / "set").exists()


def test_a_set_in_other_files_is_replaced_only_when_asked(made, tmp_path):
    packed(made, tmp_path, 3)
    before = names(tmp_path / "set")
    for count in (1, 2, 3):
        with pytest.raises(InsightError, match=r"train-00000-of-00003\.rec: already exists; give another output, "):
            packed(made, tmp_path, count)
    assert names(tmp_path / "set") == before
    for count in (2, 1, 4):
        packed(made, tmp_path, count, overwrite=True)
        with FaceSet.open(str(tmp_path / "set")) as faces:
            assert (len(faces.records.rec_paths), len(faces)) == (count, 13)
        assert len(names(tmp_path / "set")) == 2 * count + 2


KILLED = """
import os, sys
from insight.sets.pack import pack

def dying_at(step):
    left = [step]
    def dying(function):
        def wrapped(*arguments, **options):
            if not left[0]:
                os._exit(9)
            left[0] -= 1
            return function(*arguments, **options)
        return wrapped
    os.replace, os.unlink = dying(os.replace), dying(os.unlink)

source, root, over = sys.argv[1:]
for step in range(1, 80, 6):
    folder = f"{root}/{step}"
    if over:
        pack(source, folder, shard_count=3, check="headers")
    child = os.fork()
    if not child:
        dying_at(step)
        pack(source, folder, shard_count=4, check="headers", overwrite=bool(over))
        os._exit(0)
    if not os.waitpid(child, 0)[1]:
        break
"""


@pytest.mark.parametrize("over", ["", "over"], ids=["fresh", "over a set of other shards"])
def test_a_run_that_is_killed_leaves_a_complete_set_or_none(made, tmp_path, over):
    """Killed before every sixth rename or removal; then face2rec runs again, with another number of shards."""
    root = tmp_path / "killed"
    subprocess.run([sys.executable, "-c", KILLED, made / "train.lst", root, over], check=True)
    messages = set()
    for folder in sorted(root.iterdir(), key=lambda path: int(path.name)):
        complete = True
        try:
            assert payloads(folder) == payloads(made / "one")
        except InsightError as error:
            complete = False
            messages.add(str(error).replace(str(folder), "").partition(":")[2])
            with suppress(InsightError):
                assert "unfinished" in {finding.code for finding in check(str(folder)).findings}
        pack(str(made / "train.lst"), str(folder), shard_count=2, check="headers", overwrite=complete)
        assert sorted(path.name for path in folder.iterdir()) == [
            *("property", "train-00000-of-00002.idx", "train-00000-of-00002.rec", "train-00001-of-00002.idx"),
            *("train-00001-of-00002.rec", "train.skipped.csv"),
        ]
    assert len(list(root.iterdir())) > 2
    assert messages == {" the command that wrote it was killed before it had finished; run it again"}


def test_the_command(made, tmp_path, insight):
    status, out, err = insight("face2rec", made / "train.lst", "--output", "set", "--shards", 2)
    assert status == 0, err
    assert out.startswith("set/train-*-of-00002.rec: 13 images + 4 identity records + 1 header = 18 records; ")
    status, out, _ = insight("dataset-check", "set")
    assert status == 0 and "\nset/train-*-of-00002.rec: 0 errors, " in out
    status, _, err = insight("face2rec", made / "train.lst", "--output", "set", "--shards", 0)
    assert status == 2 and "--shards" in err


def test_embeddings_and_files_are_those_of_the_one_file(made, tmp_path):
    packed(made, tmp_path, 3)
    ours, theirs = image_source(tmp_path / "set/train-00001-of-00003.rec"), image_source(made / "one/train.rec")
    assert list(ours) == list(theirs) and ours.fingerprint() == theirs.fingerprint()
    assert list(ours.keys) == np.array(ours.keys).tolist() == [str(key) for key in range(1, 14)]
    assert np.array(ours.keys).dtype == np.array(list(ours.keys)).dtype
    before = ours.digest()
    last = tmp_path / "set/train-00002-of-00003.rec"
    last.write_bytes(last.read_bytes())  # another time
    assert ours.digest() != before
    unpack(str(tmp_path / "set"), str(tmp_path / "ours"))
    unpack(str(made / "one"), str(tmp_path / "theirs"))
    files = [sorted(p.relative_to(d) for p in d.rglob("*.jpg")) for d in (tmp_path / "ours", tmp_path / "theirs")]
    assert files[0] == files[1] and len(files[0]) == 13


class TestDamage:
    @pytest.fixture
    def folder(self, made, tmp_path):
        packed(made, tmp_path, 3)
        (tmp_path / "set/train.skipped.csv").unlink()
        return tmp_path / "set"

    def findings(self, folder):
        return {finding.code: finding for finding in check(str(folder)).findings if finding.severity == "error"}

    def test_a_sound_set(self, folder, made):
        ours, theirs = check(str(folder)), check(str(made / "one"))
        assert ours.ok and ours.rec_path.endswith("train-*-of-00003.rec")
        assert ours.summary == theirs.summary
        assert [(one.code, one.count) for one in ours.findings] == [(one.code, one.count) for one in theirs.findings]

    def test_a_damaged_record(self, folder):
        path = folder / "train-00001-of-00003.rec"
        data = bytearray(path.read_bytes())
        third = int(path.with_suffix(".idx").read_text().splitlines()[2].split("\t")[1])
        data[third] ^= 1
        path.write_bytes(data)
        found = self.findings(folder)
        assert f"a record at offset {path.name}:{third}: magic" in found["damaged-record"].samples[0].found
        report = repair(str(folder), str(folder.parent / "out"))
        assert report.lines()[-1].startswith(
            f"{folder.parent}/out/train-*-of-00003.rec: 12 images + 4 identity records"
        )
        row = (folder.parent / "out/repair.csv").read_text().splitlines()[1]
        assert row.startswith(f'{path.name}:{third},,,"damaged-record: ')
        assert not self.findings(folder.parent / "out")
        with FaceSet.open(str(folder.parent / "out")) as faces:
            assert (len(faces), len(faces.records.rec_paths)) == (12, 3)

    def test_a_shard_that_was_cut(self, folder):
        path = folder / "train-00000-of-00003.rec"
        path.write_bytes(path.read_bytes()[:-400])
        found = self.findings(folder)
        assert path.name in found["truncated-tail"].samples[0].found
        repair(str(folder), overwrite=True)
        assert path.with_suffix(".idx").read_text().count("\n") == 3

    def test_a_shard_that_was_cut_where_a_record_begins(self, folder):
        """The lost record's offset is also that of the next shard's first."""
        path = folder / "train-00000-of-00003.rec"
        key, offset = path.with_suffix(".idx").read_text().splitlines()[-1].split("\t")
        path.write_bytes(path.read_bytes()[: int(offset)])
        found = self.findings(folder)
        assert found["truncated-tail"].samples[0].key == int(key) and "idx-shared-offset" not in found

    @pytest.mark.parametrize("lost", [[0], [2], [0, 1, 2]])
    def test_missing_idx_files_are_written_as_they_were(self, folder, lost):
        paths = [folder / f"train-0000{number}-of-00003.idx" for number in range(3)]
        before = [path.read_bytes() for path in paths]
        for number in lost:
            paths[number].unlink()
        assert "idx-missing" in self.findings(folder)
        times = {path: path.stat().st_mtime_ns for path in paths if path.exists()}
        assert repair(str(folder)).ok
        assert times == {path: path.stat().st_mtime_ns for path in times}  # the others are kept
        assert [path.read_bytes() for path in paths] == before
        assert not self.findings(folder)

    def test_idx_files_that_changed_places(self, folder):
        one, two = folder / "train-00000-of-00003.idx", folder / "train-00001-of-00003.idx"
        before = one.read_bytes()
        shutil.copy(two, folder / "kept")
        one.rename(two), (folder / "kept").rename(one)
        assert self.findings(folder)
        assert repair(str(folder), overwrite=True).ok and one.read_bytes() == before

    def test_a_sound_set_is_linked(self, folder):
        (folder / "property").write_text("9,112,112")
        lines = repair(str(folder), str(folder.parent / "out")).lines()
        assert sum("a hard link to" in line for line in lines) == 3
        for path in folder.glob("train-*"):
            assert (folder.parent / "out" / path.name).read_bytes() == path.read_bytes()

    def test_the_output_is_not_the_input(self, folder):
        for path in (folder, folder / "train-00002-of-00003.rec"):
            with pytest.raises(InsightError, match="which is being read; give another folder"):
                repair(str(path), str(folder), overwrite=True)
