"""Cut the .rec and .idx of a set into shards, by the offsets in its .idx alone."""

from __future__ import annotations

import shutil
from pathlib import Path


def in_shards(source: Path, folder: Path, cuts) -> list:
    """Write ``train-00000-of-..`` into a folder; ``cuts`` are numbers of records before which a shard begins.

    Returns the paths of the .rec files.
    """
    folder.mkdir(parents=True)
    lines = [tuple(map(int, line.split())) for line in (source / "train.idx").read_text().splitlines()]
    data = (source / "train.rec").read_bytes()
    begins = [offset for _, offset in lines] + [len(data)]
    edges = [0, *cuts, len(lines)]
    paths = []
    for number, (begin, end) in enumerate(zip(edges, edges[1:])):
        stem = folder / f"train-{number:05d}-of-{len(edges) - 1:05d}"
        paths.append(stem.with_suffix(".rec"))
        paths[-1].write_bytes(data[begins[begin] : begins[end]])
        own = [f"{key}\t{offset - begins[begin]}\n" for key, offset in lines[begin:end]]
        stem.with_suffix(".idx").write_text("".join(own))
    if (source / "property").exists():
        shutil.copy(source / "property", folder / "property")
    return paths
