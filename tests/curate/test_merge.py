"""Merging: each rule on hand-made sets, then real faces."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from cut_sets import in_shards
from small_sets import at, image, payloads_of, read_vectors, with_cosine, write_set
from written_files import names, rows

from insight._mxnet import mx
from insight.cli._model import embedder
from insight.curate import centres
from insight.curate.centres import People, match_earlier, nearest
from insight.curate.clean import CleanRules, clean
from insight.curate.merge import merge
from insight.curate.overlap import Rules
from insight.errors import InsightError
from insight.formats.evalbin import write_bin
from insight.formats.faceset import FaceSet
from insight.formats.recordio import RecordWriter

SAME, NEAR, OTHER = 0.31, 0.29, 0.0  # cosines on both sides of param1


@pytest.fixture
def two(tmp_path):
    """a: two people. b: one like a's first (just), one nearly so, one other; payloads of both."""
    a = write_set(tmp_path / "a", [[at(-5), at(5)], [at(0, 1)]])
    b = write_set(tmp_path / "b", [[with_cosine(SAME)], [with_cosine(-NEAR, 1), at(90, 1)], [at(0, 2), at(3, 2)]])
    return a, b


def merged(tmp_path, include="a,b", exclude=(), output="out", **options):
    rules = Rules(**{name: options.pop(name) for name in Rules._fields if name in options})
    paths = [str(tmp_path / name) for name in include.split(",")]
    excluded = [str(tmp_path / name) for name in exclude]
    options.setdefault("embed", read_vectors)
    return merge(paths, str(tmp_path / output), excluded, rules=rules, **options)


def decisions(path):
    return [row["decision"] for row in rows(path)]


