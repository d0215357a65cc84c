"""Keys as runs, compared with arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.formats import keyruns
from insight.formats.keyruns import KeyRuns

# keys as sets have them: ascending stretches, in any order
RUNS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=8)


def array(runs):
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(start, start + length) for start, length in runs)])


@settings(max_examples=100, deadline=None)
@given(RUNS, st.data())
def test_runs_are_an_array(runs, data):
    keys = array(runs)
    made = KeyRuns.of(keys)
    assert made.tolist() == keys.tolist() == list(made) and len(made) == len(keys)
    assert np.array_equal(np.concatenate([keys[:0], *made.blocks()]), keys)
    cut = data.draw(st.slices(len(keys)))
    assert np.array_equal(made[cut], keys[cut])
    if len(keys):
        rows = data.draw(st.lists(st.integers(-len(keys), len(keys) - 1), min_size=1))
        assert np.array_equal(made[np.array(rows)], keys[rows])
        assert [made[row] for row in rows] == keys[rows].tolist()
        assert np.array_equal(made[keys % 2 == 0], keys[keys % 2 == 0])


@settings(max_examples=100, deadline=None)
@given(st.lists(RUNS, max_size=4))
def test_joined_parts_are_the_runs_of_the_whole(parts):
    joined = KeyRuns.joined([KeyRuns.of(array(part)) for part in parts])
    whole = KeyRuns.of(np.concatenate([np.zeros(0, np.int64), *map(array, parts)]))
    assert joined.starts.tolist() == whole.starts.tolist()
    assert joined.begins.tolist() == whole.begins.tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 60), unique=True, max_size=40), st.integers(-2, 62), st.integers(-2, 62))
def test_distinct_keys_in_ascending_order(keys, low, high):
    ordered = np.sort(np.array(keys, np.int64))
    made = KeyRuns.of(np.array(keys, np.int64)).ascending()
    assert made.tolist() == ordered.tolist()
    assert made.between(low, high).tolist() == ordered[(ordered >= low) & (ordered < high)].tolist()
    asked = np.arange(-2, 64).reshape(2, -1)
    assert np.array_equal(made.position(asked), np.searchsorted(ordered, asked))
    assert len(made.starts) == np.count_nonzero(np.diff(ordered) > 1) + bool(keys)


def test_a_set_in_order_needs_no_memory_per_key(monkeypatch):
    monkeypatch.setattr(keyruns, "_BLOCK_ROWS", 5)
    made = KeyRuns.joined([KeyRuns.of(np.arange(1, 23)), KeyRuns.of(np.array([23, 24, 0, 25, 26]))])
    assert made.starts.tolist() == [1, 0, 25] and made.lengths.tolist() == [24, 1, 2]
    huge = KeyRuns(np.array([1]), np.array([10**12]))
    assert huge[10**12 - 1] == huge[-1] == 10**12 and huge.position(np.array([7])).tolist() == [6]
    for row in (10**12, -(10**12) - 1, np.array([3, 10**12])):
        with pytest.raises(IndexError):
            huge[row]
