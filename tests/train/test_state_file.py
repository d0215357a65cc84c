"""Files of several ranks: the same bytes whatever their number, each rank its rows, one error for all."""

import errno
import threading
import zipfile

import numpy as np
import pytest
from threads_group import run_ranks

from insight import checkpoint
from insight._mxnet import mx
from insight.errors import InsightError
from insight.ranks import shared_file
from insight.ranks.group import span
from insight.ranks.own_rows import OwnRows, Shard
from insight.train import resume

DRAW = np.random.default_rng(0)
ARRAYS = {
    "parameter/fc7_weight@0": DRAW.normal(size=(10, 3)).astype(np.float32),
    "parameter/fc1_gamma@0": DRAW.normal(size=4).astype(np.float32),
    "momentum/fc7_bias": DRAW.normal(size=10).astype(np.float32),
    "margin/t": DRAW.normal(size=1).astype(np.float32),
}
DIVIDED = ("parameter/fc7_weight@0", "momentum/fc7_bias")


def own(arrays, group, kind=mx.nd.array):
    """What a rank has of them."""
    parts = {}
    for name, array in arrays.items():
        begin, end = span(len(array), group.rank, group.size)
        parts[name] = OwnRows(kind(array[begin:end]), Shard(begin, len(array))) if name in DIVIDED else kind(array)
    return parts


def save(folder, ranks, arrays=ARRAYS, kind=mx.nd.array):
    folder.mkdir(exist_ok=True)
    prefix = str(folder / "model")

    def rank(group):
        meta = {"step": 3} if group.rank == 0 else {"step": "not of rank 0, and longer"}
        mine = own(arrays, group, kind)
        if group.rank > 0:
            mine = {name: array for name, array in mine.items() if isinstance(array, OwnRows)}  # all that they need
        resume.save(prefix, meta, mine, group)

    run_ranks(ranks, rank)
    assert [path.name for path in folder.iterdir()] == ["model-resume.npz"]
    return prefix


def load(prefix, ranks):
    def rank(group):
        arrays = own({name: np.zeros_like(array) for name, array in ARRAYS.items()}, group)
        resume.load(prefix).read_into({name: [array] for name, array in arrays.items()})
        return {name: a.array.asnumpy() if isinstance(a, OwnRows) else a.asnumpy() for name, a in arrays.items()}

    parts = run_ranks(ranks, rank)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in DIVIDED}
    return {**parts[-1], **joined}


def test_the_same_bytes_for_any_number_of_ranks_again_and_again(tmp_path):
    """1 -> 2 -> 3 -> 1, each from what the one before it has read."""
    arrays, texts = ARRAYS, []
    for number, ranks in enumerate((1, 2, 3, 1)):
        prefix = save(tmp_path / str(number), ranks, arrays)
        texts.append(resume.state_path(prefix).read_bytes())
        arrays = load(prefix, (2, 3, 1, 4)[number])
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    assert len(set(texts)) == 1
    with zipfile.ZipFile(resume.state_path(prefix)) as file:
        assert file.testzip() is None
    with np.load(resume.state_path(prefix)) as file:
        np.testing.assert_array_equal(file["momentum/fc7_bias"], ARRAYS["momentum/fc7_bias"])
    assert resume.load(prefix).meta == {"step": 3}


def test_arrays_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr("insight.ranks.own_rows.BLOCK", 4)
    monkeypatch.setattr(resume, "BLOCK", 4)
    plain = save(tmp_path / "plain", 1, kind=np.asarray)
    prefix = save(tmp_path / "two", 2)
    assert resume.state_path(prefix).read_bytes() == resume.state_path(plain).read_bytes()
    np.testing.assert_array_equal(load(prefix, 3)[DIVIDED[0]], ARRAYS[DIVIDED[0]])