class TestDecisions:
    def test_the_default_drops_whole_identities(self, two, tmp_path):
        a, b = two
        report = merged(tmp_path)
        assert payloads_of(tmp_path / "out") == [a[0], a[1], b[1], b[2]]
        assert names(tmp_path / "out") == ["merge.csv", "property", "train.idx", "train.rec"]
        assert (tmp_path / "out/property").read_text() == "4,112,112"
        assert report.lines() == [
            f"{tmp_path}/a: 2 identities, 3 images: 2 kept",
            f"{tmp_path}/b: 3 identities, 5 images: 2 kept, 1 dropped",
            f"{tmp_path}/out/train.rec: 7 images + 4 identity records + 1 header = 12 records; property 4,112,112",
            f"decisions: {tmp_path}/out/merge.csv",
        ]

    def test_each_decision_is_in_the_report(self, two, tmp_path):
        merged(tmp_path)
        a, b = str(tmp_path / "a"), str(tmp_path / "b")
        nothing = {"excluded_by": "", "excluded_item": "", "excluded_cosine": ""}
        table = rows(tmp_path / "out/merge.csv")
        first = {"set": a, "label": "0", "images": "2", "decision": "keep", "new_label": "0"}
        assert table[0] == {**first, "nearest_set": "", "nearest_label": "", "cosine": "", **nothing}
        like = {"set": b, "label": "0", "images": "1", "decision": "drop", "new_label": ""}
        assert table[2] == {**like, "nearest_set": a, "nearest_label": "0", "cosine": "0.3100", **nothing}
        other = {"set": b, "label": "2", "images": "2", "decision": "keep", "new_label": "3"}
        assert table[4] == {**other, "nearest_set": a, "nearest_label": "0", "cosine": "0.0000", **nothing}

    def test_the_centre_is_the_mean_of_normalised_embeddings(self, tmp_path):
        write_set(tmp_path / "a", [[at(0)]])
        write_set(tmp_path / "b", [[at(60) * 100, at(80)]])  # at 70 degrees: 0.342; were lengths kept, 60: 0.5
        merged(tmp_path)
        assert rows(tmp_path / "out/merge.csv")[1]["cosine"] == "0.3420"

    def test_the_threshold_itself_is_enough(self, tmp_path):
        write_set(tmp_path / "a", [[at(0)]])
        write_set(tmp_path / "b", [[at(0)], [at(0, 1)]])
        merged(tmp_path, param1=1.0)
        assert decisions(tmp_path / "out/merge.csv") == ["keep", "drop", "keep"]

    def test_dropped_identities_are_not_compared_with(self, tmp_path):
        write_set(tmp_path / "a", [[at(0)]])
        write_set(tmp_path / "b", [[at(60)], [at(0, 1)]])
        write_set(tmp_path / "c", [[at(120)]])  # similar to b's first (0.5), which was dropped; not to a's (-0.5)
        merged(tmp_path, "a,b,c")
        assert decisions(tmp_path / "out/merge.csv") == ["keep", "drop", "keep", "keep"]

    def test_pooling_follows_the_chain(self, tmp_path):
        a = write_set(tmp_path / "a", [[at(0)], [at(0, 1)]])
        b = write_set(tmp_path / "b", [[at(60)], [at(0, 2)]])
        c = write_set(tmp_path / "c", [[at(120), at(121)]])
        report = merged(tmp_path, "a,b,c", on_overlap="pool")
        assert payloads_of(tmp_path / "out") == [a[0] + b[0] + c[0], a[1], b[1]]
        assert decisions(tmp_path / "out/merge.csv") == ["keep", "keep", "pool", "keep", "pool"]
        assert [row["new_label"] for row in rows(tmp_path / "out/merge.csv")] == ["0", "1", "0", "2", "0"]
        assert report.property.num_classes == 3

    def test_pooling_takes_the_nearest(self, tmp_path):
        a = write_set(tmp_path / "a", [[at(0)], [at(50)]])
        b = write_set(tmp_path / "b", [[at(40)]])
        merged(tmp_path, on_overlap="pool")
        assert payloads_of(tmp_path / "out") == [a[0], a[1] + b[0]]

    def test_the_same_set_twice_over_is_kept_unless_within(self, tmp_path):
        a = write_set(tmp_path / "a", [[at(0)], [at(0, 1)], [at(20)], [at(80)]])
        write_set(tmp_path / "b", [[at(0, 2)], [at(10, 2)]])
        merged(tmp_path)
        assert decisions(tmp_path / "out/merge.csv") == ["keep"] * 6
        merged(tmp_path, output="within", within=True)
        # 80 degrees is similar to the third (0.5), which was dropped, and not to the first (0.17)
        assert decisions(tmp_path / "within/merge.csv") == ["keep", "keep", "drop", "keep", "keep", "drop"]
        merged(tmp_path, "a", output="pooled", within=True, on_overlap="pool")
        assert payloads_of(tmp_path / "pooled") == [a[0] + a[2] + a[3], a[1]]

    def test_a_threshold_that_is_probably_too_low_is_noted(self, two, tmp_path):
        report = merged(tmp_path, param1=0.25)
        assert decisions(tmp_path / "out/merge.csv") == ["keep", "keep", "drop", "keep", "keep"]
        assert report.notes == []
        write_set(tmp_path / "c", [[at(10)], [at(10, 1)], [at(0, 3)]])
        report = merged(tmp_path, "a,c", output="new")
        assert report.lines()[0].startswith(f"{tmp_path}/c: 2 of 3 identities match persons of other sets")

    def test_param1_of_0_compares_nothing(self, two, tmp_path):
        a, b = two
        merged(tmp_path, param1=0, embed=None)
        assert payloads_of(tmp_path / "out") == a + b
        assert {row["cosine"] for row in rows(tmp_path / "out/merge.csv")} == {""}


