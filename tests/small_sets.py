"""Small record sets whose images contain their embeddings, which a fake network reads; and a set to train on."""

from __future__ import annotations

import cv2
import numpy as np

from insight._mxnet import mx
from insight.formats import evalbin
from insight.formats.faceset import FaceSet
from insight.formats.recordio import RecordWriter

WIDTH = 8


def at(angle: float, plane: int = 0) -> np.ndarray:
    """A unit vector (8,) at an angle in degrees in one of four planes that are at right angles to each other."""
    vector = np.zeros(WIDTH, np.float32)
    vector[2 * plane : 2 * plane + 2] = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return vector


def with_cosine(cosine: float, plane: int = 0) -> np.ndarray:
    """A unit vector (8,) with that cosine to ``at(0, plane)``."""
    return at(np.degrees(np.arccos(cosine)), plane)


START = b"\xff\xd8\xff\xe0"  # of a JPEG, by which copying commands know one


def image(vector, number: int = 0) -> bytes:
    """A fake encoded image; ``number`` makes two of one vector differ. Bytes are returned unchanged."""
    if isinstance(vector, bytes):
        return vector
    return START + np.asarray(vector, "<f4").tobytes() + b"image %d" % number


def read_vectors(path, batch: int = 3):
    """The fake network: embeddings of a .rec or a .bin, batch by batch, some longer than others."""
    if path.endswith(".bin"):
        payloads = evalbin.read_bin(path).images
    else:
        with FaceSet.open(path) as faces:
            payloads = [bytes(faces.payload(i)) for i in range(len(faces))]
    vectors = np.stack([np.frombuffer(p, "<f4", WIDTH, len(START)) for p in payloads]) * 7
    for begin in range(0, len(vectors), batch):
        yield vectors[begin : begin + batch]


def write_set(folder, people, size=(112, 112), indexed: bool = True) -> list:
    """Write ``train.rec``, ``.idx`` and ``property``; people are lists of vectors, or (label, vectors).

    Returns the payloads of each identity.
    """
    folder.mkdir(parents=True)
    payloads, key, ranges = [], 0, []
    with RecordWriter(str(folder / "train.rec")) as writer:
        for number, person in enumerate(people):
            label, vectors = person if isinstance(person, tuple) else (number, person)
            begin = key + 1
            payloads.append([])
            for vector in vectors:
                key += 1
                payloads[-1].append(image(vector, key))
                writer.write(key, payloads[-1][-1], (label, 1) if indexed else label, key)
            ranges.append((begin, key + 1))
        if indexed:
            writer.write(0, b"", (key + 1, key + 1 + len(ranges)))
            for number, edges in enumerate(ranges, key + 1):
                writer.write(number, b"", edges, number)
    (folder / "property").write_text(f"{len(people)},{size[0]},{size[1]}")
    return payloads


def payloads_of(folder) -> list:
    """Payloads of each identity of a set, by label; checks that labels are 0, 1, 2, .. in the set's order."""
    with FaceSet.open(str(folder)) as faces:
        assert faces.notes == []
        assert faces.labels[faces.identities[:, 0]].tolist() == list(range(faces.num_classes))
        assert faces.records.read(1).flag == 0  # a scalar label
        return [[bytes(faces.payload(i)) for i in range(*edges)] for edges in faces.identities.tolist()]


def striped_face(identity: int, draw) -> bytes:
    """A 112x112 JPEG whose stripes are the identity, under noise."""
    rows = np.sin(np.arange(112) * (identity + 1) / 9)[:, None, None] * 80 + 128
    pixels = np.clip(rows + draw.normal(0, 25, (112, 112, 3)), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def write_striped_set(folder):
    """Three identities, eight images each, in a plain im2rec-style set, and a verification set ``val``."""
    draw = np.random.default_rng(0)
    record = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    for key in range(24):
        header = mx.recordio.IRHeader(0, float(key % 3), key, 0)
        record.write_idx(key, mx.recordio.pack(header, striped_face(key % 3, draw)))
    record.close()
    (folder / "property").write_text("3,112,112\n")
    images = [striped_face(i, draw) for i in (0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0)]
    evalbin.write_bin(folder / "val.bin", images, np.array([True, False] * 3))
    return folder
