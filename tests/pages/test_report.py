"""Content of the page and the card, against the output of verification and the files."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import onnx
import pytest

from insight.cli import run_command
from insight.engines import model_files, openvino
from insight.engines.onnx_engine import checkpoint_to_onnx
from insight.faces.parts import digest
from insight.files import atomic
from insight.identify import protocol
from insight.pages import origin
from insight.runs import lineage


class Page(HTMLParser):
    """Tables as lists of rows of text, ids, and the headings of columns and rows without a scope."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.ids, self.unscoped, self._cell = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.ids += [named["id"]] if "id" in named else []
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = self.tables[-1][-1]
            self.unscoped += [tag] if tag == "th" and named.get("scope") not in ("row", "col") else []

    def handle_endtag(self, tag):
        self._cell = None if tag in ("td", "th") else self._cell

    def handle_data(self, data):
        if self._cell is not None:
            self._cell[-1] += data


def card_tables(text):
    """Tables of Markdown, likewise, with escapes resolved."""
    tables, inside = [], False
    for line in text.splitlines():
        if line.startswith("|"):
            tables += [] if inside else [[]]
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            tables[-1].append([re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells])
        inside = line.startswith("|")
    return tables


def expected(result):
    """The rows of the threshold table, from verification's JSON."""
    between, different = result["intervals"], result["different_pairs"]

    def row(name, value, ends, point=None):
        fields = [name, f"{value:.5f}", "{:.5f}-{:.5f}".format(*ends) if ends else ""]
        if point is None:
            return fields + [""] * 5
        thresholds = [float(point["cosine"]), float(point["squared_l2"])]
        rates = [f"{point['far']:.3g}", f"{point['tar']:.5f}", f"{point['false_accepts']} of {different}"]
        return [*fields, *thresholds, *rates]

    best, eer = result["at_best_accuracy"], result["at_eer"]
    rows = [
        row("accuracy, folds", result["accuracy"], between["accuracy"]),
        row("accuracy, best", best["accuracy"], None, best),
        row("AUC", result["auc"], between["auc"]),
        row("EER", result["eer"], between["eer"], eer),
    ]
    for far, point in result["at_far"].items():
        name = f"TAR at FAR {far}"
        missing = f"not measurable: {different} different pairs, {round(1 / float(far))} are needed"
        rows.append(row(name, point["tar"], between["tar_at_far"][far], point) if point else [name, missing])
    return rows


def read(rows):
    """Thresholds as numbers, which must have all digits of the JSON; the rest as text."""
    rows = [[row[0], row[1]] if row[1].startswith("not") else row for row in rows]
    return [row[:3] + [float(cell) if cell else "" for cell in row[3:5]] + row[5:] for row in rows]


class TestFigures:
    def test_tables_of_the_page_are_verifications(self, made):
        tables = Page(made.page).tables
        assert len(made.results) == 2
        for table, result in zip(tables, made.results):
            assert read(table[1:]) == expected(result)
        head = ["figure", "value", "95 % interval", "cosine >", "squared L2 <", "FAR", "TAR", "false accepts"]
        assert tables[0][0] == tables[1][0] == head

    def test_tables_of_the_card_too(self, made):
        tables = [table for table in card_tables(made.card) if table[0][0] == "figure"]
        assert len(tables) == 2
        for table, result in zip(tables, made.results):
            assert {len(row) for row in table} == {8}
            assert read(table[2:]) == expected(result)

    def test_the_verdict(self, made):
        for result in made.results:
            far = min((far for far, point in result["at_far"].items() if point), key=float)
            verdict = (
                f"accuracy {result['accuracy']:.5f} ± {result['std']:.5f} over 10 folds; "
                f"TAR {result['at_far'][far]['tar']:.5f} at FAR {far}, by {result['different_pairs']} impostor pairs"
            )
            assert verdict in made.page

    def test_the_limits(self, made):
        point = made.results[0]["at_far"]["1e-2"]
        accepts = f"{point['false_accepts']} false accept" + ("" if point["false_accepts"] == 1 else "s")
        limit = f"120 impostor pairs measure no FAR below 1 in 120. The threshold for FAR 1e-2 is based on {accepts}."
        assert f"a_set: {limit}" in made.page and f"a_set: {limit}" in made.card
        # unknown in a .bin; for the list of pairs the folders are the identities
        assert made.page.count("the identities in the pairs are not known") == 1