class TestPayloadsThatAreNotImages:
    """b: an empty payload, one of another kind, an identity with only such payloads."""

    GIF = b"GIF89a" + bytes(20)
    REASON = f"not-an-image: begins with {GIF[:8]!r}, gif, which OpenCV does not decode"

    @pytest.fixture
    def odd(self, tmp_path):
        a = write_set(tmp_path / "a", [[at(0)], [at(5), at(6)]])
        b = write_set(tmp_path / "b", [[b"", at(1)], [self.GIF, b""], [at(2)], [at(3), self.GIF]])
        return [*a, b[0][1:], b[2], b[3][:1]]

    def test_are_skipped_and_listed(self, odd, tmp_path):
        report = merged(tmp_path, param1=0, embed=None)
        assert payloads_of(tmp_path / "out") == odd
        assert names(tmp_path / "out") == ["merge.csv", "property", "train.idx", "train.rec", "train.skipped.csv"]
        b = f"{tmp_path}/b"
        assert rows(tmp_path / "out/train.skipped.csv") == [
            {"set": b, "key": "1", "label": "0", "reason": "empty-image: no bytes"},
            {"set": b, "key": "3", "label": "1", "reason": self.REASON},
            {"set": b, "key": "4", "label": "1", "reason": "empty-image: no bytes"},
            {"set": b, "key": "7", "label": "3", "reason": self.REASON},
        ]
        table = rows(tmp_path / "out/merge.csv")
        assert [row["decision"] for row in table] == ["keep", "keep", "keep", "drop", "keep", "keep"]
        assert [row["new_label"] for row in table] == ["0", "1", "2", "", "3", "4"]
        assert report.lines() == [
            f"{b}: 4 payloads are not images (keys 1, 3, 4, 7); left out, listed in {tmp_path}/out/train.skipped.csv",
            f"{tmp_path}/a: 2 identities, 3 images: 2 kept",
            f"{b}: 4 identities, 7 images: 3 kept, 1 dropped",
            f"{tmp_path}/out/train.rec: 6 images + 5 identity records + 1 header = 12 records; property 5,112,112",
            f"decisions: {tmp_path}/out/merge.csv",
        ]

    def test_in_a_dry_run(self, odd, tmp_path):
        report = merged(tmp_path, param1=0, embed=None, dry_run=True, report=str(tmp_path / "r.csv"))
        assert report.lines()[0] == f"{tmp_path}/b: 4 payloads are not images (keys 1, 3, 4, 7); would be left out"
        assert report.property.num_classes == 5
        assert decisions(tmp_path / "r.csv") == ["keep", "keep", "keep", "drop", "keep", "keep"]
        assert not (tmp_path / "out").exists()

    def test_an_old_list_is_removed_if_there_are_none(self, odd, tmp_path):
        merged(tmp_path, param1=0, embed=None)
        merged(tmp_path, "a", param1=0, embed=None, overwrite=True)
        assert names(tmp_path / "out") == ["merge.csv", "property", "train.idx", "train.rec"]

    def test_with_a_model_raise_before_the_work(self, odd, tmp_path):
        def embed(path):
            raise AssertionError("embedded")

        expected_message = (
            r"b/train\.rec: 4 payloads are not images \(keys 1, 3, 4, 7\), and a network cannot embed them; `insight "
        )
        with pytest.raises(InsightError, match=expected_message):
            merged(tmp_path, embed=embed)
        with pytest.raises(InsightError, match=expected_message):
            merged(tmp_path, "a", exclude=["b"], param1=0)
        merged(tmp_path, "b", param1=0, embed=embed)  # a model that is not needed

    def test_a_set_without_any_image(self, tmp_path):
        write_set(tmp_path / "a", [[b""], [self.GIF]])
        with pytest.raises(InsightError, match="no payload of these sets is an image; the first, key 1: empty-image"):
            merged(tmp_path, "a", param1=0, embed=None)
        assert not (tmp_path / "out").exists()


