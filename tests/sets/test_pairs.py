"""Pairs: drawn evenly, by seed, within bounds; or read from a file."""

import csv
import os
import subprocess
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_faces import encode, face

from insight.errors import InsightError
from insight.formats.evalbin import read_bin
from insight.sets.pairfile import read_pairs
from insight.sets.pairplan import _unrank, plan_pairs
from insight.sets.pairs import make_bin
from insight.sets.scan import folder_to_lists
from insight.verify.verification import load_set, pair_set, verify


def check_plan(counts, pairs, folds, seed=0):
    plan = plan_pairs(counts, pairs, folds, seed)
    people_of, seen = [], set()
    assert len(plan.genuine) == len(plan.impostor) <= folds
    assert 1 <= plan.quota
    assert 2 * plan.quota * len(plan.genuine) <= pairs
    for genuine, impostor in zip(plan.genuine, plan.impostor):
        assert min(len(genuine), len(impostor)) >= plan.quota
        assert (genuine[:, 0] == genuine[:, 2]).all()
        assert (impostor[:, 0] != impostor[:, 2]).all()
        for a, i, b, j in np.concatenate([genuine, impostor]).tolist():
            assert 0 <= i < counts[a]
            assert 0 <= j < counts[b]
            pair = frozenset([(a, i), (b, j)])
            assert len(pair) == 2
            assert pair not in seen
            seen.add(pair)
        people_of.append({int(p) for rows in (genuine, impostor) for p in rows[:, [0, 2]].ravel()})
    for one, other in combinations(people_of, 2):
        assert not one & other, "a person is in two folds"
    return plan


@settings(max_examples=150, deadline=None)
@given(
    counts=st.lists(st.integers(0, 12), min_size=2, max_size=60),
    pairs=st.integers(2, 400),
    folds=st.integers(1, 12),
    seed=st.integers(0, 5),
)
def test_every_plan_is_sound(counts, pairs, folds, seed):
    if sum(c > 0 for c in counts) < 2 or max(counts) < 2:
        with pytest.raises(InsightError, match="pairs need two people, and one with two images"):
            plan_pairs(counts, pairs, folds, seed)
    else:
        check_plan(counts, pairs, folds, seed)


def test_enough_people_give_the_requested_pairs():
    plan = check_plan([6] * 200, 600, 10)
    assert (len(plan.genuine), plan.quota) == (10, 30)
    shares = Counter(int(p) for rows in plan.genuine for p in rows[: plan.quota, 0])
    assert max(shares.values()) - min(shares.values()) <= 1, "some people give more pairs than others"
    impostors = Counter(int(p) for rows in plan.impostor for p in rows[: plan.quota, [0, 2]].ravel())
    assert len(impostors) > 180


def test_people_with_very_many_images_do_not_dominate():
    plan = check_plan([500] * 10 + [2] * 100, 6000, 10)
    assert plan.quota >= 10
    for rows in plan.genuine:
        assert Counter(rows[: plan.quota, 0].tolist()).most_common(1)[0][1] <= np.ceil(0.2 * plan.quota)


@pytest.mark.parametrize(
    ("counts", "pairs", "folds", "expected"),
    [
        ([2, 1], 6000, 10, (1, 1)),  # the smallest set there is
        ([2, 2], 6000, 10, (1, 2)),
        ([2, 2, 2, 2], 6000, 10, (2, 2)),
        ([50, 50], 6000, 10, (1, 2450)),  # 2 x 1225 genuine pairs, 2500 impostor
        ([3] * 5, 4, 10, (2, 1)),  # two folds of one pair each kind
        ([3] * 40, 3, 10, (1, 1)),
    ],
)
def test_few_people_and_few_pairs(counts, pairs, folds, expected):
    plan = check_plan(counts, pairs, folds)
    assert (len(plan.genuine), plan.quota) == expected


def test_seeds():
    plans = [plan_pairs([5] * 50, 200, 10, seed) for seed in (0, 0, 1)]
    same = [all(np.array_equal(a, b) for a, b in zip(plans[0].genuine, p.genuine)) for p in plans]
    assert same == [True, True, False]


