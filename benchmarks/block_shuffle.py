"""How much of a full shuffle --sampler blocks gives up, by the sizes of blocks and buffers.

    python benchmarks/block_shuffle.py [--images 2000000] [--each 68] [--batch-size 512]
    python benchmarks/block_shuffle.py --data-dir SET --blocks 256,1024 --buffers 65536,262144

For a set, or one whose images are in the order of their identities, as face2rec packs them, with a random number of
images of each; and over one epoch:

identities   different ones in a batch
partners     other images of an image's own identity in its batch
distance     between two images of one identity in the order of the epoch, in epochs; 0.333 if they are independent
together     pairs of images of one identity that are in one buffer
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table

from insight.feed.samplers.blocks import Blocks
from insight.feed.samplers.shuffled import Shuffled
from insight.formats.faceset import FaceSet

PAIRS = 200_000


def labels_of(images: int, each: float) -> np.ndarray:
    """(images,) int32: identities of 1 image and more, ``each`` on average, one after the other."""
    sizes = np.random.default_rng(0).geometric(1 / each, int(2 * images / each) + 10)
    return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[:images]


def pairs_of(labels: np.ndarray) -> np.ndarray:
    """(2, P) positions of two images of one identity, drawn at random."""
    draw = np.random.default_rng(1)
    by_label = np.argsort(labels, kind="stable")
    _, begins, inverse, sizes = np.unique(labels[by_label], return_index=True, return_inverse=True, return_counts=True)
    first = draw.integers(len(labels), size=PAIRS)
    own = inverse[first]
    second = begins[own] + draw.integers(sizes[own])
    return by_label[np.stack([first, second])[:, first != second]]


def figures(sampler, labels: np.ndarray, pairs: np.ndarray) -> list:
    """The columns of the table."""
    batches = [sampler.batch(step) for step in range(sampler.batches_per_epoch)]
    place = np.full(len(labels), -1)
    place[np.concatenate(batches)] = np.arange(sum(map(len, batches)))
    different = [len(np.unique(labels[batch])) for batch in batches]
    partners = [(np.unique(labels[batch], return_counts=True)[1] ** 2).sum() / len(batch) - 1 for batch in batches]
    given = pairs[:, (place[pairs] >= 0).all(axis=0)]
    distance = np.abs(np.diff(place[given], axis=0)).mean() / len(labels)
    together = ""
    if isinstance(sampler, Blocks):
        buffer = np.zeros(len(labels), np.int64)
        for number in range(sampler.buffer(sampler.batches_per_epoch - 1) + 1):
            buffer[sampler.buffered(number, range(sampler.batch_size))] = number
        together = f"{100 * (np.diff(buffer[given], axis=0) == 0).mean():.0f} %"
    return [f"{np.mean(different):.1f}", f"{np.mean(partners):.2f}", f"{distance:.3f}", together]


def numbers(text: str) -> list:
    """Parse ``256,1024``."""
    return [int(word) for word in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="a set; without it, one is made up")
    parser.add_argument("--images", type=int, default=2_000_000)
    parser.add_argument("--each", type=float, default=68, help="images of an identity; MS1M has 68")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--blocks", type=numbers, default=[256, 1024, 4096])
    parser.add_argument("--buffers", type=numbers, default=[16384, 65536, 262144])
    args = parser.parse_args()
    if args.data_dir:
        with FaceSet.open(args.data_dir) as faces:
            labels = faces.labels
    else:
        labels = labels_of(args.images, args.each)
    positions, pairs = np.arange(len(labels)), pairs_of(labels)
    table = Table("sampler", "block", "buffer", "identities", "partners", "distance", "together", box=None)
    table.add_row("shuffled", "", "", *figures(Shuffled(labels, positions, args.batch_size, 0), labels, pairs))
    for size in args.blocks:
        for buffer in args.buffers:
            sampler = Blocks(labels, positions, args.batch_size, 0, block_images=size, buffer_images=buffer)
            table.add_row("blocks", str(size), str(buffer), *figures(sampler, labels, pairs))
    Console().print(table)


if __name__ == "__main__":
    main()
