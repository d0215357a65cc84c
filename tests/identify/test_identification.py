"""1:N search against a slow reference, at block boundaries, and on known cases."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.cli import run_command
from insight.errors import InsightError
from insight.faces.embed import Embedded, save
from insight.formats.evalbin import write_bin
from insight.identify import search
from insight.identify.identification import identify, match_identities, report, threshold_at


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow(gallery, gallery_ids, probes, probe_ids, ranks, fpirs):
    """All definitions by loops: ({rank: share}, {fpir: (threshold, false positives, tpir)})."""
    places, best_other_of_unmated, mates = [], [], []
    for probe, identity in zip(unit(probes), probe_ids):
        per_identity = {}
        for number, (face, of) in enumerate(zip(unit(gallery), gallery_ids)):
            name = ("distractor", number) if of == -1 else of
            per_identity[name] = max(per_identity.get(name, -9), float(face @ probe))
        mate = None if identity == -1 else per_identity.pop(identity, None)
        if mate is None:
            best_other_of_unmated.append(max(per_identity.values()))
        else:
            places.append(1 + sum(score >= mate for score in per_identity.values()))
            mates.append(mate)
    closed = {rank: np.mean([place <= rank for place in places]) for rank in ranks}
    opened = {}
    falling = sorted(best_other_of_unmated, reverse=True)
    for fpir in fpirs:
        allowed = sum(1 for n in range(1, len(falling) + 1) if n / len(falling) <= fpir + 1e-12)
        if allowed:
            threshold = falling[allowed] if allowed < len(falling) else -np.inf
            hits = [place == 1 and mate > threshold for place, mate in zip(places, mates)]
            opened[fpir] = threshold, sum(score > threshold for score in falling), np.mean(hits)
    return closed, opened


def made(seed, faces, identities, probes, size=6):
    """Clustered embeddings; some gallery faces are distractors, some probes are not in the gallery."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities + 5, size))
    gallery_ids = rng.integers(-1, identities, faces)
    probe_ids = rng.integers(-1, identities + 5, probes)
    probe_ids[0] = gallery_ids[0] = 0
    rows = [
        centres[ids] * (ids >= 0)[:, None] + rng.normal(size=(len(ids), size)) * rng.uniform(0.5, 1)
        for ids in (gallery_ids, probe_ids)
    ]
    return rows[0].astype(np.float32), gallery_ids, rows[1].astype(np.float32), probe_ids


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 9), st.integers(1, 30), st.integers(1, 12))
def test_against_loops_in_blocks_of_any_size(seed, faces, identities, probes, rows):
    sets = made(seed, faces, identities, probes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "GALLERY_ROWS", rows)
        patch.setattr(search, "PROBE_ROWS", 7)
        found = identify(*sets, ranks=(1, 2, 5), fpirs=(0.1, 0.5))
    closed, opened = slow(*sets, (1, 2, 5), (0.1, 0.5))
    assert found.ranks == pytest.approx(closed)
    measured = {row.fpir: row for row in found.open_set if row.threshold is not None}
    assert sorted(measured) == sorted(opened)
    for fpir, (threshold, false_positives, tpir) in opened.items():
        assert measured[fpir].threshold == pytest.approx(threshold, abs=1e-5)
        assert measured[fpir].false_positives == false_positives
        assert measured[fpir].tpir == pytest.approx(tpir)
    names = set(sets[1].tolist()) - {-1}
    assert found.identities == len(names) + (sets[1] == -1).sum()
    assert found.mated == sum(identity in names for identity in sets[3].tolist())


