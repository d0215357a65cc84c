"""Comparing files, and two checkouts: fake packages with one command."""

import json
from dataclasses import replace
from textwrap import dedent

import numpy as np
import pytest
import same_results
from differences import Comparison, compare_files, compare_folders
from same_cases import CASES, REAL_CASES, Case
from same_results import DIFFERENT, SAME, SKIPPED, Checkout, compare, select

from insight._mxnet import mx


@pytest.fixture
def pair(tmp_path):
    """Write a file into old/ and new/; returns both paths."""

    def write(name, *contents):
        paths = [tmp_path / side / name for side in ("old", "new")]
        for path, content in zip(paths, contents):
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(path)
            else:
                path.write_bytes(content)
        return paths

    return write


@pytest.mark.parametrize("name", ["a.rec", "a.json", "a.params", "a.npz", "a.onnx", "a.csv"])
def test_equal_bytes_are_equal_whatever_they_are(pair, name):
    assert compare_files(*pair(name, b"\0\xff", b"\0\xff")) == Comparison()


@pytest.mark.parametrize(
    "old, new, difference",
    [
        (b"\xff123", b"\xff124", "byte 3 differs"),
        (b"\xff123", b"\xff1234", "byte 4 differs; 4 bytes against 5"),
        (b"1\ta\n1\tb\n", b"1\ta\n1\tc\n", r"line 2: '1\tb\n' against '1\tc\n'"),
        (b"a\n", b"a\r\n", r"line 1: 'a\n' against 'a\r\n'"),
        (b"a\n", b"a\nb\n", "1 lines against 2"),
    ],
)
def test_bytes(pair, old, new, difference):
    assert compare_files(*pair("train.lst", old, new)).difference == difference


def as_json(**values):
    return json.dumps({"results": [{"target": "lfw", **values}]}).encode()


@pytest.mark.parametrize(
    "old, new, difference, exempt",
    [
        ({"seconds": 1.0, "auc": 0.5}, {"seconds": 2.0, "auc": 0.5}, "", ("seconds",)),
        ({"auc": 0.5}, {"auc": 0.75}, "auc: 0.5 against 0.75; largest difference 0.25", ()),
        ({"auc": 1}, {"auc": 1.0}, "auc: 1 against 1.0; largest difference 0", ()),
        ({"auc": 0.5}, {}, "auc: 0.5 against missing", ()),
        ({}, {"rows": []}, "rows: missing against []", ()),
        ({"auc": float("nan"), "time": 1}, {"auc": float("nan"), "time": 2}, "", ("time",)),
    ],
)
def test_json(pair, old, new, difference, exempt):
    difference = f"1 of 2 values differ, first results/0/{difference}" if difference else ""
    assert compare_files(*pair("v.json", as_json(**old), as_json(**new))) == Comparison(difference, exempt)


def test_other_spelling_of_equal_json_is_a_difference(pair):
    found = compare_files(*pair("v.json", b'{"a": 1}', b'{"a":1}'))
    assert found.difference.startswith("the contents are equal, but not the file: line 1: ")


def test_logs_and_tables_apart_from_times(pair):
    old, new = (json.dumps({"kind": "step", "loss": 0.5, "time": time}).encode() + b"\n" for time in (1, 2))
    assert compare_files(*pair("a.jsonl", old, new)) == Comparison("", ("time",))
    assert "1/loss" in compare_files(*pair("a.jsonl", old + old, old + old.replace(b"0.5", b"0.6"))).difference
    assert compare_files(*pair("c.csv", b"step,speed\n1,2\n", b"step,speed\n1,3\n")) == Comparison("", ("speed",))
    found = compare_files(*pair("m.csv", b"label,kept\n1,2\n", b"label,kept\n1,3\n"))
    assert found.difference == "1 of 2 values differ, first 0/kept: '2' against '3'"


def params(**arrays):
    return lambda path: mx.nd.save(str(path), {name: mx.nd.array(array) for name, array in arrays.items()})


def test_parameters(pair):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    moved = weight + np.float32([[0, 0.25, 0], [0, 0, -0.5]])
    old = params(weight=weight, gamma=np.ones(3))
    assert compare_files(*pair("a.params", old, old)) == Comparison()
    found = compare_files(*pair("a.params", old, params(weight=moved, gamma=np.ones(3))))
    assert found.difference == "1 of 2 arrays differ, first weight (2 of 6 values); largest difference 0.5 in weight"
    found = compare_files(*pair("a.params", old, params(weight=weight.T, bias=np.ones(3))))
    assert found.difference == "3 of 3 arrays differ, first weight (float32 (2, 3) against float32 (3, 2))"
    found = compare_files(*pair("a.params", old, params(gamma=np.ones(3), weight=weight)))
    assert found.difference.startswith("the contents are equal, but not the file: byte ")


def test_arrays_by_their_bits(pair):
    def saved(**arrays):
        return lambda path: np.savez(path, **arrays)

    def difference(old, new):
        return compare_files(*pair("e.npz", saved(a=old), saved(a=new))).difference

    def compressed(path):
        np.savez_compressed(path, a=np.zeros(2))

    assert compare_files(*pair("e.npz", saved(a=np.zeros(2)), compressed)) == Comparison()
    assert difference(np.float32([0.0]), np.float32([-0.0])).endswith("a (1 of 1 values); largest difference 0 in a")
    assert difference(np.float32([np.nan]), np.float32([np.nan])) == ""
    assert difference(np.float32([1]), np.float32([np.nan])).endswith("largest difference inf in a")
    assert difference(np.array(["x", "y"]), np.array(["x", "z"])).endswith("a (1 of 2 values)")
    assert difference(np.array("x"), np.array("xy")).endswith("a (<U1 () against <U2 ())")
    assert difference(np.zeros((0, 3)), np.zeros((0, 3))) == ""