class TestPage:
    def test_needs_nothing_else(self, made):
        rest = re.sub(r'src="data:image/jpeg;base64,[^"]+"', "", made.page)
        assert not re.search(r"<script|<link|@import|\bsrc=|url\((?!#)", rest)
        assert set(re.findall(r"\w+://[^\s\"<]+", rest)) <= {"http://www.w3.org/1999/xlink"}
        assert "default-src 'none'" in made.page

    def test_ids_are_unique_and_links_lead_somewhere(self, made):
        ids = Page(made.page).ids
        assert len(ids) == len(set(ids)) > 100
        links = re.findall(r'(?:href="#|url\(#|aria-labelledby=")([^")]+)', made.page)
        assert set(links) <= set(ids) and len(links) > 100

    def test_headings_of_tables_have_a_scope(self, made):
        assert Page(made.page).unscoped == []

    def test_text_from_files_is_escaped(self, made):
        assert "<h1>&lt;i&gt;Our&lt;/i&gt; y1 | &amp;c</h1>" in made.page
        assert r"# \<i>Our\</i> y1 \| &c" in made.card
        assert "va<l" not in made.page  # the name of a target in the log

    def test_all_figures_have_a_title(self, made):
        titles = re.findall(r"<svg[^>]*role=\"img\"[^>]*><title[^>]*>([^<]+)</title>", made.page)
        kinds = ["ROC", "DET", "Scores", "Rates over the threshold"]
        of = ["120 same and 120 different pairs of a_set", "20 same and 20 different pairs of pairs"]
        training = ["Training loss", "Training accuracy", "Learning rate", "Verification accuracy: va&lt;l"]
        expected = [f"{kind} of {pairs}" for pairs in of for kind in kinds]
        expected += [f"{name} over steps" for name in training]
        assert titles == expected
        assert len(re.findall("<svg", made.page)) == len(expected)

    def test_hardest_pairs(self, made):
        tiles = re.findall(r'<strong>(-?[\d.]+)</strong>(?:<span class="badge error">(false \w+)</span>)?', made.page)
        assert len(tiles) == 20
        point = made.results[0]["at_best_accuracy"]
        accepts, rejects = tiles[:5], tiles[5:10]
        assert [float(c) for c, _ in accepts] == sorted((float(c) for c, _ in accepts), reverse=True)
        assert [float(c) for c, _ in rejects] == sorted(float(c) for c, _ in rejects)
        assert [wrong for _, wrong in accepts] == [
            "false accept" if float(c) > point["cosine"] else "" for c, _ in accepts
        ]
        assert [wrong for _, wrong in rejects] == [
            "false reject" if float(c) < point["cosine"] else "" for c, _ in rejects
        ]
        assert {wrong for _, wrong in tiles} == {"false accept", "false reject", ""}
        assert sum(bool(wrong) for _, wrong in accepts) == min(5, point["false_accepts"])
        assert made.page.count("<img ") == 40
        assert re.search(r'<img alt="image \d+" src', made.page)
        assert re.search(r'<img alt="An_Na &amp; \d+/[01].jpg" src', made.page)
        assert f"{point['false_accepts']} of 120 are accepted at cosine {point['cosine']}" in made.page


