"""Time and memory of opening, training on and checking a set of millions of images in shards.

    python benchmarks/big_set.py [--images 10000000] [--identities 1000000] [--shards 16] [--folder DIR]
    python benchmarks/big_set.py --images 80000000 --identities 8000000 --tiny

The images are a few plain JPEGs of 112 x 112, repeated, each with a comment of its own so that no two records are
equal; 10 million need 4.4 GB of disk. With --tiny, records have 4 bytes that are no image, and the set is only opened.
Each work is a process of its own. Memory is what it allocates (RssAnon, at its peak), and all that is resident (VmHWM):
that includes pages of the .rec files, which the system may drop at any time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from insight.formats import shards
from insight.formats.framing import EXACT_FLOAT32, MAGIC
from insight.formats.property import Property, write_property

SIDE = 112
ROWS = 1 << 16  # records that are made at a time
COMMENT_AT = 6  # of the picture's own 8 bytes
RECORD = [("magic", "<u4"), ("length", "<u4"), ("flag", "<u4"), ("label", "<f4"), ("id", "<u8"), ("id2", "<u8")]
OPEN = """
import sys
from insight.formats.faceset import FaceSet
with FaceSet.open(sys.argv[1]) as faces:
    print(faces)
"""
COMMAND = "import sys; from insight.cli import main; sys.exit(main(sys.argv[1:]))"


def pictures() -> np.ndarray:
    """(C, S) uint8: JPEGs of one length in bytes."""
    by_length = defaultdict(list)
    for colour in range(64):
        flat = np.full((SIDE, SIDE, 3), (3 * colour, 255 - 2 * colour, 100 + colour), np.uint8)
        data = cv2.imencode(".jpg", flat, [cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1].tobytes()
        by_length[len(data)].append(data[:2] + b"\xff\xfe\0\x0a" + bytes(8) + data[2:])
    return np.stack([np.frombuffer(data, np.uint8) for data in max(by_length.values(), key=len)])


def records(keys: np.ndarray, pairs: np.ndarray, payloads: np.ndarray) -> np.ndarray:
    """Records with labels of two numbers (N, 2) and payloads (N, S), as an array of bytes (N, R)."""
    size = payloads.shape[1]
    kind = np.dtype([*RECORD, ("pair", "<f4", 2), ("payload", "u1", size + (-size & 3))])
    made = np.zeros(len(keys), kind)
    made["magic"], made["length"], made["flag"], made["id"], made["pair"] = MAGIC, 32 + size, 2, keys, pairs
    made["id2"] = np.where(pairs[:, 0] > EXACT_FLOAT32, pairs[:, 0], 0)
    made["payload"][:, :size] = payloads
    return made.view(np.uint8).reshape(len(keys), -1)


def append(rec, idx, keys: np.ndarray, rows: np.ndarray) -> None:
    begin, size = rec.tell(), rows.shape[1]
    rec.write(memoryview(rows))
    idx.write("".join([f"{key}\t{begin + i * size}\n" for i, key in enumerate(keys.tolist())]))


def write_set(folder: Path, images: int, identities: int, count: int, tiny: bool) -> None:
    """A set in the layout of face2rec, with about equally many images of each identity."""
    pool = np.full((1, 4), 7, np.uint8) if tiny else pictures()
    ends = [images * (number + 1) // count for number in range(count)]
    edges = np.linspace(0, images, identities + 1).astype(np.int64) + 1  # keys
    image = 0
    for number, names in enumerate(shards.pairs("train", count)):
        with open(folder / names[0], "wb") as rec, open(folder / names[1], "w") as idx:
            while image < ends[number]:
                keys = np.arange(image + 1, min(image + ROWS, ends[number]) + 1)
                labels = np.searchsorted(edges, keys, side="right") - 1
                payloads = pool[keys % len(pool)]
                if not tiny:
                    own = keys.astype("<u8").view(np.uint8).reshape(-1, 8)
                    payloads[:, COMMENT_AT : COMMENT_AT + 8] = own
                append(rec, idx, keys, records(keys, np.stack([labels, np.ones_like(labels)], 1), payloads))
                image += len(keys)
            if number == count - 1:
                marks = np.arange(images + 1, images + identities + 1)
                none = np.zeros((len(marks), 0), np.uint8)
                append(rec, idx, np.array([0]), records(np.array([0]), np.array([[marks[0], marks[-1] + 1]]), none[:1]))
                append(rec, idx, marks, records(marks, np.stack([edges[:-1], edges[1:]], 1), none))
    write_property(folder, Property(identities, SIDE, SIDE))


def measure(command: list) -> tuple:
    """(seconds, peak of allocated bytes, peak of resident bytes, output) of a process."""
    start, allocated, resident = time.perf_counter(), 0, 0
    with tempfile.TemporaryFile("w+") as out:
        running = subprocess.Popen([sys.executable, "-c", *map(str, command)], stdout=out, stderr=subprocess.STDOUT)
        while running.poll() is None:
            try:
                status = dict(
                    line.split(":", 1) for line in Path(f"/proc/{running.pid}/status").read_text().splitlines()
                )
                allocated = max(allocated, int(status["RssAnon"].split()[0]) * 1024)
                resident = max(resident, int(status["VmHWM"].split()[0]) * 1024)
            except (KeyError, OSError):
                pass  # it has just ended
            time.sleep(0.05)
        out.seek(0)
        return time.perf_counter() - start, allocated, resident, out.read().strip()


def works(folder: Path, args) -> dict:
    """Name of each work -> its command."""
    train = [COMMAND, "train-softmax", "--data-dir", folder, "--prefix", folder / "model", "--target", "", "--ckpt", 0]
    train += ["--network", "y1", "--emb-size", args.emb_size, "--per-batch-size", args.batch_size]
    train += ["--max-steps", args.steps, "--save-every", 0, "--frequent", 1, "--lr", 0.01]
    by_blocks = ["--sampler", "blocks", "--block-images", 1024, "--buffer-images", 65536]
    return {
        "open": [OPEN, folder],
        "train": train,
        "blocks": [*train, *by_blocks],
        "check": [COMMAND, "dataset-check", folder, "--num-workers", 1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--identities", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--work", default="open,train,blocks,check", help="comma-separated")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--emb-size", type=int, default=128)
    parser.add_argument("--folder", type=Path, help="for the set, which is kept; one that exists is used as it is")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        if not (folder / "property").exists():
            write_set(folder, args.images, args.identities, args.shards, args.tiny)
        for name in ["open"] if args.tiny else args.work.split(","):
            seconds, allocated, resident, output = measure(works(folder, args)[name])
            print(
                f"{name:<13} {seconds:7.1f} s  allocated {allocated / 1e6:7.0f} MB  resident {resident / 1e6:7.0f} MB"
            )
            print("  " + "\n  ".join(output.splitlines()[-args.steps - 6 :]), flush=True)


if __name__ == "__main__":
    main()
