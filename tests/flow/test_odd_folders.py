"""All commands that take a folder of faces, on a folder with all the irregularities of real ones."""

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import odd_folders
import pytest
from small_networks import filled, mobile

from insight import checkpoint
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.files import reading as files
from insight.formats.evalbin import read_bin
from insight.formats.faceset import FaceSet
from insight.formats.lst import read_lst
from insight.sets.unpack import unpack

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with ``odd``, ``plain`` (the same images of the same people, nothing else) and the network ``net,1``."""
    folder = tmp_path_factory.mktemp("odd")
    odd_folders.write(folder / "odd")
    for key in odd_folders.IMAGES:
        (folder / "plain" / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "odd" / key, folder / "plain" / key)
    checkpoint.save(str(folder / "net"), 1, Checkpoint(*filled(mobile())))
    return folder


@pytest.fixture
def run(world, tmp_path, monkeypatch, capfd):
    """Run a command in the world's folder; returns (status, stdout, stderr). OUT is a folder for what it writes."""
    monkeypatch.chdir(world)

    def call(*arguments):
        words = [str(word).replace("OUT", str(tmp_path)) for word in arguments]
        status = run_command(words[0], words[1:])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return call


def left_out(text):
    """Files that a command reports as left out: {reason: count}."""
    lines = [line[line.index("left out: ") + 10 :].split(" ", 1) for line in text.splitlines() if "left out: " in line]
    return {rest[: rest.rindex(": ")]: int(count) for count, rest in lines}


def of_a_list():
    reason = "paths with a tab or line end, which a list cannot hold"
    return {**odd_folders.LEFT_OUT, reason: len(odd_folders.UNLISTABLE)}


class TestSets:
    def test_dir2lst_and_face2rec(self, run, tmp_path):
        status, out, err = run("dir2lst", "odd", "OUT/t.lst", "--label-map")
        assert (status, err) == (0, "")
        assert left_out(out) == of_a_list()
        entries = read_lst(str(tmp_path / "t.lst"))
        assert [entry.path for entry in entries] == [f"odd/{key}" for key in odd_folders.LISTED]
        assert b"odd/Ann/caf\xe9.jpg\t0\n" in (tmp_path / "t.lst").read_bytes()
        assert b"1,J\xe9r\xf4me\n" in (tmp_path / "t.labels.csv").read_bytes()
        status, out, err = run("face2rec", "OUT/t.lst", "--output", "OUT/set")
        assert (status, err) == (0, "")
        with FaceSet.open(str(tmp_path / "set")) as faces:
            assert len(faces) == len(odd_folders.LISTED)
            assert faces.num_classes == len(odd_folders.PEOPLE)
        assert not list((tmp_path / "set").glob("*.csv"))

    def test_make_bin(self, run, tmp_path):
        status, out, err = run("make-bin", "odd", "OUT/v.bin", "--pairs", "20", "--pairs-output", "OUT/v.csv")
        assert (status, err) == (0, "")
        assert left_out(out) == of_a_list()
        assert len(read_bin(str(tmp_path / "v.bin")).issame) > 0

    def test_a_file_of_another_format_than_its_suffix_is_listed_with_the_reason(self, run, tmp_path):
        odd_folders.write(tmp_path / "odd")
        listed = odd_folders.write_claims(tmp_path / "odd")
        assert run("dir2lst", "OUT/odd", "OUT/t.lst")[0] == 0
        assert [entry.path for entry in read_lst(str(tmp_path / "t.lst"))] == [
            f"{tmp_path}/odd/{key}" for key in listed
        ]
        (tmp_path / "odd/Ann/1.jpg").unlink()
        for words in (("face2rec", "OUT/t.lst", "--output", "OUT"), ("make-bin", "OUT/odd", "OUT/train.bin")):
            assert run(*words)[0] == 0
            with open(tmp_path / "train.skipped.csv", newline="") as rows:
                reasons = {os.path.basename(row["path"]): row["reason"] for row in csv.DictReader(rows)}
            assert reasons.pop("1.jpg", "no such file") == "no such file"
            assert reasons == {
                "empty.jpg": "empty file",
                "phone.jpg": "HEIC, which OpenCV does not decode: convert it to JPEG or PNG",
                "text.jpg": "not a readable image (it starts with b'<html>40')",
            }

    def test_round_trip_of_every_encoding(self, run, tmp_path):
        """A foreign set may contain any encoding: rec2image writes suffixes that dir2lst lists, all of them."""
        from insight.formats.recordio import RecordWriter

        kinds = sorted({*odd_folders.ENCODINGS.values(), ".ras"})
        payloads = [odd_folders.picture(i, suffix) for i, suffix in enumerate(kinds)]
        with RecordWriter(str(tmp_path / "a.rec")) as writer:
            for key, payload in enumerate(payloads):
                writer.write(key, payload, 0.0, key)
        unpack(str(tmp_path / "a.rec"), str(tmp_path / "out"))
        names = sorted(os.listdir(tmp_path / "out/0"))
        assert [os.path.splitext(name)[1] for name in names] == kinds
        assert run("dir2lst", "OUT/out", "OUT/t.lst")[0] == 0
        assert [Path(entry.path).read_bytes() for entry in read_lst(str(tmp_path / "t.lst"))] == payloads
        for name in names:
            path = tmp_path / "out/0" / name
            path.rename(path.with_suffix(""))  # content, not names
        assert run("dir2lst", "OUT/out", "OUT/u.lst")[0] == 0
        assert [Path(entry.path).read_bytes() for entry in read_lst(str(tmp_path / "u.lst"))] == payloads