def test_a_known_case():
    """Four axes; the third probe is nearer to another identity than to its own, the last two are not known."""
    axes = np.eye(4, dtype=np.float32)
    probes = [axes[0] * 3, axes[1] + axes[2] / 4, axes[2] / 2 + axes[3], axes[3] + axes[0] / 2, axes[1] + axes[0]]
    found = identify(axes * [[1], [2], [3], [4]], [7, 8, 9, 5], np.array(probes), [7, 8, 9, -1, 99], (1, 2), (0.5, 0.1))
    assert found[:1] == ({1: pytest.approx(2 / 3), 2: 1.0},)
    half, tenth = found.open_set
    assert (half.threshold, half.false_positives) == (pytest.approx(0.5**0.5), 1)  # the other has 1 / sqrt(1.25)
    assert half.tpir == pytest.approx(2 / 3)
    assert tenth == (0.1, None, None, None)
    assert found[2:] == (4, 4, 3, 2)


def test_a_collapsed_network_identifies_nobody():
    one = np.ones((6, 4), np.float32)
    found = identify(one, np.arange(6), one, np.arange(6), ranks=(1, 5, 6))
    assert found.ranks == {1: 0.0, 5: 0.0, 6: 1.0}


def test_the_threshold_gives_its_own_rate():
    scores = np.random.default_rng(0).integers(0, 50, 1000) / 50.0  # many ties
    for allowed in (0, 1, 10, 999, 1000):
        threshold = threshold_at(scores, allowed)
        assert (scores > threshold).sum() <= allowed
        lower = scores[scores < threshold].max(initial=-1)
        assert threshold == -np.inf or (scores > lower).sum() > allowed


def test_the_highest_of_all_pairs(monkeypatch):
    gallery, gallery_ids, probes, probe_ids = made(3, 50, 4, 20)
    monkeypatch.setattr(search, "GALLERY_ROWS", 9)
    cosines = unit(gallery) @ unit(probes).T
    want = -np.sort(-cosines.ravel())[:30]
    np.testing.assert_allclose(search.highest(gallery, probes, 30), want, atol=1e-6)
    apart = (gallery_ids[:, None] != probe_ids) | (probe_ids == -1)
    want = -np.sort(-cosines[apart])
    np.testing.assert_allclose(search.highest(gallery, probes, 30, gallery_ids, probe_ids), want[:30], atol=1e-6)
    found = search.highest(gallery, probes, 5000, gallery_ids, probe_ids)
    np.testing.assert_allclose(found[: len(want)], want, atol=1e-6)


def test_memory_is_that_of_a_block(monkeypatch):
    """A gallery four times as large takes no more, for any order of its identities."""
    monkeypatch.setattr(search, "GALLERY_ROWS", 256)
    monkeypatch.setattr(search, "PROBE_ROWS", 128)
    rng = np.random.default_rng(0)
    probes, probe_ids = rng.normal(size=(256, 64)).astype(np.float32), np.arange(256)

    def peak(faces):
        gallery, ids = rng.normal(size=(faces, 64)).astype(np.float32), rng.permutation(faces)
        identify(gallery[:512], ids[:512] % 7, probes, probe_ids)  # what is loaded once is loaded
        tracemalloc.start()
        identify(gallery, ids, probes, probe_ids)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most / gallery.nbytes, most

    (_, small), (share, large) = peak(5000), peak(20000)
    assert large - small < 15000 * 100  # some numbers a face, of which an embedding is 256 bytes
    assert share < 0.75


def embedded(rows, keys, labels):
    return Embedded(np.asarray(rows, np.float32), np.array(keys), np.asarray(labels, np.int64))


def test_identities_are_folders_or_labels():
    gallery = embedded(np.eye(2), ["ann/1.jpg", "bob/1.jpg"], [0, 1])
    probes = embedded(np.eye(3), ["bob/2.jpg", "eve/x.png", "ann/2.jpg"], [0, 1, 2])
    ids = match_identities(gallery, probes)
    assert (ids[0].tolist(), ids[1].tolist()) == ([0, 1], [1, 2, 0])
    records = embedded(np.eye(2), ["1", "2"], [5, -1])
    assert [one.tolist() for one in match_identities(records, records)] == [[5, -1], [5, -1]]
    with pytest.raises(InsightError, match="identities are folders in one and labels only in the other"):
        match_identities(gallery, records)