def test_people_with_millions_of_images_are_fast_and_small():
    plan = plan_pairs([100_000] * 30, 6000, 10)
    assert 2 * plan.quota * len(plan.genuine) == 6000


def test_unrank_counts_all_pairs():
    a, b = _unrank(np.arange(4950))
    assert set(zip(a.tolist(), b.tolist())) == set(combinations(range(100), 2))
    top = 10**6 * (10**6 - 1) // 2 - 1
    assert [int(v[0]) for v in _unrank(np.array([top]))] == [10**6 - 2, 10**6 - 1]


@pytest.mark.parametrize(("pairs", "folds"), [(0, 10), (1, 10), (10, 0), (-4, 3)])
def test_options_out_of_range(pairs, folds):
    with pytest.raises(InsightError, match=f"--pairs {pairs} --folds {folds}"):
        plan_pairs([3, 3], pairs, folds)


@pytest.fixture
def crowd(people):
    return people({f"p{i:02d}": 3 for i in range(24)})


def test_from_folders_and_from_a_list(crowd, tmp_path):
    folder_to_lists(str(crowd), str(tmp_path / "val.lst"))
    for source in (str(crowd), str(tmp_path / "val.lst")):
        drawn = {"pairs": 100, "folds": 5, "seed": 4, "pairs_output": str(tmp_path / "a.csv")}
        report = make_bin(source, str(tmp_path / "a.bin"), **drawn)
        os.rename(tmp_path / "a.bin", tmp_path / f"{os.path.basename(source)}.bin")
        with open(tmp_path / "a.csv", newline="") as opened:
            rows = list(csv.DictReader(opened))
        os.remove(tmp_path / "a.csv")
    assert (tmp_path / "faces.bin").read_bytes() == (tmp_path / "val.lst.bin").read_bytes()
    images, issame = read_bin(tmp_path / "faces.bin")
    assert issame.tolist() == [True, False] * 50
    person = [os.path.basename(os.path.dirname(r[c])) for r in rows for c in ("image_a", "image_b")]
    assert [a == b for a, b in zip(person[0::2], person[1::2])] == issame.tolist()
    assert [bytes(i) for i in images] == [open(r[c], "rb").read() for r in rows for c in ("image_a", "image_b")]
    blocks = [set(person[i : i + 40]) for i in range(0, 200, 40)]
    assert all(not a & b for a, b in combinations(blocks, 2))
    assert report.lines() == [
        f"{tmp_path}/a.bin: 100 pairs, 50 of one person and 50 of two, in 5 folds that share no person"
    ]


def test_unusable_images_are_replaced_and_listed(crowd, tmp_path):
    bad = [f"p{i:02d}" for i in range(0, 24, 4)]
    for name in bad:
        (crowd / name / "1.jpg").write_text("text")
    (crowd / "p01/2.jpg").write_bytes(encode(face(99, 200, 200)))
    report = make_bin(str(crowd), str(tmp_path / "a.bin"), pairs=80, folds=4)
    assert (report.pairs, report.same, report.folds) == (80, 40, 4)
    with open(tmp_path / "a.skipped.csv", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert rows
    assert {os.path.relpath(r["path"], crowd) for r in rows} <= {f"{name}/1.jpg" for name in bad}
    assert (
        report.lines()[-1]
        == f"  {len(rows)} images cannot be used, others were drawn instead; see {tmp_path}/a.skipped.csv"
    )
    images, _ = read_bin(tmp_path / "a.bin")
    assert not any(bytes(i) == b"text" for i in images)
    with pytest.raises(InsightError, match=r"1\.jpg: not a readable image .*--on-error skip"):
        make_bin(str(crowd), str(tmp_path / "b.bin"), pairs=80, on_error="fail")
    assert not (tmp_path / "b.bin").exists()


def test_fewer_pairs_than_requested_are_reported(people, tmp_path):
    report = make_bin(str(people({"a": 2, "b": 2})), str(tmp_path / "a.bin"))
    assert report.lines() == [
        f"{tmp_path}/a.bin: 4 pairs, 2 of one person and 2 of two, in 1 folds that share no person",
        "  6000 pairs were requested; these images do not give more evenly spread pairs",
    ]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"a": 5}, "1 people with usable images, 1 of them with two or more: pairs need two people"),
        ({"a": 1, "b": 1}, "2 people with usable images, 0 of them with two or more"),
    ],
)
def test_too_few_people(people, tmp_path, counts, message):
    with pytest.raises(InsightError, match=message):
        make_bin(str(people(counts)), str(tmp_path / "a.bin"))