class TestExclude:
    def test_any_image_of_a_bin(self, two, tmp_path):
        a, b = two
        pairs = [image(at(0, 3)), image(with_cosine(0.41, 1)), image(at(68.5, 2)), image(at(45, 3))]
        write_bin(tmp_path / "x.bin", pairs, [True, False])
        report = merged(tmp_path, exclude=["x.bin"])
        assert payloads_of(tmp_path / "out") == [a[0], b[2]]  # a's second: from the first set as well
        table = rows(tmp_path / "out/merge.csv")
        assert [row["decision"] for row in table] == ["keep", "exclude", "drop", "exclude", "keep"]
        result = [table[1][name] for name in ("excluded_by", "excluded_item", "excluded_cosine", "new_label")]
        assert result == [str(tmp_path / "x.bin"), "1", "0.4100", ""]
        assert report.lines()[:2] == [
            f"{tmp_path}/a: 2 identities, 3 images: 1 kept, 1 excluded",
            f"{tmp_path}/b: 3 identities, 5 images: 1 kept, 1 dropped, 1 excluded",
        ]

    def test_identities_of_a_set(self, two, tmp_path):
        a, b = two
        # both images of the first are similar to a's first (0.5), its centre more so; of the second, one image is
        write_set(tmp_path / "x", [(7, [at(60), at(-60)]), (4, [with_cosine(0.5, 1), at(-90, 1), at(-100, 1)])])
        merged(tmp_path, exclude=["x"])
        assert payloads_of(tmp_path / "out") == [a[1], b[1], b[2]]
        row = rows(tmp_path / "out/merge.csv")[0]
        assert (row["excluded_by"], row["excluded_item"], row["excluded_cosine"]) == (
            str(tmp_path / "x"),
            "7",
            "1.0000",
        )

    def test_several(self, two, tmp_path):
        a, b = two
        write_set(tmp_path / "x", [(9, [at(0, 3)]), (3, [at(0, 2)])])
        write_bin(tmp_path / "y.bin", [image(at(90, 3)), image(at(0, 1))], [True])
        merged(tmp_path, exclude=["x/train.rec", "y.bin"])
        assert payloads_of(tmp_path / "out") == [a[0], b[1]]
        table = rows(tmp_path / "out/merge.csv")
        assert (table[1]["excluded_by"], table[1]["excluded_item"]) == (str(tmp_path / "y.bin"), "1")
        assert (table[4]["excluded_by"], table[4]["excluded_item"]) == (str(tmp_path / "x/train.rec"), "3")

    def test_a_pool_is_removed_completely(self, tmp_path):
        write_set(tmp_path / "a", [[at(0)], [at(0, 1)]])
        b = write_set(tmp_path / "b", [[at(60)], [at(0, 2)]])
        write_set(tmp_path / "x", [[at(100)]])  # similar to b's first (0.77), not to a's (-0.17)
        merged(tmp_path, exclude=["x"], on_overlap="pool")
        assert decisions(tmp_path / "out/merge.csv") == ["exclude", "keep", "exclude", "keep"]
        assert payloads_of(tmp_path / "out")[1] == b[1]

    def test_one_set_without_comparing_it(self, tmp_path):
        a = write_set(tmp_path / "a", [[at(0)], [at(1)], [at(0, 1)]])
        write_bin(tmp_path / "x.bin", [image(at(0, 1)), image(at(0, 2))], [True])
        merged(tmp_path, "a", exclude=["x.bin"], param1=0)
        assert payloads_of(tmp_path / "out") == a[:2]

    def test_all_identities_excluded(self, tmp_path):
        write_set(tmp_path / "a", [[at(0)]])
        with pytest.raises(InsightError, match="out: no identity is left"):
            merged(tmp_path, "a", exclude=["a"])
        assert names(tmp_path) == ["a"]


