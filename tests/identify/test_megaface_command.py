"""`insight megaface`: figures against plain loops, matrix files both ways, noise, lists, kept embeddings, errors."""

import json
import shutil
import struct

import cv2
import numpy as np
import pytest
from made_faces import encode, face
from small_networks import S, filled

from insight import checkpoint, engines
from insight.checkpoint import Checkpoint
from insight.cli import run_command

SIDE = 28
PEOPLE = 5


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Two small networks of 28x28 faces, epochs 1 and 2, with 6 and 4 numbers."""
    folder = tmp_path_factory.mktemp("m")
    for epoch, numbers in ((1, 6), (2, 4)):
        pixels = (S.Variable("data", shape=(0, 3, SIDE, SIDE)) - 127.5) / 128
        pooled = S.Pooling(pixels, kernel=(7, 7), stride=(7, 7), pool_type="avg")
        small = Checkpoint(*filled(S.FullyConnected(pooled, num_hidden=numbers, name="fc1"), epoch, SIDE))
        checkpoint.save(str(folder / f"net{numbers}"), epoch, small)
    return str(folder / "net6")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """``facescrub`` with 4 images each of 5 people, ``megaface`` with 60 images, noise lists and lists of the kit."""
    root = tmp_path_factory.mktemp("faces")
    for person in range(PEOPLE):
        for i in range(4):
            rng = np.random.default_rng((person, i))
            noise = cv2.resize(rng.normal(0, 35, (4, 4, 3)), (SIDE, SIDE))
            write(root / f"facescrub/P_{person}/P_{person}_{i}.png", np.clip(face(person, SIDE, SIDE) + noise, 0, 255))
    for i in range(60):
        write(root / f"megaface/{i % 7}/{i % 3}@N0/{i}.png", face(1000 + i, SIDE, SIDE))
    (root / "fs_noise.txt").write_text("# wrong\nP_1_2.png\nP_3_0.png\n")
    (root / "mf_noise.txt").write_text("1\t4/1@N0/4.png\n2\t2/0@N0/9.png\n3\t0/0@N0/21.png\n")
    return root


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(np.asarray(pixels, np.uint8), ".png"))


def megaface(*arguments):
    return run_command("megaface", [*map(str, arguments), "--engine", "mxnet"])


def images(faces, *names):
    roots = ["--facescrub-root", faces / "facescrub", "--megaface-root", faces / "megaface"]
    return [*roots, *(item for name in names for item in (f"--{name}", faces / NOISES[name]))]


NOISES = {"facescrub-noises": "fs_noise.txt", "megaface-noises": "mf_noise.txt"}


def figures(path):
    return {(f["part"], f["name"], f["at"]): f["value"] for f in json.loads(path.read_text())["figures"]}


def plain_features(faces, part, *specs):
    """Path under the folder to feature, by gen_megaface's rule, an image at a time."""
    networks = [engines.load(spec, engine="mxnet") for spec in specs]
    features = {}
    for path in sorted((faces / part).rglob("*.png")):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).transpose(2, 0, 1)
        passes = np.stack([image, image[:, :, ::-1]])
        parts = [network(passes).astype(np.float64).sum(0) for network in networks]
        whole = np.concatenate([one / np.linalg.norm(one) for one in parts])
        features[str(path.relative_to(faces / part))] = whole / np.linalg.norm(whole)
    return features


def plain_figures(probes, distractors, ranks=(1, 10), fars=(0.01, 0.001)):
    """Ranks and TAR at FAR of features by path; the folder is the identity."""
    before, true = [], []
    impostors = sorted((float(p @ d) for p in probes.values() for d in distractors.values()), reverse=True)
    for name, feature in probes.items():
        for other, mate in probes.items():
            if name != other and name.split("/")[0] == other.split("/")[0]:
                true.append(float(feature @ mate))
                before.append(sum(float(feature @ distractor) >= true[-1] for distractor in distractors.values()))
    found = {("rank", rank): np.mean([count < rank for count in before]) for rank in ranks}
    for far in fars:
        allowed = int(far * len(impostors) + 1e-9)
        exceeded = impostors[allowed] if allowed else None
        found["TAR@FAR", far] = None if exceeded is None else np.mean([score > exceeded for score in true])
    return found


def approximately(values):
    return {key: value if value is None else pytest.approx(value, abs=1e-6) for key, value in values.items()}


def of_part(found, part):
    return {key[1:]: value for key, value in found.items() if key[0] == part}


