"""Images of another size than the network's: the message names commands that scale them, and these work."""

import re
import shlex

import cv2
import numpy as np
import pytest

from insight.cli import run_command
from insight.errors import InsightError
from insight.faces.sources import ImageSource, image_source
from insight.formats import evalbin
from insight.verify.verification import load_set, pair_set

HAVE, WANT = (160, 120), (112, 96)


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """Two identities of three images, of 160x120, in a folder whose name has a blank; the working directory."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for person in "ab":
        folder = tmp_path / "my faces" / person
        folder.mkdir(parents=True)
        for i in range(3):
            cv2.imwrite(str(folder / f"{i}.png"), draw.integers(0, 256, (*HAVE, 3), np.uint8))
    return tmp_path


def records(faces):
    assert run_command("dir2lst", ["my faces", "all.lst"]) == 0
    assert run_command("face2rec", ["all.lst", "--output", "my set", "--image-size", "160,120"]) == 0
    return image_source("my set/train.rec")


def bin_of(faces):
    images = [path.read_bytes() for path in sorted(faces.glob("my faces/*/*.png"))]
    evalbin.write_bin("my.bin", images, [True, False, True])


def pairs(faces):
    (faces / "my pairs.csv").write_text("image_a,image_b,same\na/0.png,a/1.png,1\na/0.png,b/0.png,0\n")
    rows = [("a/0.png", "a/1.png", True), ("a/0.png", "b/0.png", False)]
    return pair_set(rows, "my faces", "my pairs.csv").source


SOURCES = {
    "a folder": (lambda faces: image_source("my faces"), "F.rec", 6),
    "records": (records, "F.rec", 6),
    "a .bin": (lambda faces: bin_of(faces) or image_source("my.bin"), "NEW.bin", 6),
    "a verification set": (lambda faces: bin_of(faces) or load_set("my.bin").source, "NEW.bin", 6),
    "a list of pairs": (pairs, "NEW.bin", 4),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_commands_in_the_message_scale_the_images(faces, kind):
    make, made, count = SOURCES[kind]
    source = make(faces)
    with pytest.raises(InsightError) as caught:
        source.pixels(0, WANT)
    match = re.fullmatch(
        r".*: is 160x120 \(height x width\), the network takes 112x96; give aligned faces of that size; to scale them: "
        r"(insight .*)",
        str(caught.value),
    )
    for command in match.group(1).split(", then "):
        insight, name, *words = shlex.split(command)
        assert insight == "insight"
        assert run_command(name, words) == 0, command
    scaled = image_source(made)
    assert len(scaled) == count
    assert all(scaled.pixels(i, WANT).shape == (3, *WANT) for i in range(count))


def test_without_such_a_command_none_is_named():
    picture = cv2.imencode(".png", np.zeros((*HAVE, 3), np.uint8))[1].tobytes()
    source = ImageSource("made", ["0"], np.zeros(1, np.int64), lambda i: picture, "image")
    with pytest.raises(InsightError, match=r"takes 112x96; give aligned faces of that size$"):
        source.pixels(0, WANT)