class TestOrigin:
    def test_files_and_sets(self, made, world):
        rows = {row[0]: row for table in Page(made.page).tables for row in table}
        for name in ("small-symbol.json", "small-0001.params", "a_set.bin", "pairs.csv"):
            content = (world / name).read_bytes()
            assert rows[name][2:] == [f"{len(content):,}", hashlib.sha256(content).hexdigest()]
            assert hashlib.sha256(content).hexdigest() in made.card
        assert rows["a_set.bin"][1] == "240 pairs, 480 images"

    @pytest.mark.parametrize("written", ["page", "card"])
    def test_stages(self, made, world, written):
        text = getattr(made, written)
        tables = Page(text).tables if written == "page" else card_tables(text)
        rows = {row[0]: row[1:] for table in tables for row in table}
        assert rows["started"] == ["2023-11-14 22:13 UTC"]
        assert rows["training set, fingerprint"] == ["4a66f49f" * 8]
        assert (rows["steps"], rows["versions"]) == (["40"], ["mxnet 1.9.1"])
        assert (rows["data_dir"], rows["lr"], rows["lr_steps"]) == (["faces"], ["0.1"], [""])

    def test_folders_of_the_machine_are_not_shown(self, made, world):
        for text in (made.page, made.card):
            assert "/home/joe" not in text and str(world.parent) not in text

    def test_of_onnx(self, world, arguments, tmp_path):
        model = onnx.load_model_from_string(checkpoint_to_onnx(f"{world}/small,1", "plain"))
        stage = lineage.Stage("soft/model", "model-log.jsonl", 1e9, "f" * 64, {"network": "r18"}, 77, {})
        onnx.helper.set_model_props(model, {lineage.PROPERTY: lineage.to_json([stage])})
        onnx.save(model, tmp_path / "m.onnx")
        more = ["--engine", "onnxruntime", "--bootstrap", "0", "--hardest", "0", "--output", str(tmp_path / "o.html")]
        arguments = [*arguments, "--model", str(tmp_path / "m.onnx"), *more]
        assert run_command("report", arguments) == 0
        page = (tmp_path / "o.html").read_text()
        rows = {row[0]: row[1:] for table in Page(page).tables for row in table}
        assert (rows["steps"], rows["network"], rows["versions"]) == (["77"], ["r18"], ["unknown"])
        assert "m.onnx" in rows
        assert "<img" not in page and "An_Na" not in page  # --hardest 0
        assert "the band is" not in page and "95 % interval is" not in page  # --bootstrap 0

    def test_of_openvino(self, world, tmp_path):
        """Its .xml keeps the metadata of the ONNX that it is converted from."""
        model = onnx.load_model_from_string(checkpoint_to_onnx(f"{world}/small,1", "plain"))
        stage = lineage.Stage("soft/model", "model-log.jsonl", 1e9, "f" * 64, {"network": 'r18 <"&'}, 77, {})
        onnx.helper.set_model_props(model, {lineage.PROPERTY: lineage.to_json([stage])})
        openvino.save(model.SerializeToString(), tmp_path / "m.xml")
        found = origin.find(str(tmp_path / "m.xml"), [])
        assert (found.stages, found.chief["steps"], found.options) == (
            ["soft/model"],
            ["77"],
            {"network": ['r18 <"&']},
        )
        (tmp_path / "m.xml").write_text("<net><rt_info>")
        assert origin.find(str(tmp_path / "m.xml"), []).stages == []

    def test_of_onnx_needs_no_mxnet(self):
        program = (
            "import sys; sys.modules['mxnet'] = None; from insight.pages import origin; "
            "print(origin.find('gone/m.onnx', []).stages)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert "MXNet" not in done.stderr and "No such file or directory: 'gone/m.onnx'" in done.stderr

    def test_unknown_training_is_reported(self, world, arguments, tmp_path):
        for name in ("small-symbol.json", "small-0001.params"):
            shutil.copy(world / name, tmp_path / name)
        written = ["--output", str(tmp_path / "o.html"), "--card", str(tmp_path / "o.md"), "--bootstrap", "2"]
        assert run_command("report", [*arguments, "--model", f"{tmp_path}/small,1", *written]) == 0
        for name in ("o.html", "o.md"):
            assert "The training is unknown: there is no log or lineage" in (tmp_path / name).read_text()


class TestRefusals:
    def error(self, capsys, arguments):
        capsys.readouterr()
        assert run_command("report", list(map(str, arguments))) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        return line[len("error: ") :]

    def test_existing_files_are_kept(self, arguments, tmp_path, capsys):
        page, card = tmp_path / "p.html", tmp_path / "c.md"
        card.write_text("mine")
        error = self.error(capsys, [*arguments, "--output", page, "--card", card])
        assert error == f"{card}: already exists; give another name, or --overwrite"
        assert card.read_text() == "mine" and not page.exists()
        assert run_command("report", [*arguments, "--output", str(page), "--card", str(card), "--overwrite"]) == 0
        assert card.read_text().startswith("# ") and page.exists()

    def test_inputs_are_not_replaced(self, arguments, tmp_path, capsys):
        log = tmp_path / "model-log.jsonl"
        log.write_text("")
        error = self.error(capsys, [*arguments, "--log", log, "--output", log, "--overwrite"])
        assert error == f"--output {log}: is an input, too, and would be replaced; give another name"
        assert log.exists()

    def test_unwritable_paths_are_reported_before_any_work(self, arguments, tmp_path, capsys, monkeypatch):
        (tmp_path / "file").touch()
        arguments = [*arguments, "--model", "no/such,1"]  # is not opened
        error = self.error(capsys, [*arguments, "--output", tmp_path / "file/new/p.html"])
        assert error == f"{tmp_path}/file: a file, want a folder; give another output"
        error = self.error(capsys, [*arguments, "--output", tmp_path, "--overwrite"])
        assert error == f"--output {tmp_path}: a folder, want a file to write; give its name"
        monkeypatch.setattr(os, "access", lambda path, how: path != tmp_path)  # root may write anywhere
        error = self.error(capsys, [*arguments, "--output", tmp_path / "p.html", "--card", tmp_path / "new/p.md"])
        assert error == f"--output {tmp_path}/p.html: {tmp_path} cannot be written to; give another output"

    @pytest.mark.parametrize(
        "more, message",
        [
            (["--card", "{0}/x/../p.html"], "--card {0}/x/../p.html: is the same file as --output; give another name"),
            (["--output", "{0}"], "--output {0}: a folder, want a file to write"),
            (["--hardest", "101"], "--hardest 101: must be at most 100; all images are embedded in the page"),
            (["--hardest", "-1"], "--hardest -1: must be at least 0"),
            (["--nfolds", "0"], "--nfolds 0: must be at least 1"),
            (["--log", "{0}/none.jsonl"], "{0}/none.jsonl: no such file; want the PREFIX-log.jsonl"),
            (["--model", "{0}/none,1"], "{0}/none-0001.params: no such checkpoint"),
        ],
    )
    def test_bad_options(self, arguments, tmp_path, capsys, more, message):
        more = [word.format(tmp_path) for word in more]
        error = self.error(capsys, [*arguments, "--output", tmp_path / "p.html", *more])
        assert error.startswith(message.format(tmp_path))
        assert list(tmp_path.iterdir()) == []

    def test_without_the_card_there_is_no_page(self, arguments, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(atomic, "check_output", lambda *given: None)  # the file came after the check
        (tmp_path / "file").write_text("")
        written = ["--output", tmp_path / "p.html", "--card", tmp_path / "file/c.md", "--bootstrap", "0"]
        error = self.error(capsys, [*arguments, *written])
        assert error == f"{tmp_path}/file: a file, want a folder; give another output"
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    @pytest.mark.parametrize("module, name", [("jinja2", "Jinja"), ("matplotlib.figure", "matplotlib")])
    def test_a_missing_library(self, arguments, tmp_path, capsys, monkeypatch, module, name):
        monkeypatch.setitem(sys.modules, module, None)
        error = self.error(capsys, [*arguments, "--output", tmp_path / "p.html"])
        assert error.startswith(f"{name} is not installed, or does not load")
        assert error.endswith("; run: pip install -e '.[plots]'")

    def test_a_damaged_lineage(self, world, arguments, tmp_path, capsys):
        for name in ("small-symbol.json", "small-0001.params"):
            shutil.copy(world / name, tmp_path / name)
        (tmp_path / "small-lineage.json").write_text('{"version": 9}')
        error = self.error(capsys, [*arguments, "--model", f"{tmp_path}/small,1", "--output", tmp_path / "p.html"])
        assert error.startswith(f"{tmp_path}/small-lineage.json: not a lineage of version 1")
        assert not (tmp_path / "p.html").exists()


class TestProtocols:
    """Sections of `--protocols` files."""

    @pytest.fixture
    def files(self, world, tmp_path):
        """Writes a JSON of ``small,1``, or of models with other hashes."""
        own = digest(model_files(f"{world}/small,1"))

        def write(name, title, figures, models=(own,)):
            models = [{"model_sha256": one} for one in models]
            result = protocol.ProtocolResult(title, models, {"flip": True}, {"images": 7}, figures)
            protocol.write_json(tmp_path / name, result)
            return tmp_path / name

        return write

    @staticmethod
    def report(world, tmp_path, *paths):
        sets = ["--data-dir", world, "--target", "a_set", "--model", f"{world}/small,1", "--engine", "mxnet"]
        outputs = ["--output", tmp_path / "p.html", "--card", tmp_path / "c.md", "--bootstrap", "0", "--hardest", "0"]
        return run_command("report", [str(word) for word in (*sets, *outputs, "--protocols", *paths)])

    def test_tables_of_page_and_card(self, world, files, tmp_path):
        pytest.importorskip("jinja2")
        Figure = protocol.ProtocolFigure
        ijb = [
            Figure("1:1", "TAR@FAR", 1e-4, 0.912345678, "at FAR 9.9e-05"),
            Figure("1:1", "AUC", None, 0.99),
            Figure("1:N, <gallery>", "rank", 1, 0.5),
        ]
        mega = [Figure(f"{size} distractors", "rank", 1, 1 / size) for size in (10, 100)]
        mega.append(Figure("100 distractors", "TAR@FAR", 1e-6, None, "200 impostor pairs"))
        assert self.report(world, tmp_path, files("i.json", "IJB-C", ijb), files("m.json", "MegaFace", mega)) == 0
        want = [
            [
                ["1:1", "TAR@FAR 0.0001", "0.91235", "at FAR 9.9e-05"],
                ["", "AUC", "0.99000", ""],
                ["1:N, <gallery>", "rank-1", "0.50000", ""],
            ],
            [
                ["10 distractors", "rank-1", "0.10000", ""],
                ["100 distractors", "rank-1", "0.01000", ""],
                ["", "TAR@FAR 1e-06", "not measurable", "200 impostor pairs"],
            ],
        ]
        head = ["part", "figure", "value", "measured"]
        page, card = (tmp_path / "p.html").read_text(), (tmp_path / "c.md").read_text()
        parsed = Page(page)
        assert [table[1:] for table in parsed.tables if table[0] == head] == want
        assert [table[2:] for table in card_tables(card) if table[0] == head] == want
        assert parsed.unscoped == []
        assert "TAR@FAR 0.0001 0.91235 (1:1); rank-1 0.50000 (1:N, &lt;gallery&gt;)" in page
        assert "rank-1 0.01000 (100 distractors)" in page
        assert "IJB-C: 7 images" in page and "settings: flip yes" in card

    @pytest.mark.parametrize(
        ("models", "message"),
        [
            (["ab"], "its figures are not of this model but of another; leave the file out"),
            (["ab", "cd"], "not of this model but of 2"),
            ([], "not of this model but of one that is not known"),
        ],
    )
    def test_of_another_model(self, world, files, tmp_path, capsys, models, message):
        pytest.importorskip("jinja2")
        path = files("i.json", "IJB-C", [], models)
        assert self.report(world, tmp_path, path) == 2
        assert f"--protocols {path}: " in (error := capsys.readouterr().err) and message in error
        assert not (tmp_path / "p.html").exists()

    @pytest.mark.parametrize(
        "text",
        [
            *("", "[]", "{", '{"protocol": "x"}'),
            '{"protocol": 1, "models": [], "settings": {}, "counts": {}, "figures": []}',
            '{"protocol": "x", "models": [], "settings": {}, "counts": {}, "figures": [{"part": "y"}]}',
        ],
    )
    def test_of_another_file(self, world, tmp_path, capsys, text):
        pytest.importorskip("jinja2")
        (tmp_path / "f.json").write_text(text)
        assert self.report(world, tmp_path, tmp_path / "f.json") == 2
        assert "f.json: not the figures of a protocol; want the JSON that `insight ijb" in capsys.readouterr().err
