"""IJB's templates, 1:1 and 1:N, computed by hand and against plain loops."""

import math

import numpy as np
import pytest

from insight.errors import InsightError
from insight.identify import ijb, ijb_search


def test_pooling():
    """Template 7: a photo (medium 1) and a video of two frames (medium 5); template 3: one photo, also medium 1."""
    features = np.array([[4.0, 0.0], [0.0, 2.0], [9.0, 9.0], [0.0, 4.0]])
    pooled = ijb.pool(features, [7, 7, 3, 7], [1, 5, 1, 5])
    assert pooled.numbers.tolist() == [3, 7]
    # 7: (4, 0) + ((0, 2) + (0, 4)) / 2 = (4, 3)
    np.testing.assert_allclose(pooled.features, [[0.5**0.5, 0.5**0.5], [0.8, 0.6]])
    assert ijb.compare(pooled, [7, 3], [3, 3]) == pytest.approx([1.4 * 0.5**0.5, 1.0])
    with pytest.raises(InsightError, match="template 4: has no image"):
        ijb.compare(pooled, [7], [4])
    with pytest.raises(InsightError, match="4 features, 1 templates and 4 media"):
        ijb.pool(features, [7], [1, 5, 5, 5])


def test_image_features():
    plain, mirrored = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 4.0], [0.0, 1.0]])
    assert ijb.image_features(plain).tolist() == plain.tolist()
    assert ijb.image_features(plain, mirrored, [0.5, 1]).tolist() == [[1.5, 2.0], [0.0, 2.0]]
    np.testing.assert_allclose(ijb.image_features(plain, mirrored, [0.5, 1], unit=True), [[0.3, 0.4], [0, 1]])
    assert plain[0, 0] == 2  # not changed


def test_tpr_by_hand():
    """In descending order: same, other, same, same, other, same; FPR 0, 1/2 and 1."""
    cosines, same = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [1, 0, 1, 1, 0, 1]
    found = ijb.tpr_at_fpr(cosines, same, (0.001, 0.4, 0.8))
    assert found == {0.001: (0.25, 0.0), 0.4: (0.75, 0.5), 0.8: (1.0, 1.0)}
    assert ijb.tpr_at_fpr([0.5, 0.5, 0.1], [1, 0, 0], (0.3,)) == {0.3: (1.0, 0.5)}  # a tie goes as a whole
    with pytest.raises(InsightError, match="all 2 pairs are of one kind"):
        ijb.tpr_at_fpr([0.1, 0.2], [True, True])


def test_tpr_is_read_at_the_corners_only():
    """Two impostors in a row: the point between them is on the line and not a candidate."""
    cosines, same = [0.9, 0.8, 0.7, 0.6], [1, 0, 0, 1]
    assert ijb.tpr_at_fpr(cosines, same, (0.45, 0.55)) == {0.45: (0.5, 0.0), 0.55: (1.0, 1.0)}


def reference(gallery, gallery_ids, probes, subjects, fpirs):
    """IJB_1N's figures by loops, for any number of probes whose subject is in the gallery."""
    before, own, others = [], [], []
    for probe, subject in zip(probes, subjects):
        scores = {gallery_id: float(face @ probe) for gallery_id, face in zip(gallery_ids, gallery)}
        if subject in scores:
            own.append(scores.pop(subject))
            before.append(sum(score >= own[-1] for score in scores.values()))
        others += scores.values()
    others.sort(reverse=True)
    tpir = {f: np.mean([score > others[math.ceil(f * len(own)) - 1] for score in own]) for f in fpirs}
    return {rank: np.mean([b < rank for b in before]) for rank in (1, 5, 10)}, tpir