def test_another_number_of_rows_is_refused(tmp_path):
    prefix = save(tmp_path, 2)
    part = OwnRows(np.zeros((4, 3), np.float32), Shard(4, 11))
    with pytest.raises(InsightError, match=r"fc7_weight@0 is float32 \(10, 3\), and this run has float32 \(11, 3\)"):
        resume.load(prefix).read_into({DIVIDED[0]: [part]})


def test_some_rows_of_a_checkpoint(tmp_path, monkeypatch):
    """Read in blocks, where the arrays are longer."""
    monkeypatch.setattr("insight.ranks.own_rows.BLOCK", 7)
    weight, gamma = ARRAYS["parameter/fc7_weight@0"], ARRAYS["parameter/fc1_gamma@0"]
    arrays = {"fc7_weight": mx.nd.array(weight), "fc1_gamma": mx.nd.array(gamma)}
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc1")
    prefix = str(tmp_path / "model")
    checkpoint.save(prefix, 1, checkpoint.Checkpoint(symbol, arrays, {}))
    stored, _ = checkpoint.load_params(prefix, 1, by_rows=["fc7_weight"])
    rows = stored["fc7_weight"]
    assert rows.shape == weight.shape and not isinstance(rows, mx.nd.NDArray)
    for begin, end in ((0, 10), (3, 8), (9, 10)):
        np.testing.assert_array_equal(rows[begin:end].asnumpy(), weight[begin:end])
    np.testing.assert_array_equal(stored["fc1_gamma"].asnumpy(), gamma)


class NoSpace(np.ndarray):
    """An array that fails when it is to be written."""

    def reshape(self, *shape):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_on_one_rank_is_an_error_on_all_and_keeps_the_file(tmp_path):
    prefix = save(tmp_path, 2)
    before = resume.state_path(prefix).read_bytes()

    def rank(group):
        arrays = own(ARRAYS, group, lambda array: array.view(NoSpace) if group.rank == 1 else array)
        with pytest.raises((InsightError, OSError)) as error:
            resume.save(prefix, {"step": 4}, arrays, group)
        return str(error.value)

    first, second = run_ranks(2, rank)
    reason = f"[Errno 28] No space left on device: '{resume.state_path(prefix)}'"
    assert (first, second) == (f"rank 1: {reason}", reason)
    assert resume.state_path(prefix).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_not_shared_is_one_line(tmp_path, monkeypatch):
    here = threading.local()

    def open_here(path, mode):
        if here.rank == 1:
            raise FileNotFoundError(path)
        return open(path, mode)

    def rank(group):
        here.rank = group.rank
        with pytest.raises(InsightError) as error:
            resume.save(str(tmp_path / "model"), {}, own(ARRAYS, group), group)
        return str(error.value)

    monkeypatch.setattr(shared_file, "open", open_here, raising=False)
    messages = run_ranks(2, rank)
    assert all("rank 0 has made this file, and it is not there on this machine" in text for text in messages)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_checkpoint_is_what_mxnet_would_write(ranks, tmp_path):
    arrays = {"fc1_weight": DRAW.normal(size=(2, 3)).astype(np.float32)}
    arrays["fc7_weight"] = DRAW.normal(size=(10, 3)).astype(np.float32)
    statistics = {"bn_moving_mean": mx.nd.ones(2)}
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc1")
    whole = {name: mx.nd.array(array) for name, array in arrays.items()}
    checkpoint.save(str(tmp_path / "whole"), 1, checkpoint.Checkpoint(symbol, whole, statistics))

    def rank(group):
        begin, end = span(10, group.rank, group.size)
        part = OwnRows(mx.nd.array(arrays["fc7_weight"][begin:end]), Shard(begin, 10))
        mine = checkpoint.Checkpoint(symbol, {**whole, "fc7_weight": part}, statistics)
        return checkpoint.save(str(tmp_path / "parts"), 1, mine, group)

    assert set(run_ranks(ranks, rank)) == {tmp_path / "parts-0001.params"}
    for name in ("-0001.params", "-symbol.json"):
        assert (tmp_path / f"parts{name}").read_bytes() == (tmp_path / f"whole{name}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4