class TestNetworks:
    def test_embed(self, run, tmp_path):
        for name in ("odd", "plain"):
            options = ("--model", "net,1", "--input", name, "--output", f"OUT/{name}.npz", "--engine", "mxnet")
            status, out, err = run("embed", *options)
            assert status == 0
            assert f"{name}.npz: {len(odd_folders.IMAGES)} embeddings of 6" in out
            assert left_out(err) == (odd_folders.LEFT_OUT if name == "odd" else {})
        odd, plain = (np.load(tmp_path / name) for name in ("odd.npz", "plain.npz"))
        assert odd["keys"].tolist() == plain["keys"].tolist() == odd_folders.IMAGES
        assert odd["labels"].tolist() == odd_folders.LABELS
        np.testing.assert_array_equal(odd["embeddings"], plain["embeddings"])
        assert run("embed", *options[:-4], "--output", "OUT/again.npz", "--compare", "OUT/odd.npz")[0] == 0

    def test_identification(self, run, tmp_path):
        status, out, err = run("identification", "--model", "net,1", "--gallery", "plain", "--probes", "odd")
        assert status == 0
        assert f"{len(odd_folders.IMAGES)} of identities in it, 0 of others" in out
        assert left_out(err) == odd_folders.LEFT_OUT
        assert run("embed", "--model", "net,1", "--input", "odd", "--output", "OUT/odd.npz")[0] == 0
        status, again, _ = run("identification", "--model", "net,1", "--gallery", "plain", "--probes", "OUT/odd.npz")
        assert (status, again.splitlines()[0]) == (
            0,
            out.splitlines()[0],
        )

    INT8 = "export-onnx --output OUT/m.onnx --int8 --calibrate odd --num-calibrate 8 --num-faces 4 --bound -1"
    BENCHMARK = "benchmark --input odd --engine onnxruntime --rounds 1 --seconds 0.01 --batch 1 --threads 1"

    @pytest.mark.parametrize(
        "words",
        ["export-onnx --output OUT/m.onnx --faces odd", "model-slim --output OUT/s --faces odd", INT8, BENCHMARK],
        ids=["export-onnx", "model-slim", "int8", "benchmark"],
    )
    def test_faces_to_compare_with(self, run, words):
        status, _, err = run(*words.split(), "--model", "net,1")
        assert (status, left_out(err)) == (0, odd_folders.LEFT_OUT), err

    def test_calibration_folder_whose_name_is_not_utf8(self, run, world, tmp_path):
        os.rename(world / "plain", world / "pl\udce9in")
        try:
            options = ("--calibrate", "pl\udce9in", "--num-calibrate", "8", "--num-faces", "4", "--bound", "-1")
            assert run("export-onnx", "--model", "net,1", "--output", "OUT/m.onnx", "--int8", *options)[0] == 0
            assert rb"8 faces of pl\xe9in" in (tmp_path / "m.onnx").read_bytes()
            status, out, _ = run("dir2lst", "pl\udce9in", "OUT/p\udce9.lst")
            assert (status, out.splitlines()[0]) == (0, f"{tmp_path}/p\\udce9.lst: 21 images of 5 identities")
        finally:
            os.rename(world / "pl\udce9in", world / "plain")


