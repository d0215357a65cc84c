"""How two files that should be equal differ; ``same_results.py`` compares the outputs of two checkouts with it.

Files are equal if their bytes are. Where bytes hold times, rates or versions (``EXEMPT``), contents decide:

.json, .jsonl, .csv   value by value
.npz                  array by array, every bit; the zip around them holds dates
.onnx                 weights, nodes, metadata and the rest

The same is done to say which parameter or value differs, of a .params too.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import numpy as np

# Keys whose values are times, rates or versions: of logs, lineage, verification's JSON, plot-log's CSV, ONNX metadata.
EXEMPT = {"time", "seconds", "speed", "wait", "cpu", "started", "versions", "insight_version", "producer_version"}
LONGEST = 60  # characters of a value in a message

Values = Dict[Tuple[str, ...], Any]


class Comparison(NamedTuple):
    """What comparing two files gave.

    Attributes
    ----------
    difference : str
        The first difference and the largest; empty if the files are equal.
    exempt : tuple of str
        Keys of ``EXEMPT`` whose values differ, sorted.
    """

    difference: str = ""
    exempt: Tuple[str, ...] = ()


def compare_files(old: Path, new: Path) -> Comparison:
    """Compare two files by their kind, which the suffix of ``old`` gives."""
    bytes_only = compare_bytes(old, new)
    if not bytes_only.difference or old.suffix not in COMPARE:
        return bytes_only
    comparison = COMPARE[old.suffix](old, new)
    if comparison == Comparison() and old.suffix != ".npz":
        return Comparison(f"the contents are equal, but not the file: {bytes_only.difference}")
    return comparison


def compare_folders(old: Path, new: Path, patterns: List[str]) -> Dict[str, Comparison]:
    """Compare the files that match a pattern (``set/*``, ``**`` too) in either folder: their names to what was found.

    A pattern that matches no file is a difference: nothing would be compared.
    """
    found: Dict[str, Comparison] = {}
    for pattern in patterns:
        names = {str(path.relative_to(root)) for root in (old, new) for path in root.glob(pattern) if path.is_file()}
        for name in sorted(names):
            missing = [side for side, root in (("old", old), ("new", new)) if not (root / name).is_file()]
            found[name] = Comparison(f"missing in {missing[0]}") if missing else compare_files(old / name, new / name)
        if not names:
            found[pattern] = Comparison("no such file in either")
    return found


def compare_bytes(old: Path, new: Path) -> Comparison:
    """By the first line that differs if both are text, else by the first byte."""
    ours, theirs = old.read_bytes(), new.read_bytes()
    if ours == theirs:
        return Comparison()
    try:
        rows = [data.decode().splitlines(keepends=True) for data in (ours, theirs)]
    except UnicodeDecodeError:
        shortest = min(len(ours), len(theirs))
        unequal = np.frombuffer(ours, np.uint8, shortest) != np.frombuffer(theirs, np.uint8, shortest)
        position = int(unequal.argmax()) if unequal.any() else shortest
        sizes = f"; {len(ours)} bytes against {len(theirs)}" if len(ours) != len(theirs) else ""
        return Comparison(f"byte {position} differs{sizes}")
    for number, (a, b) in enumerate(zip(*rows), 1):
        if a != b:
            return Comparison(f"line {number}: {_short(a)} against {_short(b)}")
    return Comparison(f"{len(rows[0])} lines against {len(rows[1])}")


def compare_values(old: Values, new: Values) -> Comparison:
    """Compare nested values that were flattened by :func:`flatten`."""
    differing = [key for key in [*old, *(key for key in new if key not in old)] if not _equal(old, new, key)]
    exempt = {name for key in differing for name in key if name in EXEMPT}
    differing = [key for key in differing if not EXEMPT.intersection(key)]
    if not differing:
        return Comparison("", tuple(sorted(exempt)))
    first = differing[0]
    text = f"{len(differing)} of {len({*old, *new})} values differ, first {'/'.join(first)}: "
    text += " against ".join(_short(side[first]) if first in side else "missing" for side in (old, new))
    steps = [abs(old[key] - new[key]) for key in differing if _is_number(old.get(key)) and _is_number(new.get(key))]
    if steps:
        text += f"; largest difference {max(steps):.3g}"
    return Comparison(text, tuple(sorted(exempt)))


def flatten(value: Any, path: Tuple[str, ...] = ()) -> Values:
    """The leaves of nested dicts and lists, by path; an empty dict or list is a leaf."""
    if isinstance(value, dict) and value:
        return {key: leaf for name, item in value.items() for key, leaf in flatten(item, (*path, name)).items()}
    if isinstance(value, list) and value:
        return {key: leaf for i, item in enumerate(value) for key, leaf in flatten(item, (*path, str(i))).items()}
    return {path: value}


def compare_arrays(old: Dict[str, np.ndarray], new: Dict[str, np.ndarray]) -> str:
    """The first array that differs in presence, type, shape or a bit, and the largest difference of all; or nothing."""
    differing, largest = [], (0.0, "")
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in old or name not in new:
            differing.append(f"{name} (missing in {'old' if name not in old else 'new'})")
            continue
        a, b = old[name], new[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            differing.append(f"{name} ({a.dtype} {a.shape} against {b.dtype} {b.shape})")
            continue
        unequal = _bits(a) != _bits(b)
        if unequal.any():
            differing.append(f"{name} ({int(unequal.any(axis=1).sum())} of {a.size} values)")
            if a.dtype.kind in "fiu":
                step = np.abs(a.astype(np.float64) - b.astype(np.float64))
                largest = max(largest, (float(np.nan_to_num(step, nan=np.inf).max()), name))
    if not differing:
        return ""
    text = f"{len(differing)} of {len({*old, *new})} arrays differ, first {differing[0]}"
    return text + (f"; largest difference {largest[0]:.3g} in {largest[1]}" if largest[1] else "")


def _compare_json(old: Path, new: Path) -> Comparison:
    return compare_values(*(flatten(json.loads(path.read_text(encoding="utf-8"))) for path in (old, new)))


def _compare_lines(old: Path, new: Path) -> Comparison:
    return compare_values(*(flatten(list(map(json.loads, path.read_text().splitlines()))) for path in (old, new)))


def _compare_table(old: Path, new: Path) -> Comparison:
    tables = []
    for path in (old, new):
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            tables.append(flatten(list(csv.DictReader(file))))
    return compare_values(*tables)


def _compare_params(old: Path, new: Path) -> Comparison:
    from insight._mxnet import mx

    arrays = []
    for path in (old, new):
        arrays.append({name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()})
    return Comparison(compare_arrays(*arrays))


def _compare_npz(old: Path, new: Path) -> Comparison:
    with np.load(old) as ours, np.load(new) as theirs:  # a zip holds dates
        return Comparison(compare_arrays(dict(ours), dict(theirs)))


def _compare_onnx(old: Path, new: Path) -> Comparison:
    import onnx

    models = [onnx.load(str(path)) for path in (old, new)]
    weights = [{w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer} for model in models]
    nodes = [flatten([" ".join(str(node).split()) for node in model.graph.node]) for model in models]
    metadata = compare_values(*map(_metadata, models))
    for part, difference in (
        ("weights", compare_arrays(*weights)),
        ("nodes", compare_values(*nodes).difference),
        ("metadata", metadata.difference),
    ):
        if difference:
            return Comparison(f"{part}: {difference}", metadata.exempt)
    for model in models:
        model.ClearField("metadata_props")
        model.ClearField("producer_version")
    if models[0].SerializeToString(deterministic=True) != models[1].SerializeToString(deterministic=True):
        return Comparison("weights, nodes and metadata are equal, but not the rest of the file", metadata.exempt)
    return metadata


def _metadata(model) -> Values:
    """Metadata in its order; values that are JSON flattened."""
    values = {"producer_version": model.producer_version, "keys": [entry.key for entry in model.metadata_props]}
    for entry in model.metadata_props:
        values[entry.key] = json.loads(entry.value) if entry.value.startswith("{") else entry.value
    return flatten(values)


COMPARE: Dict[str, Callable[[Path, Path], Comparison]] = {
    ".json": _compare_json,
    ".jsonl": _compare_lines,
    ".csv": _compare_table,
    ".params": _compare_params,
    ".npz": _compare_npz,
    ".onnx": _compare_onnx,
}


def _equal(old: Values, new: Values, key: Tuple[str, ...]) -> bool:
    """By what is written: 1 is not 1.0, and NaN equals NaN."""
    return key in old and key in new and repr(old[key]) == repr(new[key])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _bits(array: np.ndarray) -> np.ndarray:
    """uint8 (values, bytes of each)."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(array.size, array.itemsize)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def exemptions(comparisons: Dict[str, Comparison]) -> Iterator[str]:
    """``model.onnx: started, versions`` for each file of which exempt values differ."""
    for name, comparison in comparisons.items():
        if comparison.exempt:
            yield f"{name}: {', '.join(comparison.exempt)}"