FAR = ("--far", "0.01,0.001")


def test_figures_equal_plain_loops(prefix, faces, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ["--model", f"{prefix},1", *images(faces), *FAR]
    assert megaface(*model, "--sizes", "10,40,1000", "--json", "f.json") == 0
    out = capsys.readouterr().out
    assert "MegaFace: 20 probes, 5 identities, 60 distractors, 0 noisy probes, 0 noisy distractors" in out
    found = figures(tmp_path / "f.json")
    assert list(dict.fromkeys(part for part, *_ in found)) == ["10 distractors", "40 distractors", "60 distractors"]
    probes, distractors = (plain_features(faces, part, f"{prefix},1") for part in ("facescrub", "megaface"))
    want = plain_figures(probes, distractors)
    assert of_part(found, "60 distractors") == approximately(want)
    assert 0.1 < want["rank", 1] < want["rank", 10] < 1 and 0 < want["TAR@FAR", 0.01] < 1
    ranks = [found[f"{size} distractors", "rank", 1] for size in (10, 40, 60)]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > ranks[-1]  # smaller galleries are parts of larger ones
    assert found["10 distractors", "TAR@FAR", 0.001] is None  # of 200 pairs
    assert "  TAR@FAR 0.001: not measurable (200 impostor pairs)" in out
    assert sorted(path.name for path in (tmp_path / "megaface_embeddings").iterdir()) == [
        f"{part}-{'-'.join(prefix.split('/')[-2:])}-1.npz" for part in ("facescrub", "megaface")
    ]


def test_lists_of_the_kit_choose_the_distractors(prefix, faces, tmp_path):
    chosen = sorted(str(path.relative_to(faces / "megaface")) for path in (faces / "megaface").rglob("*.png"))[5:25]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/megaface_features_list.json_20_2").write_text(json.dumps({"path": chosen}))
    some = [f"P_{person}/P_{person}_{i}.png" for person in (0, 2) for i in (3, 1, 0)]
    (tmp_path / "probes.json").write_text(json.dumps({"path": some, "id": [name[2] for name in some]}))
    lists = ["--distractor-lists", tmp_path / "lists", "--set", "2", "--facescrub-lst", tmp_path / "probes.json"]
    kept = ["--embeddings", tmp_path / "e", "--json", tmp_path / "f.json"]
    model = ["--model", f"{prefix},1", *images(faces), *FAR]
    assert megaface(*model, *lists, *kept, "--sizes", "20") == 0
    probes, distractors = (plain_features(faces, part, f"{prefix},1") for part in ("facescrub", "megaface"))
    want = plain_figures({name: probes[name] for name in some}, {name: distractors[name] for name in chosen})
    found = figures(tmp_path / "f.json")
    assert {part for part, *_ in found} == {"20 distractors"}
    assert of_part(found, "20 distractors") == approximately(want)
    (tmp_path / "noise").write_text("\n".join(chosen[:6]))
    assert megaface(*model, *lists, *kept, "--sizes", "20", "--megaface-noises", tmp_path / "noise") == 0
    want = plain_figures({name: probes[name] for name in some}, {name: distractors[name] for name in chosen[6:]})
    assert of_part(figures(tmp_path / "f.json"), "20 distractors") == approximately(want)


def plain_matrix(path):
    data = path.read_bytes()
    rows, columns, stride, kind = struct.unpack("<4i", data[:16])
    assert (columns, stride, kind, len(data)) == (1, 4, 5, 16 + 4 * rows)
    return np.array(struct.unpack(f"<{rows}f", data[16:]))


def test_matrix_files_both_ways(prefix, faces, tmp_path, capsys):
    """gen_megaface's files of two models; read again they give the same figures and, written again, the same bytes."""
    specs = [f"{prefix},1", f"{prefix[:-1]}4,2"]
    kept = ["--embeddings", tmp_path / "e", "--algo", "both"]
    model = ["--model", "|".join(specs), *images(faces), *FAR, *kept]
    assert megaface(*model, "--output", tmp_path / "out", "--json", tmp_path / "a.json") == 0
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.bin")}
    assert len(files) == 80 and {"facescrub/P_0/P_0_3.png_both.bin", "megaface/4/1@N0/4.png_both.bin"} < files
    for part in ("facescrub", "megaface"):
        for name, feature in plain_features(faces, part, *specs).items():
            np.testing.assert_allclose(plain_matrix(tmp_path / f"out/{part}/{name}_both.bin"), feature, atol=1e-6)
    read = ["--feature-dir-input", tmp_path / "out", "--algo", "both", *FAR]
    assert megaface(*read, "--output", tmp_path / "again", "--json", tmp_path / "b.json") == 0
    assert figures(tmp_path / "a.json") == approximately(figures(tmp_path / "b.json"))
    assert [len(json.loads((tmp_path / f).read_text())["models"]) for f in ("a.json", "b.json")] == [2, 0]
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()


def test_noise(prefix, faces, tmp_path, capsys):
    """remove_noises' files: a number more; replaced probes; distractors far away. Figures are the same from them."""
    noises = [*images(faces, *NOISES)[4:]]
    kept = ["--embeddings", tmp_path / "e"]
    model = ["--model", f"{prefix},1", *images(faces), *FAR, *kept, *noises]
    assert megaface(*model, "--feature-dir-out", tmp_path / "clean", "--json", tmp_path / "a.json") == 0
    assert f"{tmp_path}/clean: features without noise; 2 probes replaced, 3 distractors moved far away" in (
        capsys.readouterr().out
    )
    probes, distractors = (plain_features(faces, part, f"{prefix},1") for part in ("facescrub", "megaface"))
    wrong, cleaned = ["P_1/P_1_2.png", "P_3/P_3_0.png"], {}
    for name, feature in probes.items():
        written = plain_matrix(tmp_path / f"clean/facescrub/{name}_insightface.bin")
        assert (len(written), written[-1]) == (7, 0)
        if name in wrong:
            centre = sum(probes[o] for o in probes if o[:3] == name[:3] and o not in wrong)
            feature = centre / np.linalg.norm(centre)
            assert 1e-7 < np.abs(written[:-1] - feature).max() < 1.5e-3  # the random change
        else:
            np.testing.assert_allclose(written[:-1], feature, atol=1e-6)
        cleaned[name] = written[:-1]
    far_away = {"4/1@N0/4.png", "2/0@N0/9.png", "0/0@N0/21.png"}
    for name, feature in distractors.items():
        written = plain_matrix(tmp_path / f"clean/megaface/{name}_insightface.bin")
        assert written[-1] == (100 if name in far_away else 0)
        np.testing.assert_allclose(written[:-1], feature, atol=1e-6)
    found = figures(tmp_path / "a.json")
    want = plain_figures(cleaned, {name: one for name, one in distractors.items() if name not in far_away})
    assert of_part(found, "57 distractors") == approximately(want)
    assert megaface("--feature-dir-input", tmp_path / "clean", *FAR, "--json", tmp_path / "b.json") == 0
    assert figures(tmp_path / "b.json") == approximately(found)  # marked distractors are left out
    assert json.loads((tmp_path / "b.json").read_text())["counts"]["noisy distractors"] == 3


class TestErrors:
    """One line, status 2."""

    @pytest.fixture
    def features(self, tmp_path):
        """A folder of features of four probes and two distractors."""
        for number, name in enumerate(
            ("facescrub/A/1.png", "facescrub/A/2.png", "facescrub/B/1.png", "megaface/1/2/a.jpg")
        ):
            write_matrix(tmp_path / f"in/{name}_insightface.bin", np.arange(4) + number)
        write_matrix(tmp_path / "in/megaface/1/2/b.jpg_insightface.bin", np.arange(4) - 2)
        return tmp_path / "in"

    def line(self, capsys, *arguments):
        capsys.readouterr()
        assert megaface(*arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    def test_features(self, features, capsys):
        read = ("--feature-dir-input", features)
        assert megaface(*read, "--sizes", "2") == 0
        line = self.line(capsys, "--feature-dir-input", features / "gone")
        assert f"{features}/gone/facescrub: No such file or directory; want a folder of faces" in line
        write_matrix(features / "megaface/1/2/b.jpg_insightface.bin", np.arange(5))
        line = self.line(capsys, *read)
        assert "1/2/b.jpg_insightface.bin: 5 numbers, but 4 in" in line and "1/2/a.jpg_insightface.bin; want" in line
        write_matrix(features / "megaface/1/2/b.jpg_insightface.bin", np.zeros(4))
        assert "megaface: the feature of 1/2/b.jpg is zero or not finite" in self.line(capsys, *read)
        (features / "megaface/1/2/b.jpg_insightface.bin").write_bytes(b"cut")
        assert "b.jpg_insightface.bin: want an OpenCV matrix" in self.line(capsys, *read)
        shutil.rmtree(features / "megaface")
        write_matrix(features / "megaface/1/2/a.jpg_insightface.bin", np.arange(5))
        assert "gallery: embeddings of 5 numbers, but 4 in the probes" in self.line(capsys, *read)
        assert "facescrub: has no file that ends in _other.bin" in self.line(capsys, *read, "--algo", "other")
        (features / "facescrub/A/2.png_insightface.bin").unlink()
        assert "no identity has two images, so there is no mate" in self.line(capsys, *read)

    def test_lists(self, features, tmp_path, capsys):
        read = ("--feature-dir-input", features)
        line = self.line(capsys, *read, "--megaface-lst", listed(tmp_path, ["1/2/a.jpg", "1/2/c.jpg"]))
        assert "1/2/c.jpg_insightface.bin: no such file" in line
        line = self.line(capsys, *read, "--megaface-lst", listed(tmp_path, ["1/2/a.jpg", "x/1/2/a.jpg"]))
        assert "megaface: two images are named 1/2/a.jpg; want different ends" in line
        line = self.line(capsys, *read, "--facescrub-lst", listed(tmp_path, ["1.png", "2.png"]))
        assert "1.png is in no folder, which names its identity" in line
        line = self.line(capsys, *read, "--distractor-lists", tmp_path, "--sizes", "7")
        assert f"{tmp_path}/megaface_features_list.json_7_1: no such file" in line
        (tmp_path / "megaface_features_list.json_7_1").write_text(json.dumps({"path": ["1/2/z.jpg"]}))
        line = self.line(capsys, *read, "--distractor-lists", tmp_path, "--sizes", "7")
        assert "names 1/2/z.jpg, which has no feature; give --megaface-lst with all images" in line
        (tmp_path / "noise").write_text("1.png\n2.png\n")
        line = self.line(capsys, *read, "--facescrub-noises", tmp_path / "noise")
        assert "--facescrub-noises: names all images of the identity of A/1.png; leave them out" in line

    def test_images(self, prefix, faces, tmp_path, capsys):
        shutil.copytree(faces, tmp_path / "f")
        model = ("--model", f"{prefix},1", *images(tmp_path / "f"), "--embeddings", tmp_path / "e")
        names = [f"P_{person}/P_{person}_0.png" for person in (0, 0, 1)]
        line = self.line(capsys, *model, "--facescrub-lst", listed(tmp_path, names))
        assert "facescrub: two images are named P_0/P_0_0.png" in line
        line = self.line(capsys, *model, "--facescrub-lst", listed(tmp_path, ["P_0/P_0_0.png", "P_0/P_0_7.png"]))
        assert "P_0_7.png: no such file; want all images of the list; give the folder in which its paths" in line
        write(tmp_path / "f/megaface/1/1@N0/1.png", face(1, 30, 30))
        assert "1.png: is 30x30 (height x width), the network takes 28x28" in self.line(capsys, *model)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "--model or --feature-dir-input: give one of them"),
            (["--model", "m,0", "--feature-dir-input", "f"], "--model or --feature-dir-input: give one of them"),
            (["--model", "m,0", "--megaface-root", "f"], "--facescrub-root: missing; --model needs it"),
            (["--feature-dir-input", "f", "--megaface-root", "f"], "--megaface-root: applies with --model only"),
            (["--feature-dir-input", "f", "--feature-dir-out", "g"], "--feature-dir-out: needs --facescrub-noises or"),
            (["--feature-dir-input", "f", "--output", "{tmp}"], "exists and is not an empty folder"),
            (["--feature-dir-input", "f", "--far", "1e-6,x"], "--far 1e-6,x: want comma-separated rates"),
            (["--feature-dir-input", "f", "--far", "2"], "--far 2.0: want a rate between 0 and 1"),
            (["--feature-dir-input", "f", "--sizes", "0,10"], "--sizes 0,10: want whole numbers, 1 or more"),
            (["--feature-dir-input", "f", "--algo", "a/b"], "--algo 'a/b': want a name that can be part"),
        ],
    )
    def test_options(self, tmp_path, capsys, arguments, message):
        (tmp_path / "file").touch()
        assert message in self.line(capsys, *(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))


def write_matrix(path, numbers):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<4i", len(numbers), 1, 4, 5) + struct.pack(f"<{len(numbers)}f", *numbers))


def listed(folder, names):
    (folder / "list").write_text("\n".join(names))
    return folder / "list"
