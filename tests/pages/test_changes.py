"""`report --before`: the comparison with an earlier model, on page, card and terminal."""

import json
import re

import numpy as np
import pytest
from small_networks import S, filled
from test_report import Page, card_tables

from insight import checkpoint
from insight.checkpoint import Checkpoint
from insight.cli import run_command

pytest.importorskip("jinja2")


@pytest.fixture(scope="module")
def earlier(world, tmp_path_factory):
    """An earlier model, which sees four times less of a face: ``prefix,epoch``."""
    pixels = (S.Variable("data", shape=(0, 3, 64, 64)) - 127.5) / 128
    pooled = S.Pooling(pixels, kernel=(32, 32), stride=(32, 32), pool_type="avg")
    symbol = S.FullyConnected(pooled, num_hidden=12, no_bias=True, name="fc1")
    prefix = str(tmp_path_factory.mktemp("earlier") / "coarse")
    checkpoint.save(prefix, 3, Checkpoint(*filled(symbol, size=64)))
    return f"{prefix},3"


@pytest.fixture(scope="module")
def written(arguments, earlier, tmp_path_factory):
    """(page, card, results of verification: {model: {target: figures}})."""
    folder = tmp_path_factory.mktemp("compared")
    outputs = ["--output", str(folder / "page.html"), "--card", str(folder / "card.md"), "--hardest", "0"]
    assert run_command("report", [*arguments, "--before", earlier, *outputs]) == 0
    results = {}
    for name, more in (("after", []), ("before", ["--model", earlier])):
        assert run_command("verification", [*arguments, *more, "--json", str(folder / "figures.json")]) == 0
        rows = json.loads((folder / "figures.json").read_text())["results"]
        results[name] = {row["target"]: row for row in rows}
    return (folder / "page.html").read_text(), (folder / "card.md").read_text(), results


HEAD = ["figure", "before", "after", "difference", "95 % interval", "verdict"]


def of(table):
    """{figure: its cells} of a table with the heading."""
    return {row[0]: row[1:] for row in table}


def test_figures_are_those_of_verification(written):
    page, card, results = written
    tables = [of(table[1:]) for table in Page(page).tables if table[0] == HEAD]
    assert tables == [of(table[2:]) for table in card_tables(card) if table[0] == HEAD]
    assert len(tables) == 2
    for table, target in zip(tables, results["after"]):
        before, after = (results[name][target] for name in ("before", "after"))
        for figure, key in (("accuracy", "accuracy"), ("EER", "eer"), ("AUC", "auc")):
            assert table[figure][:2] == [f"{before[key]:.5f}", f"{after[key]:.5f}"]
            assert table[figure][2] == f"{after[key] - before[key]:+.5f}"
        fars = [far for far, point in after["at_far"].items() if point]
        assert list(table) == ["accuracy", "EER", "AUC", *(f"TAR at FAR {far}" for far in fars)]
        for far in fars:
            tars = [f"{row['at_far'][far]['tar']:.5f}" for row in (before, after)]
            assert table[f"TAR at FAR {far}"][:2] == tars


def test_the_verdict_is_that_of_the_interval(written):
    page = written[0]
    verdicts = set()
    for table in Page(page).tables:
        for figure, cells in of(table[1:]).items() if table[0] == HEAD else ():
            ends = [float(cells[2]), *map(float, cells[3].split(" to "))]
            signs = {np.sign(end) for end in ends}
            sign = signs.pop() if len(signs) == 1 else 0
            expected = ["worse", "no difference that these pairs show", "better"]
            assert cells[4] == expected[int(-sign if figure == "EER" else sign) + 1]
            verdicts.add(cells[4])
    assert "better" in verdicts


def test_the_head_says_it_and_the_files_are_listed(written, earlier):
    page, card, results = written
    before, after = (results[name]["a_set"]["accuracy"] for name in ("before", "after"))
    name = "/".join(earlier.split("/")[-2:])
    text = f"before, with {name}, accuracy {before:.5f}; after {after:.5f}; difference {after - before:+.5f} (95 % "
    assert page.count(text) == 1 and page.index(text) < page.index('<section id="target-1"')
    rows = [row for table in Page(page).tables for row in table if "earlier model" in row]
    assert [row[0] for row in rows] == ["coarse-symbol.json", "coarse-0003.params"]
    assert "earlier model" in card
    assert re.search(r"by 60 bootstrap resamples over identities, each of which evaluates both", page)
    ids = Page(page).ids
    assert len(ids) == len(set(ids)) and "target-2-changes" in ids


def test_the_size_is_that_of_the_model_alone(world, written):
    page = written[0]
    size = sum((world / name).stat().st_size for name in ("small-symbol.json", "small-0001.params"))
    assert f"<dt>Size</dt><dd>{size / 1e6:.2f} MB</dd>" in page


def test_the_terminal_says_it_without_intervals(arguments, earlier, tmp_path, capsys):
    options = ["--before", earlier, "--bootstrap", "0", "--hardest", "0", "--output", str(tmp_path / "p.html")]
    assert run_command("report", [*arguments, *options]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "before, with" in line]
    assert [line.split(":")[0] for line in lines] == ["a_set", "pairs"]
    assert all(re.search(r"accuracy [\d.]+; after [\d.]+; difference [+-][\d.]+$", line) for line in lines)


def test_the_earlier_model_is_not_replaced(arguments, earlier, capsys):
    output = f"{earlier.split(',')[0]}-0003.params"
    assert run_command("report", [*arguments, "--before", earlier, "--output", output, "--overwrite"]) == 2
    assert f"--output {output}: is an input, too" in capsys.readouterr().err
