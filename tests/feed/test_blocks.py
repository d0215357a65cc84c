"""The sampler of blocks against its definition, and the reading ahead."""

import itertools
import threading
from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loader import FakeFaces

from insight.errors import InsightError
from insight.feed.ahead import ReadAhead
from insight.feed.loader import Loader
from insight.feed.samplers import chosen
from insight.feed.samplers.blocks import Blocks
from insight.ranks.single import Single


def blocks(positions, batch=4, seed=0, size=3, buffer=9):
    positions = np.asarray(positions)
    return Blocks(np.zeros(1000, np.int32), positions, batch, seed, block_images=size, buffer_images=buffer)


@st.composite
def samplers(draw):
    positions = sorted(draw(st.sets(st.integers(0, 999), min_size=1, max_size=80)))
    size = draw(st.integers(1, 20))
    batch = draw(st.integers(1, len(positions)))
    return partial(blocks, positions, batch, draw(st.integers(0, 5)), size, draw(st.integers(size, 100)))


@settings(max_examples=80, deadline=None)
@given(samplers(), st.data())
def test_an_epoch_has_each_image_once_and_a_batch_depends_on_seed_and_step_alone(make, data):
    sampler = make()
    steps = sampler.batches_per_epoch
    batches = [sampler.batch(step) for step in range(3 * steps)]
    for epoch in range(3):
        given = np.concatenate(batches[epoch * steps : (epoch + 1) * steps])
        assert len(np.unique(given)) == len(given) == steps * sampler.batch_size
        assert np.isin(given, sampler.positions).all()
    step = data.draw(st.integers(0, 3 * steps - 1))
    resumed = make()
    for later in range(step, 3 * steps):
        resumed.buffer(later)
        assert resumed.batch(later).tolist() == batches[later].tolist()