@pytest.mark.parametrize(
    "words", ["embed --input OUT/odd --output OUT/e.npz", "identification --gallery plain --probes OUT/odd"]
)
def test_a_file_of_another_format_than_its_suffix_is_one_line_before_the_work(run, tmp_path, words):
    odd_folders.write(tmp_path / "odd")
    odd_folders.write_claims(tmp_path / "odd")
    status, _, err = run(*words.split(), "--model", "net,1")
    folder = tmp_path / "odd/Ann"
    assert status == 2
    assert err.splitlines()[-1] == (
        f"error: {folder}/empty.jpg: empty file; remove it or replace it; 2 others cannot be used either: "
        f"{folder}/phone.jpg, {folder}/text.jpg"
    )
    assert not (tmp_path / "e.npz").exists()


class TestPairs:
    @pytest.fixture
    def pairs(self, tmp_path):
        def write(*rows):
            text = "".join(f"{a},{b},{same}\n" for a, b, same in rows)
            (tmp_path / "pairs.csv").write_bytes(os.fsencode(text))
            return ("--model", "net,1", "--pairs", "OUT/pairs.csv", "--image-root", "odd", "--bootstrap", "10")

        return write

    SAME = (f"{odd_folders.BYTES}/1.jpg", f"{odd_folders.BYTES}/2.jpg", 1)

    def test_images_of_every_kind_and_name(self, run, pairs, tmp_path):
        kinds = [(f"Kinds/{name}", "Ann/caf\udce9.jpg", 0) for name in odd_folders.ENCODINGS]
        options = pairs(self.SAME, *kinds)
        status, out, _ = run("verification", *options)
        assert status == 0 and "[pairs]Pairs: 12 (1 same, 11 different), 14 distinct images" in out
        os.rename(tmp_path / "pairs.csv", tmp_path / "p\udce9.csv")
        options = [option.replace("pairs.csv", "p\udce9.csv") for option in options]
        output = ("--output", "OUT/r.html", "--card", "OUT/r.md", "--title", "t\udcf4")
        assert run("report", *options, *output)[0] == 0
        page = (tmp_path / "r.html").read_text(encoding="utf-8")
        assert r"J\xe9r\xf4me/1.jpg" in page and page.count("data:image/") > 4
        for name, target in (("r.html", r"p\xe9"), ("r.md", r"p\\xe9")):  # Markdown escapes the backslash
            text = (tmp_path / name).read_text(encoding="utf-8")
            assert target in text and r"t\udcf4" in text

    @pytest.mark.parametrize(
        "name, says",
        [
            ("gone.jpg", "pairs.csv: 1 of 4 images are missing, the first is odd/Ann/gone.jpg;"),
            ("broken.jpg", "1 of 4 images are missing, the first is odd/Ann/broken.jpg (a broken link);"),
            ("circle.jpg", "odd/Ann/circle.jpg (unreadable: Too many levels of symbolic links);"),
            ("pipe.jpg", "odd/Ann/pipe.jpg (a pipe, socket or device);"),
            ("device.jpg", "odd/Ann/device.jpg (a pipe, socket or device);"),
            ("folder.jpg", "odd/Ann/folder.jpg (a folder);"),
            ("empty.gif", "odd/Ann/empty.gif: empty file; remove it or replace it"),
            ("notes.txt", "odd/Ann/notes.txt: not a readable image"),
        ],
    )
    @pytest.mark.parametrize("command", ["verification", "report"])
    def test_a_file_that_is_not_an_image_is_one_line(self, run, pairs, command, name, says):
        output = ("--output", "OUT/r.html") if command == "report" else ()
        status, _, err = run(command, *pairs(self.SAME, (f"Ann/{name}", "Ann/1.jpg", 0)), *output)
        assert status == 2
        assert err.startswith("error: ") and err.count("\n") == 1 and says in err

    @pytest.mark.parametrize("name", ["Ann_0001.JPG", "Ann_0001.pgm", "Ann_0001"])
    def test_lfw_pairs_of_any_suffix(self, run, tmp_path, name):
        for person in ("Ann", "Bob"):
            (tmp_path / person).mkdir()
            for number in (1, 2):
                path = tmp_path / person / name.replace("Ann", person).replace("1", str(number))
                path.write_bytes(odd_folders.picture(number, ".pgm" if name.endswith("pgm") else ".jpg"))
        (tmp_path / "pairs.txt").write_text("1\t1\nAnn\t1\t2\nAnn\t1\tBob\t2\n")
        status, out, err = run("verification", "--model", "net,1", "--pairs", "OUT/pairs.txt", "--bootstrap", "10")
        assert status == 0, err
        assert "3 distinct images" in out