class TestFiles:
    def test_a_dry_run_writes_nothing(self, two, tmp_path):
        before = names(tmp_path)
        report = merged(tmp_path, dry_run=True)
        assert names(tmp_path) == before
        assert report.lines()[-1] == (
            "dry run, no set is written: 7 images + 4 identity records + 1 header = 12 records; property 4,112,112"
        )
        merged(tmp_path, dry_run=True, report=str(tmp_path / "what.csv"))
        assert names(tmp_path) == [*before, "what.csv"]
        merged(tmp_path)
        assert (tmp_path / "what.csv").read_bytes() == (tmp_path / "out/merge.csv").read_bytes()

    def test_records_are_as_insightface_lays_them_out(self, tmp_path):
        """Written here through mx.recordio, in dataset_merge's order: images, identities, header."""
        a = write_set(tmp_path / "a", [[at(0), at(1)], [at(0, 1)]])
        merged(tmp_path, "a", param1=0, embed=None)
        record = mx.recordio.MXIndexedRecordIO(str(tmp_path / "w.idx"), str(tmp_path / "w.rec"), "w")
        for key, label, payload in ((1, 0, a[0][0]), (2, 0, a[0][1]), (3, 1, a[1][0])):
            record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), payload))
        for key, edges in ((4, (1, 3)), (5, (3, 4)), (0, (4, 6))):
            record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(1, edges, key, 0), b""))
        record.close()
        for suffix in ("rec", "idx"):
            assert (tmp_path / f"out/train.{suffix}").read_bytes() == (tmp_path / f"w.{suffix}").read_bytes()

    def test_labels_in_several_runs_are_one_identity(self, tmp_path):
        a = write_set(tmp_path / "a", [(5, [at(0)]), (2, [at(0, 1)]), (5, [at(1)])], indexed=False)
        report = merged(tmp_path, "a", param1=0, embed=None)
        assert payloads_of(tmp_path / "out") == [a[0] + a[2], a[1]]
        assert "3 runs of 2 labels; each label is taken as one identity" in report.lines()[1]

    @pytest.mark.parametrize("name", ["train.rec", "train.idx", "property", "merge.csv"])
    def test_a_failure_before_the_last_rename_leaves_no_set(self, two, tmp_path, monkeypatch, name):
        real = os.replace

        def replace(source, target):
            if os.path.basename(target) == name:
                raise OSError(5, "pulled out")
            real(source, target)

        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(OSError, match="pulled out"):
            merged(tmp_path)
        monkeypatch.undo()
        assert not (tmp_path / "out/property").exists()
        with pytest.raises(InsightError, match=r"killed before it had finished|holds no \.rec"):
            FaceSet.open(str(tmp_path / "out"))
        merged(tmp_path)
        assert len(payloads_of(tmp_path / "out")) == 4
        assert names(tmp_path / "out") == ["merge.csv", "property", "train.idx", "train.rec"]

    def test_existing_outputs_are_kept_and_raise_before_the_work(self, two, tmp_path):
        merged(tmp_path)
        before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}

        def no_work(path):
            raise AssertionError

        for options in ({}, {"output": "new", "report": str(tmp_path / "out/merge.csv")}):
            with pytest.raises(InsightError, match="already exists"):
                merged(tmp_path, embed=no_work, **options)
        assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
        merged(tmp_path, "b,a", overwrite=True)
        assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} != before

    def test_histogram(self, two, tmp_path):
        pytest.importorskip("matplotlib")
        write_bin(tmp_path / "x.bin", [image(at(0, 3))] * 2, [True])
        merged(tmp_path, exclude=["x.bin"], histogram=str(tmp_path / "h.svg"), dry_run=True)
        text = (tmp_path / "h.svg").read_text()
        assert "nearest earlier identity: 1 of 3 at 0.3 or above" in text
        assert "nearest excluded face: 0 of 5 at 0.4 or above" in text
        merged(tmp_path, histogram=str(tmp_path / "h.png"), dry_run=True)
        assert (tmp_path / "h.png").read_bytes()[:4] == b"\x89PNG"

    def test_histogram_without_matplotlib(self, two, tmp_path, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
        with pytest.raises(InsightError, match=r"needs matplotlib, .* pip install -e '\.\[plots\]'"):
            merged(tmp_path, histogram="h.png")


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"include": "a,none"}, "none: no such folder"),
            ({"include": "a,a/train.rec"}, "are the same set"),
            ({"include": "a,odd"}, r"odd has images of 96x112 \(height x width\), .*a of 112x112"),
            ({"embed": None}, "--model: missing"),
            ({"embed": None, "param1": 0, "exclude": ["b"]}, "--model: missing"),
            ({"param1": 1.2}, "--param1 1.2: want a cosine from 0 to 1"),
            ({"param2": float("nan")}, "--param2 nan"),
            ({"param1": 0, "within": True}, "--within: compares by --param1"),
            ({"exclude": ["gone.bin"]}, "gone.bin: no such folder, .rec file"),
            ({"exclude": ["a/property"]}, "property: "),
            ({"output": "b", "overwrite": True}, "--output .*b: is the folder of .*train.rec"),
            ({"histogram": "h.pdf"}, "the suffix determines the format; want .png or .svg"),
        ],
    )
    def test_is_told(self, two, tmp_path, options, message):
        write_set(tmp_path / "odd", [[at(0)]], size=(96, 112))
        with pytest.raises(InsightError, match=message):
            merged(tmp_path, **options)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("value", [0.0, np.nan])
    def test_embeddings_without_a_direction(self, two, tmp_path, value):
        def embed(path):
            yield np.ones((1, 4), np.float32)
            yield np.array([[1, 1, 1, 1], [value] * 4], np.float32)

        with pytest.raises(InsightError, match=r"a/train\.rec: the embedding of image 2 \(from 0\) is zero"):
            merged(tmp_path, embed=embed)