def test_no_usable_image(people, tmp_path):
    folder = people({"a": 2, "b": 1})
    for path in folder.rglob("*.jpg"):
        path.write_text("text")
    with pytest.raises(InsightError, match="too few usable images for a pair in every fold; the first bad one, "):
        make_bin(str(folder), str(tmp_path / "a.bin"))


NAMES = ("Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0002.jpg", "Bo/Bo_0003.jpg")


@pytest.fixture
def rooted(people):
    folder = people({"Ann_Lee": 0, "Bo": 0})
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(encode(face(number)))
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "image_a,image_b,same\n{0},{1},1\n{0},{2},0\n",
        "{0},{1},True\r\n{0},{2},False\r\n",
        "{0}\t{1}\t1\n\n{0}\t{2}\t-1\n",
        "{0} {1} 1\n{0} {2} 0",
        '"{0}","{1}","1"\n"{0}","{2}","0"\n',
        "10\t300\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBo\t3\n",
        "1\nAnn_Lee 1 2\nAnn_Lee 1 Bo 3\n",
    ],
)
def test_layouts_of_pair_files(rooted, tmp_path, text):
    (tmp_path / "pairs.txt").write_bytes(text.format(*NAMES).encode())
    assert read_pairs(str(tmp_path / "pairs.txt"), str(rooted)) == [(*NAMES[:2], True), (NAMES[0], NAMES[2], False)]
    report = make_bin(str(tmp_path / "pairs.txt"), str(tmp_path / "a.bin"), image_root=str(rooted))
    assert report.lines() == [f"{tmp_path}/a.bin: 2 pairs, 1 of one person and 1 of two"]
    images, issame = read_bin(tmp_path / "a.bin")
    assert issame.tolist() == [True, False]
    assert [bytes(i) for i in images] == [(rooted / NAMES[i]).read_bytes() for i in (0, 1, 0, 2)]