@pytest.mark.parametrize(
    "words",
    [
        ("embed", "--input", "plain", "--output", "OUT/e.npz"),
        ("identification", "--gallery", "plain", "--probes", "odd"),
        ("export-onnx", "--output", "OUT/m.onnx", "--faces", "plain"),
        ("model-slim", "--output", "OUT/s", "--faces", "plain"),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("reason", ["no such file", "unreadable: Permission denied", "a pipe, socket or device"])
def test_a_file_that_changes_after_listing_is_one_line(run, tmp_path, monkeypatch, words, reason):
    def read(path):
        raise files.Unreadable(reason)

    monkeypatch.setattr(files, "read_file", read)
    status, _, err = run(words[0], "--model", "net,1", *words[1:])
    lines = [line for line in err.splitlines() if "left out: " not in line]
    assert status == 2
    assert len(lines) == 1 and lines[0].startswith("error: plain/") and f": {reason}; remove it" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_packing_a_folder_as_in_quickstart(run, world, tmp_path):
    """Stages 2 to 4 of recipes/quickstart.sh, as it prints them, on an odd folder."""
    for person in ("Ann", "Bob", "Cid", "Dan"):
        shutil.copytree(world / "plain/Kinds", tmp_path / "faces" / person)
    odd_folders.write(tmp_path / "faces/../odd")
    (tmp_path / "faces/odd").symlink_to("../odd/Ann")
    script = ["bash", str(ROOT / "recipes/quickstart.sh"), str(tmp_path / "faces"), "--output", str(tmp_path / "run")]
    environment = {**os.environ, "VAL_RATIO": "0.4"}
    done = subprocess.run([*script, "--dry-run"], capture_output=True, text=True, check=True, env=environment)
    stages = [line.split() for line in done.stdout.replace("\\\n", " ").splitlines() if line.startswith("    insight ")]
    for words in stages[:3]:
        assert words[1] in ("dir2lst", "face2rec", "make-bin")
        status, out, err = run(*words[1:])
        assert (status, err) == (0, ""), words
        assert "broken links: odd/broken.jpg" in out or words[1] != "dir2lst"
    assert json.dumps(sorted(os.listdir(tmp_path / "run"))).count("train")
