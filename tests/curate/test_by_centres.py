"""Cleaning by the class centres of a training: votes, angles, complete sets, and which checkpoints it takes."""

import numpy as np
import pytest
from small_sets import at, payloads_of, read_vectors, write_set
from written_files import names, rows

from insight.curate.by_centres import CentreRules
from insight.curate.clean import clean
from insight.errors import InsightError
from insight.formats.faceset import FaceSet


def rules(*identities, **options):
    """Each identity's centres."""
    return CentreRules(np.stack([np.stack(centres) for centres in identities]).astype(np.float32), **options)


def plain_judge(rows, centres, angle):
    """(position of the dominant centre, kept), image by image in double precision."""
    unit = [centre / np.linalg.norm(centre) for centre in centres.astype(np.float64)]
    votes = [int(np.argmax([row @ centre for centre in unit])) for row in rows]
    share = {k: (votes.count(k), sum(row @ unit[k] for row, vote in zip(rows, votes) if vote == k)) for k in set(votes)}
    dominant = max(share, key=share.get)
    return dominant, [bool(np.degrees(np.arccos(np.clip(row @ unit[dominant], -1, 1))) <= angle) for row in rows]


class TestOneIdentity:
    def test_against_a_loop_over_the_images(self):
        for seed in range(200):
            draw = np.random.default_rng(seed)
            count, centres, size = draw.integers(1, 12), draw.integers(1, 5), 6
            images = draw.normal(size=(count, size)) + draw.normal(size=size)
            images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float32)
            own = draw.normal(size=(2, centres, size)).astype(np.float32)
            angle = draw.uniform(20, 120)
            verdict = CentreRules(own, angle).judge(1, images)
            dominant, kept = plain_judge(images, own[1], angle)
            assert [reason == "" for reason in verdict.reason] == kept
            unit = own[1, dominant] / np.linalg.norm(own[1, dominant])
            np.testing.assert_allclose(verdict.cosine, images @ unit, atol=1e-5)
            assert [group.tolist() for group in verdict.groups] == (
                [np.flatnonzero(kept).tolist()] if any(kept) else []
            )

    def test_most_images_win_whatever_the_order_of_the_centres(self):
        images = np.stack([at(0), at(5), at(10), at(0, 1), at(5, 1)])
        for order in ((0, 1), (1, 0)):
            both = [[at(5), at(0, 1)][i] for i in order]
            verdict = rules(both).judge(0, images)
            assert verdict.reason == ["", "", "", "far from centre", "far from centre"]
            assert verdict.person.tolist() == [0, 0, 0, 1, 1]
            assert verdict.people == 1

    def test_of_centres_with_as_many_images_that_with_the_closer_ones(self):
        images = np.stack([at(20), at(2, 1)])
        assert rules([at(0), at(0, 1)]).judge(0, images).reason == ["far from centre", ""]

    def test_the_angle_is_in_degrees(self):
        images = np.stack([at(0), at(74), at(76)])
        assert rules([at(0), at(180)]).judge(0, images).reason == ["", "", "far from centre"]
        assert rules([at(0), at(180)], angle=80).judge(0, images).reason == [""] * 3

    def test_lengths_of_centres_do_not_matter(self):
        images = np.stack([at(0), at(60), at(60)])
        cosines = rules([100 * at(0), 0.01 * at(60)]).judge(0, images).cosine
        assert cosines.tolist() == pytest.approx([0.5, 1, 1], abs=1e-6)

    def test_copies_are_kept_without_a_threshold_and_have_no_vote_with_one(self):
        images = np.stack([at(0, 1), at(0, 1), at(0, 1), at(0), at(9)])
        centres = [at(5), at(0, 1)]
        assert rules(centres).judge(0, images).reason == ["", "", "", "far from centre", "far from centre"]
        verdict = rules(centres, copy=0.999).judge(0, images)
        assert verdict.reason == ["far from centre", "copy", "copy", "", ""]
        assert verdict.copy_of.tolist() == [-1, 0, 0, -1, -1]


@pytest.fixture
def noisy(tmp_path):
    """Three identities: four images and one of another, all of others, a pair."""
    people = [
        (0, [at(0), at(10), at(20), at(30), at(0, 1)]),
        (1, [at(0, 3), at(10, 3)]),
        (2, [at(0, 2), at(10, 2)]),
    ]
    return write_set(tmp_path / "set", people)


CENTRES = ([at(15), at(0, 1)], [at(0), at(0, 2)], [at(5, 2), at(-90, 1)])


def cleaned(tmp_path, output="out", **options):
    where = None if output is None else str(tmp_path / output)
    return clean(str(tmp_path / "set"), where, read_vectors, rules(*CENTRES), **options)


class TestSet:
    def test_a_set_without_its_noise(self, noisy, tmp_path):
        report = cleaned(tmp_path)
        assert payloads_of(tmp_path / "out") == [noisy[0][:4], noisy[2]]
        assert (tmp_path / "out/property").read_text() == "2,112,112"
        assert report.lines() == [
            f"{tmp_path}/set: 9 images of 3 identities: 6 kept; 3 far from the centre of most, 0 copies",
            "identities without a remaining image: 1",
            f"{tmp_path}/out/train.rec: 6 images + 2 identity records + 1 header = 9 records; property 2,112,112",
            f"decisions: {tmp_path}/out/clean.csv",
        ]
        table = rows(tmp_path / "out/clean.csv")
        assert [row["new_label"] for row in table] == ["0"] * 4 + [""] * 3 + ["1"] * 2
        far = {"decision": "drop", "reason": "far from centre", "copy_of": "", "new_label": ""}
        assert table[4] == {"key": "5", "label": "0", "person": "1", "cosine": "0.0000", **far}

    def test_a_dry_run_writes_nothing(self, noisy, tmp_path):
        cleaned(tmp_path, None, dry_run=True, report=str(tmp_path / "what.csv"))
        assert names(tmp_path) == ["set", "what.csv"]
        cleaned(tmp_path)
        assert (tmp_path / "what.csv").read_bytes() == (tmp_path / "out/clean.csv").read_bytes()

    def test_a_set_of_another_number_of_identities_is_refused_before_the_work(self, noisy, tmp_path):
        def embed(path):
            raise AssertionError("embedded")

        other = rules(*CENTRES, [at(0), at(1)], source="--by-centres k3,1")
        with pytest.raises(
            InsightError, match="^--by-centres k3,1: has centres of 4 identities, .*set/train.rec has 3"
        ):
            clean(str(tmp_path / "set"), str(tmp_path / "out"), embed, other)
        assert not (tmp_path / "out").exists()

    def test_a_set_that_the_log_does_not_name_is_refused(self, noisy, tmp_path):
        with FaceSet.open(str(tmp_path / "set")) as faces:
            rules(*CENTRES, trained_on=faces.fingerprint()).check_set(faces)
            with pytest.raises(
                InsightError, match=r"^k3,1: was trained on another set than .*set/train.rec, as its log"
            ):
                rules(*CENTRES, source="k3,1", trained_on="4a66").check_set(faces)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"angle": 0}, "--angle 0: want degrees above 0"),
            ({"angle": 181}, "--angle 181: want degrees above 0, 180 at most"),
            ({"copy": 3}, "--copy 3: want a cosine from -1 to 2"),
        ],
    )
    def test_bad_values(self, options, message):
        with pytest.raises(InsightError, match=message):
            rules(*CENTRES, **options).check()

    def test_centres_that_are_not_finite(self):
        with pytest.raises(InsightError, match="k3,1: its class centres are not finite"):
            rules([np.array([np.nan, 0])], source="k3,1").check()