@pytest.mark.parametrize(
    "text",
    [
        "{0};{1};1\r{0};{2};0\r",
        "{0},{1},1.0, 0.93\n{0},{2},+0,0.12,\n",
        "{0}   {1}  1  \n{0}\t{2} 0\t\n",
        "Image_A,IMAGE_B,Same,fold\n{0},{1},1,0\n{0},{2},0,9\n",
        "same,fold,image_a,image_b\n1,0,{0},{1}\n0,9,{0},{2}\n",
        "# two\none,another,label\n{0},{1},TRUE\n#\n{0},{2},FALSE\n",
        "10 300\nAnn_Lee 0001  2\nAnn_Lee 1.0 Bo 3 \n",
        "10\t300\nAnn_Lee\t\t1\t2\t\nAnn_Lee\t1\tBo\t3\t\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_plain_variations_of_pair_files(rooted, tmp_path, text, encoding):
    (tmp_path / "pairs.txt").write_bytes(text.format(*NAMES).encode(encoding))
    assert read_pairs(str(tmp_path / "pairs.txt"), str(rooted)) == [(*NAMES[:2], True), (NAMES[0], NAMES[2], False)]


def test_numbers_of_lfw_images_are_not_labels(rooted, tmp_path):
    (tmp_path / "p.txt").write_text("Ann_Lee 2 1\n")
    assert read_pairs(str(tmp_path / "p.txt"), str(rooted)) == [(NAMES[1], NAMES[0], True)]


def test_backslashes_in_pair_files(rooted, tmp_path):
    (tmp_path / "p.csv").write_text("{0},{1},1\n{0},{2},0\n".format(*NAMES))
    make_bin(str(tmp_path / "p.csv"), str(tmp_path / "a.bin"), image_root=str(rooted))
    plain = pair_set(read_pairs(str(tmp_path / "p.csv"), ""), rooted, "p.csv")
    (tmp_path / "p.csv").write_text("{0},{1},1\n{0},{2},0\n".format(*NAMES).replace("/", "\\"))
    make_bin(str(tmp_path / "p.csv"), str(tmp_path / "b.bin"), image_root=str(rooted))
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    windows = pair_set(read_pairs(str(tmp_path / "p.csv"), ""), rooted, "p.csv")
    assert list(windows.source.keys) == list(plain.source.keys)
    assert windows.source.labels.tolist() == plain.source.labels.tolist() == [0, 0, 1]


def test_paths_with_spaces_and_other_suffixes(rooted, tmp_path):
    os.rename(rooted / "Bo/Bo_0003.jpg", rooted / "Bo/Bo_0003.png")
    (tmp_path / "p.txt").write_text("Ann_Lee 1 Bo 3\n")
    assert read_pairs(str(tmp_path / "p.txt"), str(rooted))[0][1] == "Bo/Bo_0003.png"
    for encoding in ("utf-8", "utf-8-sig"):  # the latter is what spreadsheets write
        (tmp_path / "p.csv").write_text("a b/c d.jpg,é f.jpg,1\n", encoding=encoding)
        assert read_pairs(str(tmp_path / "p.csv"), "") == [("a b/c d.jpg", "é f.jpg", True)]


def test_a_folder_is_not_a_list_of_pairs(tmp_path):
    with pytest.raises(InsightError, match=f"{tmp_path}: a folder; want image_a,image_b,same rows"):
        read_pairs(str(tmp_path), "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no pair"),
        ("image_a,image_b,same\n", "holds a heading and no pair"),
        ("a.jpg,b.jpg,1\na.jpg,b.jpg\n", r"p\.csv:2: want image_a,image_b,same rows .* found 'a.jpg,b.jpg'"),
        ("a.jpg,b.jpg,1\na.jpg,b.jpg,maybe\n", r"p\.csv:2: "),
        ("a.jpg,b.jpg,1\n,b.jpg,1\n", r"p\.csv:2: "),
        ("a.jpg,b.jpg,2\n", r"p\.csv:1: "),
        ("a.jpg,b.jpg,0.5\n", r"p\.csv:1: "),
        ("a.jpg,b\0.jpg,1\n", r"p\.csv:1: "),
        ("a.jpg,b.jpg,maybe\na.jpg,b.jpg,1\n", r"p\.csv:1: "),
        ("one,other,same\none,other,same\n", r"p\.csv:2: "),
        ("Ann 1 -2\n", r"p\.csv:1: "),
        ("Ann 1 99999999\n", r"p\.csv:1: "),
        ("This is text\nof another kind, really\n", r"p\.csv:"),
    ],
)
def test_invalid_pair_files(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InsightError, match=message):
        make_bin(str(tmp_path / "p.csv"), str(tmp_path / "a.bin"))


def test_pairs_of_missing_images_are_skipped_and_listed(rooted, tmp_path):
    good = "Ann_Lee/Ann_Lee_0001.jpg,Ann_Lee/Ann_Lee_0002.jpg,1\nBo/Bo_0003.jpg,Ann_Lee/Ann_Lee_0001.jpg,0\n"
    (tmp_path / "p.csv").write_text("Bo/Bo_0003.jpg,none.jpg,0\n" + good)
    report = make_bin(str(tmp_path / "p.csv"), str(tmp_path / "a.bin"), image_root=str(rooted))
    assert report.lines()[1:] == [
        f"  1 images cannot be used, 1 pairs with them were skipped; see {tmp_path}/a.skipped.csv"
    ]
    (tmp_path / "p.csv").write_text("Bo/Bo_0003.jpg,none.jpg,0\nBo/Bo_0003.jpg,none.jpg,1\n")
    with pytest.raises(
        InsightError, match=r"none of the 2 pairs can be used; the first image, .*none\.jpg: no such file"
    ):
        make_bin(str(tmp_path / "p.csv"), str(tmp_path / "b.bin"), image_root=str(rooted))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("A1,A2,1\nA2,A1,1\n", r"p\.csv: all 2 pairs are of one person, .* both kinds; add pairs of two people"),
        ("B3,A2,0\n", r"p\.csv: all 1 pairs are of two people, .*; add pairs of one person"),
        (
            "A1,A2,1\nB3,none.jpg,0\n",
            r"p\.csv: all 1 pairs whose images can be used \(not .*none\.jpg: no such file.*\) ",
        ),
    ],
    ids=["same", "different", "one kind is left"],
)
def test_pairs_of_one_kind_are_refused_as_verification_does(rooted, tmp_path, rows, message):
    for short, name in (("A", "Ann_Lee/Ann_Lee_000"), ("B", "Bo/Bo_000")):
        for number in "123":
            rows = rows.replace(short + number, f"{name}{number}.jpg")
    (tmp_path / "p.csv").write_text(rows)
    with pytest.raises(InsightError, match=message):
        make_bin(str(tmp_path / "p.csv"), str(tmp_path / "a.bin"), image_root=str(rooted))
    assert not (tmp_path / "a.bin").exists()