def tiny_world():
    """Gallery, subjects, probes and their subjects; unit vectors of which some searches go wrong."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 8))
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    gallery, ids = unit(centres + 0.6 * rng.normal(size=(30, 8))), rng.permutation(100)[:30]
    indices = rng.integers(0, 30, 70)
    return gallery, ids, unit(centres[indices] + 0.8 * rng.normal(size=(70, 8))), ids[indices]


def test_identification():
    gallery, ids, probes, subjects = tiny_world()
    figures = ijb_search.identify(gallery, ids, probes, subjects)
    want = reference(gallery, ids, probes, subjects, (0.01, 0.1))
    assert (figures.ranks, figures.tpir) == (pytest.approx(want[0]), pytest.approx(want[1]))
    assert 0.3 < figures.ranks[1] < 1 and figures.tpir[0.01] < figures.tpir[0.1]


def test_identification_in_each_gallery():
    """Thresholds are the highest scores of the probes that belong into the other gallery."""
    gallery, ids, probes, subjects = tiny_world()
    halves = [(gallery[:15], ids[:15]), (gallery[15:], ids[15:])]
    each, both = ijb_search.identify_each(halves, probes, subjects, fpirs=(0.001, 0.1, 0.25))
    hits = dict.fromkeys((1, 5, 10), 0)
    for (faces, known), figures in zip(halves, each):
        mated = np.isin(subjects, known)
        ranks, _ = reference(faces, known, probes[mated], subjects[mated], ())
        assert figures.ranks == pytest.approx(ranks)
        tops = sorted((probes[~mated] @ faces.T).max(1), reverse=True)
        for fpir, place in ((0.001, 0), (0.1, int(0.1 * len(tops)) - 1), (0.25, int(0.25 * len(tops)) - 1)):
            scores = probes[mated] @ faces.T
            own = np.array([row[known == subject][0] for row, subject in zip(scores, subjects[mated])])
            first = own >= scores.max(1)
            assert figures.tpir[fpir] == pytest.approx((first & (own > tops[place])).mean())
        for rank in hits:
            hits[rank] += ranks[rank] * mated.sum()
    assert both.ranks == pytest.approx({rank: count / 70 for rank, count in hits.items()})
    assert both.tpir[0.1] == pytest.approx((each[0].tpir[0.1] + each[1].tpir[0.1]) / 2)
    assert 0 < both.tpir[0.001] < both.tpir[0.25] < 1


def test_no_stranger_to_measure_with():
    gallery, ids, probes, subjects = tiny_world()
    each, both = ijb_search.identify_each([(gallery, ids)], probes, subjects)
    assert (each[0].tpir, both.tpir) == ({0.01: None, 0.1: None},) * 2


def test_identification_errors():
    axes = np.eye(3)
    for search in (ijb_search.identify, lambda g, i, p, s: ijb_search.identify_each([(g, i)], p, s)):
        with pytest.raises(InsightError, match="gallery: subject 5 has 2 templates; want one each"):
            search(axes, [5, 5, 6], axes, [5, 6, 6])
        with pytest.raises(InsightError, match="gallery: has none of the probes' subjects; want a gallery"):
            search(axes, [1, 2, 3], axes, [5, 6, 6])


def test_pooling_in_blocks(monkeypatch):
    """The same templates whatever the size of the blocks, which end with a template."""
    rng = np.random.default_rng(3)
    templates, media = rng.integers(0, 9, 60), rng.integers(0, 4, 60)
    plain, mirrored, scores = rng.normal(size=(60, 5)), rng.normal(size=(60, 5)), rng.uniform(0.2, 1, 60)
    want = ijb.pool(ijb.image_features(plain, mirrored, scores, unit=True), templates, media)
    for size in (1, 7, 30, 60, 100):
        monkeypatch.setattr(ijb, "IMAGES", size)
        pooled = ijb.pool_images(plain, mirrored, scores, templates, media, unit=True)
        assert pooled.numbers.tolist() == want.numbers.tolist()
        np.testing.assert_allclose(pooled.features, want.features, atol=1e-12)
    for rows in (plain, mirrored):
        rows[17, 2] = np.inf
        with pytest.raises(InsightError, match=r"embedding 17 \(from 0\) is zero or not finite"):
            ijb.pool_images(plain, mirrored, scores, templates, media)
        rows[17, 2] = 0


def test_area_under_the_roc():
    """The share of genuine and impostor pairs in the right order; ties count half."""
    cosines, same = np.array([0.9, 0.8, 0.7, 0.7, 0.2]), np.array([1, 0, 1, 0, 1], bool)
    order = [np.sign(a - b) / 2 + 0.5 for a in cosines[same] for b in cosines[~same]]
    assert ijb.auc(cosines, same) == pytest.approx(np.mean(order))


def test_lists(tmp_path):
    (tmp_path / "media").write_text("1.jpg 7 69544\n2.jpg 8 -3\n")
    (tmp_path / "pairs").write_text("1 11065 1\n1 11066 0\n")
    (tmp_path / "subjects").write_text("TEMPLATE_ID,SUBJECT_ID,FILENAME\n3,201,img/1.jpg\n")
    assert [x.tolist() for x in ijb.read_media(tmp_path / "media")] == [[7, 8], [69544, -3]]
    assert [x.tolist() for x in ijb.read_pairs(tmp_path / "pairs")] == [[1, 1], [11065, 11066], [True, False]]
    assert [x.tolist() for x in ijb.read_subjects(tmp_path / "subjects")] == [[3], [201]]
    with pytest.raises(
        InsightError, match="media:1: want lines 'template,subject', whole numbers; found '1.jpg 7 69544'"
    ):
        ijb.read_subjects(tmp_path / "media")
    with pytest.raises(InsightError, match="gone: no such file; want lines 'image template medium'"):
        ijb.read_media(tmp_path / "gone")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n\n"])
@pytest.mark.parametrize("separator", [" ", "\t", ",", "  "])
def test_plain_variations_of_lists(tmp_path, encoding, ending, separator):
    def written(*lines):
        text = ending.join(line.replace(" ", separator) for line in lines) + ending
        (tmp_path / "list").write_bytes(text.encode(encoding))
        return tmp_path / "list"

    want = [[7, 8], [69544, -3]]
    for heading in ([], ["image template medium"]):
        assert [x.tolist() for x in ijb.read_media(written(*heading, "1.jpg 7 69544", "2.jpg 8 -3"))] == want
        assert [x.tolist() for x in ijb.read_media(written(*heading, "1.jpg 7.0 69544 x", "2.jpg 08 -3 y"))] == want
    for heading in ([], ["first second same"]):
        found = ijb.read_pairs(written(*heading, "1 11065 1", "1 11066 0"))
        assert [x.tolist() for x in found] == [[1, 1], [11065, 11066], [True, False]]
    for heading in ([], ["TEMPLATE_ID SUBJECT_ID FILENAME"]):
        assert [x.tolist() for x in ijb.read_subjects(written(*heading, "3 201 img/1.jpg"))] == [[3], [201]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list: empty; want lines 'template template same'"),
        ("first second same\n", "list: empty"),
        ("1 2 1\n1 2\n", "list:2: want lines 'template template same', whole numbers; found '1 2'"),
        ("1 2 1\n1 2.5 1\n", "list:2: want lines"),
        ("1 2 1\n1 two 1\n", "list:2: want lines"),
        ("1 two 1\n1 2 1\n", "list:1: want lines"),
        (f"1 2 1\n1 {10**30} 1\n", "list:2: want lines"),
        ("1 2 1\n1 3 2\n", "list: pair 2: want lines 'template template same', same 1 or 0; found 2"),
    ],
)
def test_invalid_lists_of_pairs(tmp_path, text, message):
    (tmp_path / "list").write_text(text)
    with pytest.raises(InsightError, match=message):
        ijb.read_pairs(tmp_path / "list")
