"""Rows of arrays in an .npz."""

import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insight.arrays.npz import StoredRows


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    names=st.lists(st.text("abé_ 1", min_size=1, max_size=9), min_size=1, max_size=3, unique=True),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from(["<f2", "<f4", "<i8", "u1"]),
    version=st.sampled_from([(1, 0), (2, 0)]),
    data=st.data(),
)
def test_rows_are_those_that_were_written(tmp_path, names, shape, dtype, version, data):
    path = tmp_path / "a.npz"
    arrays = {name: np.arange(np.prod(shape)).reshape(shape).astype(dtype) + i for i, name in enumerate(names)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version)
    positions = np.array(data.draw(st.lists(st.integers(0, shape[0] - 1), max_size=6)), np.int64)
    for name, array in arrays.items():
        rows = StoredRows(path, name)
        assert (rows.shape, rows.dtype, len(rows)) == (array.shape, array.dtype, len(array))
        np.testing.assert_array_equal(rows.read(positions), array[positions])
    with pytest.raises(KeyError):
        StoredRows(path, "other")


def test_files_of_numpy(tmp_path):
    array, path = np.arange(12.0).reshape(3, 4), tmp_path / "a.npz"
    np.savez(path, a=array, objects=np.array([None]), b=np.asfortranarray(array), c=np.array(1.0))
    np.testing.assert_array_equal(StoredRows(path, "a").read([2, 0]), array[[2, 0]])
    assert StoredRows(path, "a").read([]).shape == (0, 4)
    for name in ("objects", "b", "c"):
        with pytest.raises(ValueError, match=f"{name} is not an array of rows"):
            StoredRows(path, name)
    np.savez_compressed(tmp_path / "c.npz", a=array)
    with pytest.raises(ValueError, match="a is compressed"):
        StoredRows(tmp_path / "c.npz", "a")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(zipfile.BadZipFile):
        StoredRows(path, "a")
    np.savez(path, a=array)
    path.write_bytes(path.read_bytes().replace(b"(3, 4)", b"(9, 4)"))
    with pytest.raises(ValueError, match="a is cut short"):
        StoredRows(path, "a")