class TestBlocks:
    """The result does not depend on the size of the blocks."""

    @pytest.fixture
    def unit(self):
        vectors = np.random.default_rng(0).standard_normal((90, 6)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    @pytest.mark.parametrize(("queries", "targets"), [(1, 1), (7, 5), (40, 16), (1000, 1000)])
    def test_nearest(self, unit, monkeypatch, queries, targets):
        monkeypatch.setattr(centres, "QUERY_ROWS", queries)
        monkeypatch.setattr(centres, "TARGET_ROWS", targets)
        eligible = np.arange(50) % 3 > 0
        index, cosine = nearest(unit[50:], unit[:50], eligible)
        for i, vector in enumerate(unit[50:]):
            best = max((j for j in range(50) if j % 3), key=lambda j: float(vector @ unit[j]))
            assert (index[i], cosine[i]) == (best, pytest.approx(float(vector @ unit[best]), abs=1e-6))

    def test_without_targets(self, unit):
        for targets, eligible in ((unit[:0], None), (unit[:5], np.zeros(5, bool))):
            index, cosine = nearest(unit, targets, eligible)
            assert set(index.tolist()) == {-1}
            assert set(cosine.tolist()) == {-np.inf}

    @pytest.mark.parametrize("rows", [1, 7, 1000])
    @pytest.mark.parametrize("within", [False, True])
    @pytest.mark.parametrize("pooled", [False, True])
    def test_matching(self, unit, monkeypatch, rows, within, pooled):
        monkeypatch.setattr(centres, "QUERY_ROWS", rows)
        eligible = np.arange(90) % 4 > 0
        eligible[30:] = False
        expected, kept = [], eligible.copy()
        for i in range(30, 90):
            known = [j for j in range(i if within else 30) if kept[j]]
            best = max(known, key=lambda j: float(unit[i] @ unit[j]))
            expected.append(best)
            kept[i] = pooled or float(unit[i] @ unit[best]) < 0.7
        result = match_earlier(unit, 30, 90, eligible, 0.7, within, pooled)
        assert result.index.tolist() == expected
        assert eligible.tolist() == kept.tolist()
        assert 0 < kept[30:].sum() < 60 or pooled


def test_command(two, tmp_path, insight):
    status, out, err = insight("dataset-merge", "--include", "a,b", "--output", "out", "--param1", "0")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "a: 2 identities, 3 images: 2 kept"
    status, out, err = insight("dataset-merge", "--include", "a,b", "--param1", "0", "--test", "5")
    assert (status, out.splitlines()[-1][:7]) == (0, "dry run")
    for arguments, message in (
        (("--output", "new"), "error: --model: missing, needed to compare identities"),
        (("--output", "out", "--param1", "0"), "error: out/train.rec: already exists"),
        (("--output", "new", "--modes", "1"), "error: unrecognized arguments: --modes 1"),
    ):
        status, out, err = insight("dataset-merge", "--include", "a,b", *arguments)
        assert (status, out, err[: len(message)]) == (2, "", message)
    assert not (tmp_path / "new").exists()


SHARED, OTHERS = 100, 200  # people in both sets; people in one of them, half of these in each


@pytest.fixture(scope="module")
def cut(real_data, tmp_path_factory):
    """Sets a and b of real faces on disjoint photographs; the shared people come first in both."""
    root = tmp_path_factory.mktemp("cut")
    photos = {}
    with tarfile.open(real_data / "data/lfw_dev.tar") as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".jpg"):
                photos.setdefault(Path(member.name).parent.name, []).append(tar.extractfile(member).read())
    rng = np.random.default_rng(0)
    shared = rng.permutation(sorted(name for name in photos if len(photos[name]) >= 4))[:SHARED]
    others = rng.permutation(sorted(set(photos) - set(shared)))[:OTHERS]
    for name, own, part in (("a", others[::2], slice(0, 2)), ("b", others[1::2], slice(2, 4))):
        people = [photos[person][part] for person in shared] + [photos[person][:2] for person in own]
        images = [(label, data) for label, person in enumerate(people) for data in person]
        with RecordWriter(str(root / f"{name}/train.rec")) as writer:
            for key, (label, data) in enumerate(images):
                writer.write(key, data, label, key)
        (root / name / "property").write_text(f"{len(people)},112,112")
    return root


def test_shared_people_among_real_faces(cut, model_y1):
    embed = remembered(embedder(",".join(map(str, model_y1)), None))
    result = {}
    for param1 in (0.3, 0.4, 0.5):
        options = {"dry_run": True, "report": str(cut / "what.csv"), "overwrite": True}
        merge([str(cut / "a"), str(cut / "b")], None, embed=embed, rules=Rules(param1), **options)
        table = [row for row in rows(cut / "what.csv") if row["set"] == str(cut / "b")]
        same, other = table[:SHARED], table[SHARED:]
        right = sum(row["decision"] == "drop" and row["nearest_label"] == row["label"] for row in same)
        result[param1] = right, sum(row["decision"] == "drop" for row in other)
    print(f"found of {SHARED}, dropped of {OTHERS // 2} others, by param1: {result}")
    assert any(right >= 0.97 * SHARED and wrong <= 0.01 * OTHERS / 2 for right, wrong in result.values())
    assert result[0.3][1] > result[0.5][1]  # 128 numbers: this network needs more than InsightFace's 0.3


