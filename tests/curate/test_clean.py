"""Cleaning: the mathematics of one identity, then complete sets."""

import os

import numpy as np
import pytest
from small_sets import at, payloads_of, read_vectors, write_set
from written_files import names, rows

from insight.curate.centres import People
from insight.curate.clean import CleanRules, clean, identities
from insight.curate.outliers import copies, people, robust_centre
from insight.errors import InsightError
from insight.formats.faceset import FaceSet

NO_COPIES = 2.0


def around(angle, count, plane=0, spread=2.0):
    """``count`` directions, ``spread`` degrees apart, about an angle."""
    return [at(angle + spread * (i - (count - 1) / 2), plane) for i in range(count)]


def crowd(seed, count, noise, width=32):
    """(count, width) directions about a random one."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal(width) + noise * rng.standard_normal((count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class TestOneIdentity:
    def test_strangers_do_not_change_the_centre(self):
        own = crowd(0, 11, 0.4)
        alone = robust_centre(own)
        with_strangers = np.concatenate([crowd(s, 1, 0) for s in range(1, 10)] + [own])
        moved = with_strangers.mean(0)
        assert robust_centre(with_strangers) @ alone > 0.97
        assert robust_centre(with_strangers) @ alone > moved @ alone / np.linalg.norm(moved)

    def test_the_centre_of_a_few(self):
        np.testing.assert_allclose(robust_centre(np.stack([at(30)])), at(30), atol=1e-6)
        np.testing.assert_allclose(robust_centre(np.stack([at(0), at(60)])), at(30), atol=1e-6)
        np.testing.assert_allclose(robust_centre(np.stack([at(0), at(10), at(90)])), at(5), atol=1e-6)

    def test_copies_refer_to_an_earlier_image_that_is_kept(self):
        rows = np.stack([at(0), at(90), at(10), at(20), at(92)])  # cosine of 10 degrees: 0.985
        assert copies(rows, 0.98).tolist() == [-1, -1, 0, -1, 1]
        assert copies(rows, 0.9).tolist() == [-1, -1, 0, 0, 1]
        assert copies(rows, NO_COPIES).tolist() == [-1] * 5

    def test_one_person_is_not_divided(self):
        for seed in range(5):
            assert [len(g) for g in people(crowd(seed, 40, 1.0), 0.3, 3)] == [40]

    @pytest.mark.parametrize("sizes", [(5, 3), (30, 30), (20, 4, 3), (3, 50)])
    def test_people_are_separated(self, sizes):
        rows = np.concatenate([crowd(s, size, 0.5) for s, size in enumerate(sizes)])
        owner = np.repeat(np.arange(len(sizes)), sizes)
        order = np.random.default_rng(9).permutation(len(rows))
        groups = people(rows[order], 0.3, 3)
        assert [len(group) for group in groups] == sorted(sizes, reverse=True)
        for group in groups:
            assert len(set(owner[order][group])) == 1

    def test_a_few_strangers_are_not_a_person_and_hide_none(self):
        rows = np.concatenate([crowd(0, 12, 0.5), crowd(1, 6, 0.5), crowd(2, 2, 0.1), crowd(3, 1, 0)])
        groups = people(rows, 0.3, 3)
        assert len(groups) == 2
        assert set(range(12)) <= set(groups[0].tolist())
        assert set(range(12, 18)) <= set(groups[1].tolist())
        assert sorted(np.concatenate(groups).tolist()) == list(range(21))

    def test_a_stranger_that_is_separated_first_hides_no_person(self):
        rows = np.stack([*around(0, 4), *around(80, 4), at(220)])  # two means give the stranger, and all others
        assert [len(group) for group in people(rows, 0.3, 3)] in ([5, 4], [4, 5])
        assert len(people(rows, 0.3, 1)) == 3

    def test_two_similar_groups_are_one_person(self):
        rows = np.stack(around(0, 4) + around(60, 4))
        assert len(people(rows, 0.3, 3)) == 1  # cosine 0.5
        assert len(people(rows, 0.6, 3)) == 2


@pytest.fixture
def noisy(tmp_path):
    """Label 4: five images, a copy and a stranger. 7: four images and three of another. 9: a pair. 12: one image."""
    people = [
        (4, [*around(0, 5, spread=9), at(-18), at(0, 1)]),
        (7, [*around(0, 4, 2, spread=9), *around(0, 3, 3, spread=9)]),
        (9, [at(0), at(80)]),
        (12, [at(45, 3)]),
    ]
    return write_set(tmp_path / "set", people)


RULES = {"copy": 0.999}  # 9 degrees: 0.988


def cleaned(tmp_path, output="out", dry_run=False, embed=read_vectors, report=None, overwrite=False, **rules):
    where = None if output is None else str(tmp_path / output)
    return clean(str(tmp_path / "set"), where, embed, CleanRules(**{**RULES, **rules}), dry_run, report, overwrite)


class TestSet:
    def test_the_default(self, noisy, tmp_path):
        report = cleaned(tmp_path)
        assert payloads_of(tmp_path / "out") == [noisy[0][:5], noisy[1][:4], noisy[2], noisy[3]]
        assert names(tmp_path / "out") == ["clean.csv", "property", "train.idx", "train.rec"]
        assert (tmp_path / "out/property").read_text() == "4,112,112"
        assert report.lines() == [
            f"{tmp_path}/set: 17 images of 4 identities: 12 kept; 1 far from their centre, 3 of a second person, "
            "1 copies",
            "identities that are two people or more: 1 (labels 7)",
            f"{tmp_path}/out/train.rec: 12 images + 4 identity records + 1 header = 17 records; property 4,112,112",
            f"decisions: {tmp_path}/out/clean.csv",
        ]

    def test_each_image_is_in_the_report(self, noisy, tmp_path):
        cleaned(tmp_path)
        table = rows(tmp_path / "out/clean.csv")
        assert [row["key"] for row in table] == [str(key) for key in range(1, 18)]
        nothing = {"reason": "", "copy_of": ""}
        assert table[2] == {
            **{"key": "3", "label": "4", "person": "0", "decision": "keep", "new_label": "0"},
            **{"cosine": table[2]["cosine"], **nothing},
        }
        assert float(table[2]["cosine"]) > 0.98
        copy = {"key": "6", "label": "4", "person": "0", "decision": "drop", "reason": "copy", "cosine": "1.0000"}
        assert table[5] == {**copy, "copy_of": "1", "new_label": ""}
        far = {"key": "7", "label": "4", "person": "0", "decision": "drop", "reason": "far", "cosine": "0.0000"}
        assert table[6] == {**far, "copy_of": "", "new_label": ""}
        second = {"key": "12", "label": "7", "person": "1", "decision": "drop", "reason": "second person"}
        assert table[11] == {**second, "cosine": "0.0000", "copy_of": "", "new_label": ""}
        assert [row["new_label"] for row in table[14:]] == ["2", "2", "3"]

    def test_two_people_can_be_split_or_kept(self, noisy, tmp_path):
        cleaned(tmp_path, "split", on_two="split")
        one, two = noisy[1][:4], noisy[1][4:]
        assert payloads_of(tmp_path / "split") == [noisy[0][:5], one, two, noisy[2], noisy[3]]
        table = rows(tmp_path / "split/clean.csv")
        assert [row["new_label"] for row in table[7:14]] == ["1"] * 4 + ["2"] * 3
        assert min(float(row["cosine"]) for row in table[7:14]) > 0.9  # each to its own centre
        report = cleaned(tmp_path, "keep", on_two="keep")
        assert payloads_of(tmp_path / "keep") == [noisy[0][:5], noisy[1], noisy[2], noisy[3]]
        assert report.several == [7]

    def test_thresholds_can_be_turned_off(self, noisy, tmp_path):
        report = cleaned(tmp_path, threshold=-1, copy=NO_COPIES, apart=-1)
        assert payloads_of(tmp_path / "out") == noisy
        assert report.lines()[0].endswith("17 kept; 0 far from their centre, 0 of a second person, 0 copies")

    def test_nothing_is_dropped_for_its_size(self, tmp_path):
        payloads = write_set(tmp_path / "set", [around(0, 300, spread=0.1), [at(0, 1)]])
        cleaned(tmp_path, copy=NO_COPIES)
        assert payloads_of(tmp_path / "out") == payloads

    def test_an_identity_without_a_remaining_image(self, tmp_path):
        payloads = write_set(tmp_path / "set", [[at(0), at(170)], [at(0, 1)]])
        report = cleaned(tmp_path)  # cosine to the centre between: cos 85 = 0.09
        assert payloads_of(tmp_path / "out") == payloads[1:]
        assert "identities without a remaining image: 1" in report.lines()

    def test_no_identity_left(self, tmp_path):
        write_set(tmp_path / "set", [[at(0), at(170)]])
        with pytest.raises(InsightError, match="out: no identity is left"):
            cleaned(tmp_path)
        assert names(tmp_path) == ["set"]

    def test_labels_in_several_runs_are_judged_together(self, tmp_path):
        runs = [(3, around(0, 2)), (1, [at(0, 1)]), (3, [at(5), at(0, 2)]), (1, [at(1, 1)])]
        payloads = write_set(tmp_path / "set", runs, indexed=False)
        cleaned(tmp_path, copy=NO_COPIES)
        assert payloads_of(tmp_path / "out") == [payloads[0] + payloads[2][:1], payloads[1] + payloads[3]]

    def test_payloads_that_are_not_images_raise_before_the_work(self, tmp_path):
        def embed(path):
            raise AssertionError("embedded")

        write_set(tmp_path / "set", [[at(0), b""], [b"GIF89a"]])
        with pytest.raises(
            InsightError, match=r"2 payloads are not images \(keys 2, 3\), .*; `insight dataset-repair "
        ):
            clean(str(tmp_path / "set"), str(tmp_path / "out"), embed)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("batch", [1, 2, 5, 100])
    def test_batches_do_not_matter(self, noisy, tmp_path, batch):
        with FaceSet.open(str(tmp_path / "set")) as faces:
            owner = People.of(faces)
            rows = np.arange(len(faces) * 2, dtype=np.float32).reshape(-1, 2)
            embeddings = dict(identities(owner, (rows[i : i + batch] for i in range(0, len(rows), batch))))
        assert sorted(embeddings) == [0, 1, 2, 3]
        np.testing.assert_array_equal(np.concatenate([embeddings[k] for k in range(4)]), rows)

    def test_a_dry_run_writes_nothing(self, noisy, tmp_path):
        report = cleaned(tmp_path, None, dry_run=True)
        assert names(tmp_path) == ["set"]
        assert report.lines()[-1].startswith("dry run, no set is written: 12 images + 4 identity records")
        cleaned(tmp_path, None, dry_run=True, report=str(tmp_path / "what.csv"))
        cleaned(tmp_path)
        assert (tmp_path / "what.csv").read_bytes() == (tmp_path / "out/clean.csv").read_bytes()

    def test_a_failure_leaves_no_set(self, noisy, tmp_path, monkeypatch):
        real = os.replace

        def replace(source, target):
            if os.path.basename(target) == "property":
                raise OSError(5, "pulled out")
            real(source, target)

        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(OSError, match="pulled out"):
            cleaned(tmp_path)
        monkeypatch.undo()
        with pytest.raises(InsightError, match="killed before it had finished"):
            FaceSet.open(str(tmp_path / "out"))

        def dies(path):
            yield next(iter(read_vectors(path)))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cleaned(tmp_path, "new", embed=dies)
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"threshold": 1.5}, "--threshold 1.5: want a cosine from -1 to 1"),
            ({"smallest": 0}, "--smallest 0: must be at least 1"),
            ({"output": None}, "--output: missing"),
            ({"output": "set", "overwrite": True}, "--output .*set: is the folder of"),
            ({"output": "old"}, "old/train.rec: already exists"),
        ],
    )
    def test_bad_input_raises(self, noisy, tmp_path, options, message):
        write_set(tmp_path / "old", [[at(0)]])
        with pytest.raises(InsightError, match=message):
            cleaned(tmp_path, **options)


def test_command(noisy, tmp_path, insight):
    status, out, err = insight("dataset-clean", "set", "--model", "none,0", "--output", "out")
    assert (status, out) == (2, "")
    assert "none" in err
    assert not (tmp_path / "out").exists()