def test_onnx(pair):
    import onnx

    def model(weight=1.0, operator="Relu", doc="", **metadata):
        node = onnx.helper.make_node(operator, ["x"], ["y"])
        values = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
        weights = [onnx.helper.make_tensor("w", 1, [1], [weight])]
        made = onnx.helper.make_model(
            onnx.helper.make_graph([node], "g", values[:1], values[1:], weights), doc_string=doc
        )
        onnx.helper.set_model_props(made, {"lineage": json.dumps({"started": 1, "steps": 40}), **metadata})
        return made.SerializeToString()

    def found(**changes):
        return compare_files(*pair("m.onnx", model(), model(**changes)))

    assert found() == Comparison()
    assert found(lineage=json.dumps({"started": 2, "steps": 40})) == Comparison("", ("started",))
    assert "lineage/steps: 40 against 41" in found(lineage=json.dumps({"started": 1, "steps": 41})).difference
    assert "w (1 of 1 values); largest difference 0.5" in found(weight=1.5).difference
    assert found(operator="Abs").difference.startswith("nodes: 1 of 1 values differ")
    assert "the rest" in found(doc="x", lineage=json.dumps({"started": 2, "steps": 40})).difference
    assert "metadata: " in found(color_order="BGR").difference


def test_folders(pair, tmp_path):
    pair("set/train.rec", b"\xff1", b"\xff1")
    pair("set/train.idx", b"1", b"2")
    pair("set/property", b"1")
    (tmp_path / "new/set/extra.csv").write_bytes(b"")
    found = compare_folders(tmp_path / "old", tmp_path / "new", ["set/*", "*.json"])
    assert {name: comparison.difference for name, comparison in found.items()} == {
        "set/extra.csv": "missing in old",
        "set/property": "missing in new",
        "set/train.idx": "line 1: '1' against '2'",
        "set/train.rec": "",
        "*.json": "no such file in either",
    }


COMMAND = """
    import os, sys, time
    words = sys.argv[1:]
    if "--option" in words and {old}:
        print("error: unrecognized arguments: --option; see insight write --help", file=sys.stderr)
        sys.exit(2)
    if words[0] == "fail":
        print("error: no", file=sys.stderr)
        sys.exit({status})
    if words == ["train"]:
        open("state", "w").close()
        time.sleep(60)
    os.makedirs("out", exist_ok=True)
    with open("out/file", "w") as file:
        file.write({text!r} if words[0] != "equal" else "equal")
"""


@pytest.fixture
def checkouts(tmp_path):
    """Two checkouts that differ in all that their command can differ in."""
    sides = []
    for name, text, status in (("old", "a", 2), ("new", "b", 3)):
        package = tmp_path / name / "checkout/insight/cli"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").touch()
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(dedent(COMMAND).format(old=name == "old", text=text, status=status))
        sides.append(Checkout(tmp_path / name / "checkout", tmp_path / "work" / name))
    return sides


def test_two_checkouts(checkouts):
    case = Case("name", "equal", "out/*")
    assert compare(case, *checkouts) == (SAME, "1 files")
    assert compare(replace(case, command="write"), *checkouts) == (DIFFERENT, "out/file: line 1: 'a' against 'b'")
    assert compare(replace(case, command="fail"), *checkouts) == (
        DIFFERENT,
        "expected status 0, got status 2 (error: no) against status 3 (error: no)",
    )
    assert compare(replace(case, command="equal --option"), *checkouts) == (
        SKIPPED,
        "the old checkout does not have it: error: unrecognized arguments: --option; see insight write --help",
    )
    outcome, text = compare(replace(case, command="equal --option"), *checkouts[::-1])  # an option that is gone
    assert outcome == DIFFERENT and "--option" in text


def test_killed_and_resumed(checkouts):
    case = Case("name", "equal", "out/*", killed_after="state")
    outcome, text = compare(case, *checkouts)
    assert outcome == DIFFERENT and "got status 0 before it was killed" in text
    assert compare(replace(case, command="train"), *checkouts) == (DIFFERENT, "out/file: line 1: 'a' against 'b'")


def test_like_another_case_of_the_same_checkout(checkouts):
    compare(Case("name", "equal", "out/*"), *checkouts)
    for side in checkouts:
        (side.folder / "out").rename(side.folder / "whole")
    assert compare(Case("name", "equal", "out/*", like="whole"), *checkouts) == (SAME, "3 files")
    (checkouts[1].folder / "whole/file").write_text("other")
    outcome, text = compare(Case("name", "equal", "out/*", like="whole"), *checkouts)
    assert (outcome, text) == (DIFFERENT, "new out/file against whole/file: line 1: 'other' against 'equal'")


def test_what_is_no_checkout(tmp_path):
    with pytest.raises(SystemExit, match="not a checkout of insight"):
        Checkout(tmp_path, tmp_path / "work")


def test_a_selected_case_brings_what_it_reads():
    assert select(CASES + REAL_CASES, [""]) == CASES + REAL_CASES
    assert [case.name for case in select(CASES, ["killed"])] == [
        "dir2lst",
        "face2rec, indexed",
        "make-bin",
        "train y1, softmax, 40 steps",
        "train y1, ArcFace on cpu,cpu, 20 steps",
        "the same, killed and resumed",
    ]
    assert select(CASES, ["no such name"]) == []


def test_commands_parse():
    from test_docs import parse

    for case in CASES + REAL_CASES:
        parse(same_results.shlex.split(case.command))
