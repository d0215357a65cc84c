"""Mutated files: each one is read or raises InsightError; no crash, no hang, bounded memory.

INSIGHT_FUZZ=10000 sets the total number of mutations; 400 without it.
"""

import os
import pickle
import random
import resource
import signal

import numpy as np
import pytest

from insight.errors import InsightError
from insight.formats.evalbin import read_bin, write_bin
from insight.formats.faceset import FaceSet
from insight.formats.framing import MAGIC_BYTES
from insight.formats.lst import read_lst
from insight.formats.property import read_property
from insight.formats.recordio import RecordFile, RecordWriter

COUNT = int(os.environ.get("INSIGHT_FUZZ", "400"))
SECONDS = 10
WORDS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"9999", b"\t\n\t\n")
JPEG = bytes.fromhex("ffd8ffc0000b080070007001011100ffda0008010100003f00aaffd9")


def write_set(folder, indexed):
    with RecordWriter(str(folder / "train.rec")) as writer:
        for key in range(1, 9):
            payload = JPEG + bytes([key]) * key + MAGIC_BYTES * (key % 3)
            writer.write(key, payload, ((key - 1) // 2, 1) if indexed else (key - 1) // 2, key)
        if indexed:
            writer.write(0, b"", (9, 13), 0)
            for identity in range(4):
                writer.write(9 + identity, b"", (1 + 2 * identity, 3 + 2 * identity), 9 + identity)
    (folder / "property").write_text("4,112,112")


def use_set(folder):
    with FaceSet.open(str(folder)) as faces:
        for i in range(len(faces)):
            bytes(faces.payload(i))
        faces.fingerprint()


def scan_records(folder):
    with RecordFile(str(folder / "train.rec")) as records:
        sum(len(record.payload) for _, record in records.scan())


def write_list(folder):
    lines = [f"1\tsome folder/é {i}.jpg\t{i}\n" for i in range(4)]
    lines += ["0\tb.jpg\t5\t1\t2\t30\t40\n", "0\tc.jpg\t6\t0\t0\t0\t0" + "\t12.5" * 10 + "\n"]
    (folder / "a.lst").write_text("".join(lines), encoding="utf-8")


def write_im2rec_list(folder):
    (folder / "a.lst").write_text("".join(f"{i}\t{i // 2}.000000\tn{i}/a.jpg\n" for i in range(8)))


def dump(protocol, entry):
    def write(folder):
        images = [entry(JPEG + bytes([i]) * 3) for i in range(6)]
        (folder / "a.bin").write_bytes(pickle.dumps((images, [True, False, True]), protocol=protocol))

    return write


def use_bin(folder):
    read_bin(folder / "a.bin")


def as_array(data):
    return np.frombuffer(data, np.uint8)


CASES = {  # writer, file that is mutated, reader
    "rec, indexed": (lambda f: write_set(f, True), "train.rec", use_set),
    "rec, plain": (lambda f: write_set(f, False), "train.rec", use_set),
    "rec, scanned": (lambda f: write_set(f, True), "train.rec", scan_records),
    "idx, indexed": (lambda f: write_set(f, True), "train.idx", use_set),
    "idx, plain": (lambda f: write_set(f, False), "train.idx", use_set),
    "property": (lambda f: write_set(f, True), "property", lambda f: (read_property(f), use_set(f))),
    "lst": (write_list, "a.lst", lambda f: read_lst(str(f / "a.lst"))),
    "lst of im2rec": (write_im2rec_list, "a.lst", lambda f: read_lst(str(f / "a.lst"))),
    "bin": (
        lambda f: write_bin(f / "a.bin", [JPEG] * 6, [True, False, True]),
        "a.bin",
        lambda f: read_bin(f / "a.bin"),
    ),
    "bin, protocol 0": (dump(0, bytes), "a.bin", lambda f: read_bin(f / "a.bin")),
    "bin, protocol 2, arrays": (dump(2, as_array), "a.bin", lambda f: read_bin(f / "a.bin")),
    "bin, protocol 5, arrays": (dump(5, as_array), "a.bin", lambda f: read_bin(f / "a.bin")),
}


def mutate(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 40))) if rng.random() < 0.7 else MAGIC_BYTES
        elif kind == 3:
            del data[at : at + rng.choice((1, 4, 40))]
        elif at < len(data):
            data[at : at + 4] = rng.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"9999", b"\t\n\t\n")
            )
    return bytes(data)


@pytest.fixture
def alarm():
    def ring(*_):
        raise TimeoutError("a mutated file hangs the reader")

    previous = signal.signal(signal.SIGALRM, ring)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("case", CASES)
def test_mutated_files_are_read_or_raise(tmp_path, case, alarm):
    write, name, use = CASES[case]
    write(tmp_path)
    use(tmp_path)
    content = (tmp_path / name).read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng = random.Random(case)
    refusals = []
    for _ in range(-(-COUNT // len(CASES))):
        mutated = mutate(content, rng)
        (tmp_path / name).write_bytes(mutated)
        alarm()
        try:
            use(tmp_path)
        except InsightError as error:
            refusals.append(str(error))
    assert refusals
    assert all(str(tmp_path) in message for message in refusals), "a message does not name its file"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kilobytes
