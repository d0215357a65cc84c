"""The .idx reader against Python's own int(), and its key table against a dict."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.errors import InsightError
from insight.formats import idx
from insight.formats.keyruns import KeyRuns


def read(tmp_path, content: bytes):
    (tmp_path / "a.idx").write_bytes(content)
    keys, offsets = idx.read_idx(str(tmp_path / "a.idx"))
    return list(zip(keys.tolist(), offsets.tolist()))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 10**17), st.integers(0, 10**17)), max_size=40),
    block=st.integers(1, 64),
    last=st.booleans(),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_reads_what_python_reads(tmp_path_factory, rows, block, last, ending):
    """At any block size, with and without a last line end, and with Windows' line ends."""
    text = ending.join(f"{key}\t{offset}" for key, offset in rows) + (ending if last and rows else "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idx, "BLOCK_BYTES", block)
        assert read(tmp_path_factory.mktemp("idx"), text.encode()) == rows


@pytest.mark.parametrize(
    "line",
    [
        "1",
        "1\t2\t3",
        "1,2",
        "-1\t2",
        "1\t-2",
        "a\t2",
        "1\t",
        "\t1",
        "1\t2.5",
        "\0",
        "1\t" + "9" * 19,
        "1\t0x10",
        "1\t٣",
    ],
)
def test_a_bad_line_is_named(tmp_path, line):
    with pytest.raises(InsightError, match=r"a\.idx:2: want an integer key, a tab and a byte offset, found"):
        read(tmp_path, f"0\t0\n{line}\n5\t44\n".encode())


@pytest.mark.parametrize(
    "text",
    [
        "1\t0\r\n2\t44\r\n0\t88\r\n",
        "1\t0\r2\t44\r0\t88\r",
        "1 0\n2  44\n0\t 88\n",
        "1\t0 \n2\t44\t\n\n 0\t88\n\n",
        "01\t+0\n2.0\t4.4e1\n0\t88.000\n",
        "1\t0\n\ufeff2\t44\n0\t88\n\x1a",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("block", [1, 2, 5, 1 << 20])
def test_plain_variations(tmp_path, monkeypatch, text, encoding, block):
    monkeypatch.setattr(idx, "BLOCK_BYTES", block)
    assert read(tmp_path, text.encode(encoding)) == [(1, 0), (2, 44), (0, 88)]


def test_a_very_long_line_raises(tmp_path, monkeypatch):
    """A file of another kind is refused at its beginning, not when all of it is in memory."""
    blocks, taken = idx._blocks, []
    monkeypatch.setattr(idx, "_blocks", lambda file: (taken.append(block) or block for block in blocks(file)))
    with pytest.raises(InsightError, match=r"a\.idx:2: want an integer key") as caught:
        read(tmp_path, b"1\t0\n" + b"1" * (3 << 20))
    assert len(taken) == 1
    assert len(str(caught.value)) < 400


def test_a_line_end_split_over_two_blocks_counts_once(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "BLOCK_BYTES", 4)
    with pytest.raises(InsightError, match=r"a\.idx:5: "):
        read(tmp_path, b"1\t0\r\n" * 4 + b"x\r\n")


def test_counts_of_lines_are_right_in_later_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "BLOCK_BYTES", 20)
    with pytest.raises(InsightError, match=r"a\.idx:31: "):
        read(tmp_path, b"".join(b"%d\t%d\n" % (i, i) for i in range(30)) + b"x\n")
    with pytest.raises(InsightError, match=r"a\.idx:35: "):
        read(tmp_path, b"\n\n\n\r\n" + b"".join(b"%d\t%d\n" % (i, i) for i in range(30)) + b"x\n")


def test_missing_and_folder(tmp_path):
    with pytest.raises(InsightError, match="no such file"):
        idx.read_idx(str(tmp_path / "none.idx"))
    with pytest.raises(InsightError, match="a folder"):
        idx.read_idx(str(tmp_path))


@settings(max_examples=100, deadline=None)
@given(
    keys=st.lists(st.integers(0, 60), unique=True, max_size=40),
    order=st.sampled_from(["drawn", "sorted", "zero later"]),
)
def test_key_table_is_a_dict(keys, order):
    if order != "drawn":
        keys = sorted(keys)
    if order == "zero later" and keys:
        keys = [*keys[1:], keys[0]]
    table = idx.KeyTable(KeyRuns.of(np.array(keys, np.int64)))
    rows = {key: row for row, key in enumerate(keys)}
    assert [table.find(key) for key in range(-2, 70)] == [rows.get(key, -1) for key in range(-2, 70)]
    wanted = [*keys[::-1], *range(-2, 70)]
    assert table.find_all(np.array(wanted)).tolist() == [rows.get(key, -1) for key in wanted]


@pytest.mark.parametrize("keys", [[1, 2, 1], [1, 2, 3, 2], [5, 5], [0, 1, 2, 3, 9, 8, 3]])
def test_repeated_keys_are_refused(keys):
    twice = next(key for key in keys if keys.count(key) > 1)
    with pytest.raises(InsightError, match=f"key {twice} occurs twice"):
        idx.refuse_repeated(KeyRuns.of(np.array(keys, np.int64)), "a.idx")
    idx.refuse_repeated(KeyRuns.of(np.unique(keys)), "a.idx")


def test_many_runs_use_the_same_search():
    keys = np.random.default_rng(0).permutation(20000).astype(np.int64)
    table = idx.KeyTable(KeyRuns.of(keys))
    assert all(table.find(int(key)) == row for row, key in enumerate(keys[:500]))
    assert table.find(20000) == -1