def test_names_match_in_any_unicode_form():
    """In a tree copied from a Mac accents are separate characters; some names are not UTF-8."""
    gallery = embedded(np.eye(2), ["Jos\u00e9/1.jpg", "J\udce9r/1.jpg"], [0, 1])
    probes = embedded(np.eye(3), ["J\udce9r/2.jpg", "Jose/1.jpg", "Jose\u0301/1.jpg"], [0, 1, 2])
    ids = match_identities(gallery, probes)
    assert (ids[0].tolist(), ids[1].tolist()) == ([0, 1], [1, 2, 0])


def test_the_command(tmp_path, capsys):
    gallery, gallery_ids, probes, probe_ids = made(1, 60, 9, 80)
    for name, rows, ids in (("g", gallery, gallery_ids), ("p", probes, probe_ids)):
        save(tmp_path / f"{name}.npz", embedded(rows, [str(i) for i in range(len(ids))], ids))
    write_bin(tmp_path / "p.bin", [b"one", b"two"], [True])
    arguments = ["--gallery", str(tmp_path / "g.npz"), "--probes", str(tmp_path / "p.npz"), "--ranks", "1,3"]
    assert run_command("identification", [*arguments, "--json", str(tmp_path / "f.json")]) == 0
    out = capsys.readouterr().out
    found = identify(gallery, gallery_ids, probes, probe_ids, (1, 3))
    assert out == report(found) + "\n"
    assert f"rank-3: {found.ranks[3]:.5f}\n" in out
    assert f"not measurable, {found.unmated} probes outside the gallery; at least 1000 are needed" in out
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["ranks"]["1"] == found.ranks[1]
    assert figures["open_set"][0]["tpir"] == found.open_set[0].tpir
    for options, message in (
        (["--probes", str(tmp_path / "g.npz")], "is the gallery itself"),
        (["--probes", str(tmp_path)], "holds no folder with images"),
        (["--ranks", "one"], "--ranks one: want comma-separated numbers"),
        (["--ranks", "0"], "--ranks 0: want whole numbers, 1 or more"),
        (["--fpir", "1"], "--fpir 1.0: want a rate between 0 and 1"),
        (["--fpir", "nan"], "--fpir nan"),
        (["--probes", str(tmp_path / "p.bin")], "p.bin: has no identities"),
        (["--json", str(tmp_path)], f"--json {tmp_path}: a folder"),
        (["--json", str(tmp_path / "g.npz")], "g.npz: is an input, too"),
    ):
        assert run_command("identification", [*arguments, *options]) == 2
        assert message in capsys.readouterr().err


def test_a_rank_beyond_the_gallery_takes_no_memory():
    found = identify(np.eye(3), np.arange(3), np.eye(3)[::-1], np.arange(3), (1, 10**12))
    assert found.ranks == {1: 1 / 3, 10**12: 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gallery": np.zeros((2, 3))}, r"gallery: embedding 0 \(from 0\) is zero or not finite"),
        ({"probes": [[1, 0, 0], [np.nan, 0, 0]]}, r"probes: embedding 1 \(from 0\)"),
        ({"probes": np.ones((2, 4))}, "gallery: embeddings of 3 numbers, but 4 in the probes"),
        ({"probes": np.ones((0, 3)), "probe_ids": []}, r"probes: want embeddings \(N, E\), at least one"),
        ({"probe_ids": [1]}, "probes: 2 embeddings and 1 identities"),
        ({"gallery_ids": [0, -2]}, "gallery: identity -2; want numbers from 0, or -1"),
        ({"probe_ids": [-1, 9]}, "none of them has an identity of the gallery"),
    ],
)
def test_bad_input(change, message):
    sets = {"gallery": np.eye(2, 3), "gallery_ids": [0, 1], "probes": np.eye(2, 3), "probe_ids": [0, 1], **change}
    sets = {name: np.asarray(value) for name, value in sets.items()}
    with pytest.raises(InsightError, match=message):
        identify(**sets)