def remembered(embed):
    """The same embeddings from a cache, without the network."""
    known = {}

    def again(path):
        if path not in known:
            known[path] = list(embed(path))
        return known[path]

    return again


class TestShards:
    """Sets in shards are merged and cleaned as those in one file; the result may be in shards, too."""

    def test_merge(self, tmp_path):
        write_set(tmp_path / "a", [[at(0), at(3)], [at(40)], [at(80), at(82), at(84)]])
        write_set(tmp_path / "b", [[at(1)], [at(120), at(122)], [at(160)]])
        in_shards(tmp_path / "a", tmp_path / "shards", [2, 5])
        options = {"embed": read_vectors, "rules": Rules(0.9, 0.9)}
        one = merge([str(tmp_path / "a"), str(tmp_path / "b")], str(tmp_path / "one"), **options)
        both = [str(tmp_path / "shards"), str(tmp_path / "b")]
        merge(both, str(tmp_path / "same"), **options)
        report = merge(both, str(tmp_path / "out"), shard_count=4, **options)
        for name in ("train.rec", "train.idx", "property"):
            assert (tmp_path / "same" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
        parts = sorted((tmp_path / "out").glob("train-*.rec"))
        assert (
            len(parts) == 4
            and b"".join(path.read_bytes() for path in parts) == (tmp_path / "one/train.rec").read_bytes()
        )
        assert report.lines()[-2] == one.lines()[-2].replace("one/train.rec", "out/train-*-of-00004.rec")
        assert payloads_of(tmp_path / "out") == payloads_of(tmp_path / "one")
        with pytest.raises(InsightError, match="--shards 11: .* has only 10 images"):
            merge(both, str(tmp_path / "no"), shard_count=11, **options)
        with pytest.raises(InsightError, match=r"train-00000-of-00004\.rec: already exists"):
            merge(both, str(tmp_path / "out"), **options)
        with pytest.raises(InsightError, match="which is being read"):
            merge(both, str(tmp_path / "shards"), overwrite=True, **options)

    def test_labels_that_float32_would_round(self, tmp_path, monkeypatch):
        """The writer of new sets leaves it to id2_of which labels are written exactly, as 2^24 identities are many."""
        monkeypatch.setattr("insight.sets.rewrite.id2_of", lambda label: 70 + label)
        write_set(tmp_path / "a", [[at(0), at(3)], [at(40)]])
        merge([str(tmp_path / "a")], str(tmp_path / "out"), embed=None, rules=Rules(0))
        with FaceSet.open(str(tmp_path / "out")) as faces:
            assert [faces.records.read(key).id2 for key in (1, 2, 3, 4, 0)] == [70, 70, 71, 0, 0]

    def test_clean(self, tmp_path):
        people = [[at(0), at(3), at(170)], [at(40), at(41)], [at(80), at(82), at(84)]]
        write_set(tmp_path / "a", people)
        in_shards(tmp_path / "a", tmp_path / "shards", [1, 6])
        reports = [
            clean(str(tmp_path / source), str(tmp_path / output), read_vectors, CleanRules(copy=2), shard_count=count)
            for source, output, count in (("a", "one", 1), ("shards", "out", 3))
        ]
        assert payloads_of(tmp_path / "out") == payloads_of(tmp_path / "one")
        assert reports[1].lines()[-2].startswith(f"{tmp_path}/out/train-*-of-00003.rec: 7 images + 3 identity records")
        assert (tmp_path / "out/clean.csv").read_bytes() == (tmp_path / "one/clean.csv").read_bytes()

    def test_people_are_found_by_runs(self, tmp_path):
        """Labels that occur in several runs, against a loop over the images."""
        labels = [3, 3, 1, 3, 0, 0, 1, 1, 5]
        write_set(tmp_path / "a", [(label, [at(i)]) for i, label in enumerate(labels)])
        (tmp_path / "a/property").write_text("6,112,112")
        with FaceSet.open(str(tmp_path / "a")) as faces:
            people = People.of(faces)
        assert people.labels.tolist() == [3, 1, 0, 5] and people.counts().tolist() == [3, 3, 2, 1]
        assert [people.images(k).tolist() for k in range(4)] == [[0, 1, 3], [2, 6, 7], [4, 5], [8]]
        assert people.rows(1, 8).tolist() == [0, 1, 0, 2, 2, 1, 1]
