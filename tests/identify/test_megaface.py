"""MegaFace on sets that are small enough to compute by hand."""

import numpy as np
import pytest

from insight.errors import InsightError
from insight.identify import megaface


def at(degrees):
    """Unit vectors in the plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_ranks_and_tar():
    """Identity 0 at 0 and 20 degrees, identity 1 at 90 and 140; distractors at 30, 100, 111 and 180.

    Searches: 0 finds 20 (nearest distractor 30): first. 20 finds 0, 20 off; 30 is 10 off: second. 90 finds 140,
    50 off; 100 and 111 are nearer: third. 140 finds 90, 50 off; 111 and 180 are 29 and 40 off, 100 is 40 off: fourth.
    """
    probes, identities, distractors = at([0, 20, 90, 140]) * 3, [0, 0, 1, 1], at([30, 100, 111, 180])
    found = megaface.evaluate(probes, identities, distractors, ranks=(1, 2, 3, 4), fars=(1 / 16, 3 / 16, 0.05))
    assert found.ranks == {1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0}
    assert (found.searches, found.impostor_pairs) == (4, 16)
    # Distractors are off by 10, 10, 21, 29, 30, 40, …; true pairs by 20 and 50. One may pass: but two are 10 off.
    assert found.tar == {1 / 16: 0.0, 3 / 16: 0.5, 0.05: None}
    without = megaface.evaluate(probes, identities, distractors, np.array([1, 0, 0, 0]), ranks=(1,), fars=(1 / 12,))
    assert without.ranks == {1: 0.5}  # without the one at 30, 20 finds 0 first
    assert without.impostor_pairs == 12


def test_noise_lists(tmp_path):
    (tmp_path / "fs").write_text("# remark\nAdam_Sandler_2.png\n\n")
    (tmp_path / "mf").write_text("1\t100/100@N0/1.jpg\n")
    assert megaface.read_noise_list(tmp_path / "fs") == {"Adam_Sandler_2.png"}
    names = megaface.read_noise_list(tmp_path / "mf")
    assert megaface.noisy(["root/100/100@N0/1.jpg", "100/100@N0/1.jpg", "1.jpg"], names).tolist() == [True, True, False]
    assert megaface.noisy(["x/Adam_Sandler_2.png", "Adam_Sandler_3.png"], {"Adam_Sandler_2.png"}).tolist() == [1, 0]
    for text in ("1 100/100@N0/1.jpg \r\n", '\ufeff1,"100/100@N0/1.jpg"\r', "100\\100@N0\\1.jpg\n \n"):
        (tmp_path / "mf").write_bytes(text.encode())
        names = megaface.read_noise_list(tmp_path / "mf")
        assert megaface.noisy(["root/100/100@N0/1.jpg", "1.jpg"], names).tolist() == [True, False]
    (tmp_path / "mf").write_bytes("# Windows\r\nAdam_Sandler_2.png\r\n".encode("utf-16"))
    assert megaface.read_noise_list(tmp_path / "mf") == {"Adam_Sandler_2.png"}
    (tmp_path / "empty").write_text("# nothing\n")
    for name, message in (("empty", "names no image"), ("gone", "no such file")):
        with pytest.raises(InsightError, match=message):
            megaface.read_noise_list(tmp_path / name)


@pytest.mark.parametrize("size", [2, 5])
def test_noisy_probes_are_replaced_by_their_identity(size):
    features = np.zeros((4, size), np.float32)
    features[[0, 1, 2, 3], [0, 1, 1, 0]] = 1, 1, 1, -1
    identities = [0, 0, 0, 1]
    cleaned = megaface.clean_probes(features, identities, [False, False, True, False])
    np.testing.assert_array_equal(cleaned[[0, 1, 3]], features[[0, 1, 3]])
    want = np.r_[np.full(2, 0.5**0.5), np.zeros(size - 2)]  # of (1, 1, 0 …), moved by at most 0.001 in each number
    np.testing.assert_allclose(cleaned[2], want, atol=1.1e-3)
    assert np.abs(cleaned[2] - want).max() > 1e-6
    assert np.linalg.norm(cleaned[2]) == pytest.approx(1)
    np.testing.assert_array_equal(cleaned, megaface.clean_probes(features, identities, [0, 0, 1, 0]))
    assert (cleaned != megaface.clean_probes(features, identities, [0, 0, 1, 0], seed=1)).any()
    both = megaface.clean_probes(features, identities, [0, 1, 1, 0])
    assert (both[1] != both[2]).any()  # not the same noise twice
    with pytest.raises(InsightError, match=r"probe 3 \(from 0\): all images of its identity 1 are noisy"):
        megaface.clean_probes(features, identities, [0, 0, 0, 1])


def test_features_for_the_devkit():
    features = np.eye(2, 3, dtype=np.float32)
    assert megaface.devkit_features(features, [False, True]).tolist() == [[1, 0, 0, 0], [0, 1, 0, 100]]
    assert megaface.devkit_features(features).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_fused_features():
    one = [np.array([[3.0, 0.0]]), np.array([[0.0, 4.0]])]
    assert megaface.fuse([one])[0] == pytest.approx([0.6, 0.8])
    assert megaface.fuse([one, [np.array([[0.0, 0.0, 2.0]])]])[0] == pytest.approx(
        np.array([0.6, 0.8, 0, 0, 1]) / 2**0.5
    )


def test_no_mates():
    with pytest.raises(InsightError, match="no identity has two images"):
        megaface.evaluate(at([0, 20]), [0, 1], at([30]))
    with pytest.raises(InsightError, match=r"gallery: want embeddings \(N, E\), at least one"):
        megaface.evaluate(at([0, 20]), [0, 0], at([30]), [True])