@settings(max_examples=80, deadline=None)
@given(samplers())
def test_batches_take_images_of_the_buffers_that_were_read(make):
    sampler, before = make(), 0
    size, each = sampler.options.block_images, sampler.options.buffer_images
    for step in range(3 * sampler.batches_per_epoch):
        last = sampler.buffer(step)
        assert last >= before
        cut = step % sampler.batch_size  # the shares of two ranks
        for rows in (range(cut), range(cut, sampler.batch_size)):
            known = [sampler.buffered(number, rows) for number in range(before, last + 1)]
            assert np.isin(sampler.batch(step)[rows.start : rows.stop], np.concatenate(known)).all()
        before = last
    count = len(sampler.positions)
    numbers = range(last // sampler._buffers * sampler._buffers)  # of whole epochs
    for epoch in np.split(np.array(numbers), last // sampler._buffers or 1):
        parts = [sampler.buffered(int(number), range(sampler.batch_size)) for number in epoch]
        assert not parts or np.array_equal(np.sort(np.concatenate(parts)), sampler.positions)
    for number in numbers:
        whole = sampler.buffered(number, range(sampler.batch_size))
        cut = number % sampler.batch_size
        shares = [sampler.buffered(number, rows) for rows in (range(cut), range(cut, sampler.batch_size))]
        assert np.array_equal(np.sort(np.concatenate(shares)), whole)
        rows = np.searchsorted(sampler.positions, whole)
        assert len(rows) <= each and (np.diff(rows) > 0).all()
        # whole blocks: a run begins at most once in so many images, and once more at the end of the set
        assert np.count_nonzero(np.diff(rows) > 1) <= -(-len(rows) // size) + 1 or size >= count


def test_orders_differ_by_epoch_and_by_seed():
    sampler = blocks(range(64), 16, size=4, buffer=32)
    epochs = [tuple(np.concatenate([sampler.batch(4 * e + i) for i in range(4)])) for e in range(4)]
    other = blocks(range(64), 16, seed=1, size=4, buffer=32)
    epochs.append(tuple(np.concatenate([other.batch(i) for i in range(4)])))
    assert len(set(epochs)) == 5
    edges = {tuple(np.flatnonzero(np.diff(sampler.buffered(2 * e, range(16))) > 1)) for e in range(4)}
    assert len(edges) > 1  # neighbours are not always in one block


def test_a_buffer_of_the_whole_set_is_a_full_shuffle():
    sampler = blocks(range(1000), 1000, size=10, buffer=5000)
    order = sampler.batch(0)
    assert sorted(order.tolist()) == list(range(1000))
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.1
    assert sampler.notes == ["--sampler blocks: the buffer holds the whole set; --sampler shuffled does the same"]
    assert blocks(range(1000), size=10, buffer=500).notes == []


def test_options():
    with pytest.raises(InsightError, match=r"--buffer-images 5: smaller than a block \(--block-images 6\)"):
        blocks(range(20), size=6, buffer=5)
    made = chosen("blocks", {"block_images": 5, "buffer_images": 10})(np.zeros(40, np.int32), np.arange(40), 8, 3)
    assert (made.options.block_images, made.options.buffer_images) == (5, 10)


class ReadFaces(FakeFaces):
    """Notes what is read ahead and what is decoded, in order."""

    def __init__(self, count):
        super().__init__(count)
        self.events, self.lock, self.slow = [], threading.Lock(), None

    def read_ahead(self, positions):
        for position in positions.tolist():
            with self.lock:
                self.events.append(("read", position))
            yield 1
            if self.slow is not None:
                self.slow.wait()

    def payload(self, index):
        with self.lock:
            self.events.append(("used", index))
        return super().payload(index)


def loader(faces, workers=1, **options):
    return Loader(faces, 4, 7, workers=workers, sampler=partial(Blocks, block_images=3, buffer_images=6), **options)


def indices(made, count, step=0):
    batches = made.batches(step)
    out = [batch.indices.tolist() for batch in itertools.islice(batches, count)]
    batches.close()
    return out


def test_images_are_read_in_order_before_they_are_used():
    faces = ReadFaces(31)
    batches = indices(loader(faces, workers=3), 12)
    read = [position for kind, position in faces.events if kind == "read"]
    first_buffers = [loader(faces).sampler.buffered(number, range(4)).tolist() for number in range(8)]
    assert read[: 6 * 5] == list(itertools.chain(*first_buffers))[: 6 * 5]
    reads, uses = Counter(), Counter()  # twice of images that come again in the second epoch
    for kind, position in faces.events:
        (reads if kind == "read" else uses)[position] += 1
        assert uses[position] <= reads[position]
    assert sum(uses.values()) >= 48
    assert indices(loader(ReadFaces(31)), 4, step=5) == batches[5:9]


class OneOfTwo(Single):
    size = 2

    def __init__(self, rank):
        self.rank = rank


def test_a_rank_reads_what_it_uses():
    batches = indices(loader(ReadFaces(31)), 7)
    for rank in range(2):
        faces = ReadFaces(31)
        begin, end = OneOfTwo(rank).span(4)
        assert indices(loader(faces, ranks=OneOfTwo(rank)), 7) == [batch[begin:end] for batch in batches]
        read = [position for kind, position in faces.events if kind == "read"]
        own = [loader(faces).sampler.buffered(number, range(begin, end)).tolist() for number in range(5)]
        assert read[: sum(map(len, own))] == list(itertools.chain(*own))
        assert {position for kind, position in faces.events if kind == "used"} <= set(read)


def test_closing_stops_reading():
    faces = ReadFaces(31)
    faces.slow = threading.Event()  # the first image is read, and no more
    made = loader(faces, workers=2)
    ahead = ReadAhead(faces, made.sampler, range(4))
    waiting = threading.Thread(target=ahead.reach, args=(0,))
    waiting.start()
    ahead.close()
    waiting.join(10)
    assert not waiting.is_alive()
    faces.slow.set()
    assert ahead.reach(5) is None  # nothing is read any more


def test_an_error_of_the_disk_ends_the_batches():
    faces = ReadFaces(31)

    def broken(positions):
        raise OSError(5, "Input/output error", "train.rec")
        yield

    faces.read_ahead = broken
    with pytest.raises(OSError, match="Input/output error"):
        indices(loader(faces), 1)
