"""Images per second of our loader, mx.io.ImageRecordIter and gluon's DataLoader, over the same records.

    python benchmarks/loader.py [--data SET] [--batch-size 128] [--rounds 5]

SET is a folder with a .rec; without it 2,560 made-up faces are drawn into a temporary folder first, which takes a
minute. The records are read from a plain copy (scalar labels, images only), the only layout that all of them support.
Each makes shuffled, mirrored float32 NCHW batches on the same number of cores; they alternate, and the result is the
ratio of the medians. The DataLoader has two data sets: gluon's ImageRecordDataset with gluon's transforms, and a faster
one that a user could write with OpenCV; it runs them without workers, in threads (not ImageRecordDataset, whose threads
would share a file position) and in processes, and the fastest of these is compared.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Iterable

import cv2
import numpy as np

from insight._mxnet import mx
from insight.feed.loader import Loader
from insight.formats.faceset import FaceSet
from insight.formats.property import NAME as PROPERTY
from insight.formats.recordio import RecordWriter
from insight.machine.cores import physical_cores

transforms = mx.gluon.data.vision.transforms
LONGEST = 3.0  # seconds per measurement


def made_up_set(folder: Path) -> Path:
    """Draw faces and pack them; returns the folder of the set."""
    from insight.made_up.writer import write_aligned
    from insight.sets.pack import pack
    from insight.sets.scan import folder_to_lists

    write_aligned(str(folder / "faces"), identities=128, images=20)
    folder_to_lists(str(folder / "faces"), str(folder / "train.lst"))
    pack(str(folder / "train.lst"), str(folder / "indexed"))
    return folder / "indexed"


def plain_copy(source: str, folder: Path) -> str:
    """Write the images of a set in the layout of im2rec; returns the path of the .rec."""
    rec_path = str(folder / "train.rec")
    with FaceSet.open(source) as faces, RecordWriter(rec_path) as records:
        for i in range(len(faces)):
            records.write(i, bytes(faces.payload(i)), float(faces.labels[i]), i)
        (folder / PROPERTY).write_text(f"{faces.num_classes},{faces.image_size[0]},{faces.image_size[1]}\n")
    return rec_path


def ours(rec_path: str, batch_size: int, cores: int) -> Callable[[], Iterable]:
    loader = Loader(FaceSet.open(rec_path), batch_size, workers=cores)

    def epoch():
        batches = loader.batches()
        yield from (batch.data for batch in itertools.islice(batches, loader.batches_per_epoch))
        batches.close()

    return epoch


def record_iter(rec_path: str, batch_size: int, cores: int) -> Callable[[], Iterable]:
    batches = mx.io.ImageRecordIter(
        path_imgrec=rec_path,
        path_imgidx=rec_path[:-4] + ".idx",
        data_shape=(3, *FaceSet.open(rec_path).image_size),
        batch_size=batch_size,
        shuffle=True,
        rand_mirror=True,
        preprocess_threads=cores,
        round_batch=False,
        verbose=False,
    )

    def epoch():
        batches.reset()
        for batch in batches:
            if not batch.pad:
                yield batch.data[0]

    return epoch


class OpenCVDataset(mx.gluon.data.Dataset):
    """Mirrored float32 (3, H, W) arrays and labels; one reader per thread, because readers have a position."""

    def __init__(self, rec_path: str):
        self._paths = rec_path[:-4] + ".idx", rec_path
        self._local = threading.local()
        self._keys = self._reader().keys

    def _reader(self):
        if not hasattr(self._local, "reader"):
            self._local.reader = mx.recordio.MXIndexedRecordIO(*self._paths, "r")
        return self._local.reader

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, i: int):
        header, payload = mx.recordio.unpack(self._reader().read_idx(self._keys[i]))
        bgr = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
        if random.random() < 0.5:
            bgr = bgr[:, ::-1]
        return bgr[:, :, ::-1].transpose(2, 0, 1).astype(np.float32), header.label


def gluon_dataset(rec_path: str):
    """ImageRecordDataset as in gluon's examples."""
    change = transforms.Compose([transforms.RandomFlipLeftRight(), transforms.ToTensor()])
    return mx.gluon.data.vision.ImageRecordDataset(rec_path).transform_first(change)


def data_loader(dataset, batch_size: int, workers: int, threads: bool = False) -> Callable[[], Iterable]:
    batches = mx.gluon.data.DataLoader(
        dataset, batch_size, shuffle=True, last_batch="discard", num_workers=workers, thread_pool=threads
    )
    return lambda: (data for data, _ in batches)


def images_per_second(epoch: Callable[[], Iterable], batch_size: int) -> float:
    """Rate over one epoch, or over ``LONGEST`` seconds if that is shorter."""
    start, images = time.perf_counter(), 0
    for data in epoch():
        data.wait_to_read()
        images += batch_size
        if time.perf_counter() - start > LONGEST:
            break
    return images / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="set to read instead of made-up faces")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cores = physical_cores()
    folder = Path(tempfile.mkdtemp())
    try:
        rec_path = plain_copy(args.data or str(made_up_set(folder)), folder)
        size = args.batch_size
        sides: Dict[str, Callable[[], Iterable]] = {  # processes are forked first, before any thread is started
            "DataLoader, gluon, processes": data_loader(gluon_dataset(rec_path), size, cores),
            "DataLoader, gluon": data_loader(gluon_dataset(rec_path), size, 0),
            "DataLoader, OpenCV, processes": data_loader(OpenCVDataset(rec_path), size, cores),
            "DataLoader, OpenCV, threads": data_loader(OpenCVDataset(rec_path), size, cores, True),
            "DataLoader, OpenCV": data_loader(OpenCVDataset(rec_path), size, 0),
            "ImageRecordIter": record_iter(rec_path, size, cores),
            "insight": ours(rec_path, size, cores),
        }
        rates: Dict[str, list] = {name: [] for name in sides}
        for round_number in range(args.rounds + 1):
            for name, epoch in sides.items():
                rate = images_per_second(epoch, size)
                if round_number:  # the first warms up
                    rates[name].append(rate)
        del sides
    finally:
        shutil.rmtree(folder)
    report(rates, cores, size)


def report(rates: Dict[str, list], cores: int, batch_size: int) -> None:
    median = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        print(f"{name:<30} {median[name]:8,.0f} images/s (min {min(values):,.0f}, max {max(values):,.0f})")
    loader = max((name for name in median if name.startswith("DataLoader")), key=median.__getitem__)
    for name in ("ImageRecordIter", loader):
        print(f"insight is {median['insight'] / median[name]:.2f} times as fast as {name}")
    print(f"({cores} cores, batch {batch_size})")


if __name__ == "__main__":
    main()