def test_the_smallest_bins_that_are_made_are_verified(rooted, tmp_path):
    """One pair of each kind, listed and drawn: verification accepts the output of make-bin."""
    (tmp_path / "p.csv").write_text(
        "Ann_Lee/Ann_Lee_0001.jpg,Ann_Lee/Ann_Lee_0002.jpg,1\nBo/Bo_0003.jpg,Ann_Lee/Ann_Lee_0001.jpg,0\n"
    )
    make_bin(str(tmp_path / "p.csv"), str(tmp_path / "listed.bin"), image_root=str(rooted))
    make_bin(str(rooted), str(tmp_path / "drawn.bin"), pairs=2)

    def network(images):
        return images.reshape(len(images), -1)[:, :64].astype(np.float32)

    for name in ("listed.bin", "drawn.bin"):
        for folds in (10, 2, 1):
            assert 0 <= verify(network, load_set(tmp_path / name), folds=folds).folds.accuracy <= 1


def test_options_that_do_not_go_together(crowd, rooted, tmp_path):
    with pytest.raises(InsightError, match="--image-root: is for a list or a file of pairs"):
        make_bin(str(crowd), str(tmp_path / "a.bin"), image_root="x")
    (tmp_path / "p.csv").write_text("a,b,1\n")
    with pytest.raises(InsightError, match="--pairs, --folds, --seed: are for drawing pairs"):
        make_bin(str(tmp_path / "p.csv"), str(tmp_path / "a.bin"), seed=0)
    (tmp_path / "a.bin").touch()
    with pytest.raises(InsightError, match=r"a\.bin: already exists"):
        make_bin(str(crowd), str(tmp_path / "a.bin"))


def test_real_pairs(real_data, tmp_path):
    subprocess.run(["tar", "xf", real_data / "data/lfw_dev.tar", "-C", tmp_path], check=True)
    with open(real_data / "data/lfw_dev_pairs.csv", newline="") as opened:
        rows = list(csv.DictReader(opened))
    report = make_bin(
        str(real_data / "data/lfw_dev_pairs.csv"), str(tmp_path / "a.bin"), image_root=str(tmp_path / "lfw_dev")
    )
    assert (report.pairs, report.converted, report.skipped) == (len(rows), 0, [])
    images, issame = read_bin(tmp_path / "a.bin")
    assert issame.tolist() == [r["same"] == "1" for r in rows]
    for at in (0, 100, len(rows) - 1):
        assert bytes(images[2 * at]) == (tmp_path / "lfw_dev" / rows[at]["image_a"]).read_bytes()


def test_command(crowd, insight):
    status, out, err = insight("make-bin", "faces", "a.bin", "--pairs", "40", "--folds", "5")
    assert (status, err) == (0, "")
    assert out == "a.bin: 40 pairs, 20 of one person and 20 of two, in 5 folds that share no person\n"
    status, out, err = insight("make-bin", "none", "b.bin")
    assert (status, out) == (2, "")
    assert err.startswith("error: none: no such file; want image_a,image_b,same rows")
