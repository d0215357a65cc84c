"""A small network, two sets on which some of its decisions are wrong, and a report on them."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from small_networks import S, filled

from insight import checkpoint
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.formats import evalbin

SIDE = 64


def face(person, image):
    """A JPEG: the person's pattern of 8 x 8 squares, with the noise of the image."""
    pattern = np.random.default_rng(person).uniform(60, 196, (8, 8, 3))
    noise = np.random.default_rng((person, image)).normal(0, 28, (8, 8, 3))
    pixels = np.kron((pattern + noise).clip(0, 255).astype(np.uint8), np.ones((SIDE // 8, SIDE // 8, 1), np.uint8))
    return cv2.imencode(".jpg", pixels)[1].tobytes()


LOG = [
    {
        "kind": "start",
        "time": 1700000000.5,
        "options": {"network": "y1", "loss_type": "4", "lr": 0.1, "data_dir": "/home/joe/secret/faces", "lr_steps": ""},
        "set": "4a66f49f" * 8,
        "steps": 40,
        "versions": {"mxnet": "1.9.1"},
    },
    *(
        {"kind": "step", "time": 1700000001.0, "step": s, "loss": 9 / s, "acc": s / 50, "lr": 1 / s}
        for s in (10, 20, 40)
    ),
    *(
        {"kind": "verification", "time": 1.7e9, "target": "va<l", "step": s, "accuracy": s / 50, "std": 0.1, "xnorm": 3}
        for s in (20, 40)
    ),
    {"kind": "saved", "time": 1700000002.0, "step": 40, "number": 1, "path": "small-0001.params"},
]


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Folder with ``small,1``, its log, ``a_set.bin`` of 240 pairs, and ``pairs.csv`` over ``faces/``."""
    folder = tmp_path_factory.mktemp("world")
    pixels = (S.Variable("data", shape=(0, 3, SIDE, SIDE)) - 127.5) / 128
    pooled = S.Pooling(pixels, kernel=(8, 8), stride=(8, 8), pool_type="avg")
    small = Checkpoint(*filled(S.FullyConnected(pooled, num_hidden=12, no_bias=True, name="fc1"), size=SIDE))
    checkpoint.save(str(folder / "small"), 1, small)
    (folder / "small-log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LOG))
    issame = np.arange(240) % 2 == 0
    people = [(i // 2, i // 2 if same else i // 2 + 1) for i, same in enumerate(issame)]
    images = [face(person, 2 * i + side) for i, pair in enumerate(people) for side, person in enumerate(pair)]
    evalbin.write_bin(folder / "a_set.bin", images, issame)
    rows = ["image_a,image_b,same"]
    for person in range(20):
        name = f"An_Na & {person}"
        (folder / "faces" / name).mkdir(parents=True)
        for image in range(2):
            (folder / f"faces/{name}/{image}.jpg").write_bytes(face(1000 + person, image))
        rows += [f"{name}/0.jpg,{name}/1.jpg,1", f"{name}/0.jpg,An_Na & {(person + 1) % 20}/1.jpg,0"]
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def arguments(world):
    """Arguments shared by verification and report."""
    sets = ["--data-dir", world, "--target", "a_set", "--pairs", world / "pairs.csv", "--image-root", world / "faces"]
    more = ["--model", f"{world}/small,1", "--bootstrap", "60", "--seed", "3", "--engine", "mxnet"]
    return [str(argument) for argument in (*sets, *more)]


@pytest.fixture(scope="session")
def made(world, arguments):
    """The report on both sets, with all parts, and the output of verification on them."""
    pytest.importorskip("jinja2")
    page, card, figures = world / "out/page.html", world / "out/card.md", world / "out/figures.json"
    log = world / "small-log.jsonl"
    written = ["--output", page, "--card", card, "--log", log, "--hardest", "5", "--title", "<i>Our</i> y1 | &c"]
    assert run_command("report", [*arguments, *map(str, written)]) == 0
    assert run_command("verification", [*arguments, "--json", str(figures)]) == 0
    results = json.loads(figures.read_text())["results"]
    return SimpleNamespace(path=page, page=page.read_text(), card=card.read_text(), results=results)
