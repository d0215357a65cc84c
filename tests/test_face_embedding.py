"""The class that a service imports, and the example that compares two photos."""

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from small_networks import evaluate, filled, mobile

from insight import checkpoint, face_embedding
from insight.checkpoint import Checkpoint
from insight.errors import InsightError
from insight.export.parity import random_faces
from insight.face_embedding import FaceEmbedding
from insight.formats import evalbin

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
RGB = random_faces(9, (112, 112))
BGR = [np.ascontiguousarray(face[::-1].transpose(1, 2, 0)) for face in RGB]


@pytest.fixture(scope="module")
def network():
    return filled(mobile())


@pytest.fixture(scope="module")
def spec(tmp_path_factory, network):
    prefix = str(tmp_path_factory.mktemp("model") / "net")
    checkpoint.save(prefix, 0, Checkpoint(*network))
    return f"{prefix},0"


@pytest.fixture(scope="module")
def faces(spec):
    return FaceEmbedding(spec, engine="onnxruntime", threads=1)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


class TestEmbedding:
    def test_is_that_of_verification(self, network, faces):
        """Plain MXNet, the sum with the mirror image, unit length."""
        x = RGB.astype(np.float32)
        want = unit(evaluate(*network, x) + evaluate(*network, np.ascontiguousarray(x[..., ::-1])))
        found = faces.embed_many(BGR)
        assert (found.dtype, found.shape) == (np.float32, (9, 6))
        np.testing.assert_allclose(found, want, atol=1e-5)
        assert (faces.image_size, faces.dimension) == ((112, 112), 6)

    def test_without_the_mirror_image(self, network, spec):
        want = unit(evaluate(*network, RGB[:1].astype(np.float32)))
        found = FaceEmbedding(spec, flip=False, engine="openvino").embed(BGR[0])
        assert found.shape == (6,)
        np.testing.assert_allclose(found, want[0], atol=1e-5)

    def test_however_the_image_comes(self, faces, tmp_path):
        want = faces.embed(BGR[0])
        path = tmp_path / "Zoë 张伟.png"
        path.write_bytes(png(BGR[0]))
        for same in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), np.asfortranarray(BGR[0])):
            assert (faces.embed(same) == want).all()
        grey = cv2.cvtColor(BGR[0], cv2.COLOR_BGR2GRAY)
        want = faces.embed(np.stack([grey] * 3, axis=-1))
        for same in (grey, grey[..., None], png(grey)):
            assert (faces.embed(same) == want).all()

    def test_a_photo_stands_upright(self, faces, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned to the left
        turned = np.rot90(BGR[0][..., ::-1])
        Image.fromarray(turned).save(tmp_path / "a.jpg", quality=100, subsampling=0, exif=exif)
        assert faces.similarity(faces.embed(tmp_path / "a.jpg"), faces.embed(BGR[0])) > 0.999
        assert faces.similarity(faces.embed(np.ascontiguousarray(turned[..., ::-1])), faces.embed(BGR[0])) < 0.99

    def test_any_number_in_order(self, faces, monkeypatch):
        want = np.stack([faces.embed(image) for image in BGR])
        monkeypatch.setattr(face_embedding, "AT_ONCE", 4)
        np.testing.assert_allclose(faces.embed_many(image for image in BGR), want, atol=1e-6)
        assert faces.embed_many([]).shape == (0, 6)

    def test_pictures_are_not_all_held(self, faces, monkeypatch):
        monkeypatch.setattr(face_embedding, "AT_ONCE", 2)
        read, passes = [], []

        def reading():
            for image in BGR:
                read.append(1)
                yield image

        embed = faces._embed
        monkeypatch.setattr(faces, "_embed", lambda *args: passes.append(len(read)) or embed(*args))
        faces.embed_many(reading())
        assert passes == [2, 4, 6, 8, 9]


class TestLandmarks:
    @pytest.mark.parametrize(("scale", "degrees", "shift"), [(2.0, 0, (60, 40)), (1.5, 30, (150, 60)), (1, 0, (0, 0))])
    def test_cut_the_face_out(self, faces, scale, degrees, shift):
        turn = np.deg2rad(degrees)
        matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = np.hstack([matrix, np.array(shift, float)[:, None]])
        smooth = cv2.GaussianBlur(BGR[0], (0, 0), 3)
        photo = cv2.warpAffine(smooth, matrix, (400, 350), flags=cv2.INTER_CUBIC)
        landmarks = TEMPLATE @ matrix[:, :2].T + matrix[:, 2]
        assert faces.similarity(faces.embed(photo, landmarks), faces.embed(smooth)) > 0.999
        assert faces.similarity(faces.embed(photo, landmarks + 25), faces.embed(smooth)) < 0.99

    def test_are_each_images_own(self, faces):
        photo = np.zeros((300, 300, 3), np.uint8)
        photo[100:212, 50:162] = BGR[1]
        found = faces.embed_many([BGR[0], photo], [None, (TEMPLATE + np.array([50, 100])).tolist()])
        assert (found @ faces.embed_many(BGR[:2]).T).diagonal().min() > 0.9999

    @pytest.mark.parametrize(
        ("landmarks", "says"),
        [
            (TEMPLATE.ravel(), r"landmarks must be five x, y in pixels, \(5, 2\); got \(10,\)"),
            (TEMPLATE[:4], r"got \(4, 2\)"),
            ([[1, 2], [3]], "must be five x, y"),
            ("eyes", "must be five x, y"),
            (TEMPLATE * np.nan, "must be five x, y"),
            (np.ones((5, 2)), "image 0: the landmarks coincide"),
            (TEMPLATE / 112, "landmarks are all from 0 to 1; want pixels"),
        ],
    )
    def test_wrong_ones(self, faces, landmarks, says):
        with pytest.raises(InsightError, match=says):
            faces.embed(BGR[0], landmarks)

    @pytest.mark.parametrize(("count", "word"), [(1, "fewer"), (3, "more")])
    def test_for_other_images(self, faces, count, word):
        with pytest.raises(InsightError, match=f"{word} landmarks than images"):
            faces.embed_many(BGR[:2], [None] * count)

    def test_for_a_size_without_template(self, faces, monkeypatch):
        monkeypatch.setattr(faces, "image_size", (128, 128))
        with pytest.raises(InsightError, match="128x128, and alignment by landmarks is defined for 112x112 and 112x96"):
            faces.embed(BGR[0], TEMPLATE)


class TestRefusals:
    @pytest.mark.parametrize(
        ("image", "says"),
        [
            (
                np.zeros((250, 240, 3), np.uint8),
                "image 0: is 250x240 .*, the network takes 112x112; give the five landm",
            ),
            (np.zeros((112, 112, 3), np.float32), r"image 0: is float32 \(112, 112, 3\); want BGR pixels, uint8"),
            (np.zeros((112, 112, 4), np.uint8), r"is uint8 \(112, 112, 4\); want BGR"),
            (np.zeros((1, 112, 112, 3), np.uint8), "want BGR"),
            (np.zeros((0, 112, 3), np.uint8), "want BGR"),
            (Image.new("RGB", (112, 112)), "image 0: is a Image; want BGR pixels"),
            (None, "is a NoneType; want"),  # what cv2.imread gives of a missing file
            (b"no image", "image 0: not a readable image"),
            (b"", "image 0: not a readable image"),
            ("nowhere/a.jpg", "nowhere/a.jpg: No such file or directory; want an image file"),
            (ROOT, "Is a directory; want an image file"),
        ],
    )
    def test_of_images(self, faces, image, says):
        with pytest.raises(InsightError, match=says):
            faces.embed(image)

    def test_of_one_image_for_many(self, faces):
        with pytest.raises(InsightError, match="wants a list of images, got a str; embed takes one"):
            faces.embed_many("a.jpg")

    @pytest.mark.parametrize("value", [np.nan, np.inf, 0])
    def test_of_what_a_damaged_network_gives(self, faces, monkeypatch, value):
        def network(images):
            rows = np.ones((len(images), 6), np.float32)
            rows[len(images) // 2 - 1] = rows[-1] = value
            return rows

        network.spec = "net,0"
        monkeypatch.setattr(faces, "_network", network)
        with pytest.raises(InsightError, match=r"image 2: net,0 gives an embedding of length (nan|inf|0\.0)"):
            faces.embed_many(BGR[:3])

    def test_of_models(self, tmp_path):
        with pytest.raises(InsightError, match="no kind of model"):
            FaceEmbedding("model.h5")
        with pytest.raises(InsightError, match=r"gone.onnx: no such file"):
            FaceEmbedding(tmp_path / "gone.onnx")


@pytest.mark.parametrize("engine", ["mxnet", "onnxruntime", "openvino"])
def test_threads_share_it(spec, engine):
    shared = FaceEmbedding(spec, engine=engine)
    alone = [shared.embed(image) for image in BGR]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.embed, BGR * 6))
    assert all((a == b).all() for a, b in zip(found, alone * 6))


def test_similarity():
    a, b = np.array([3, 4]), np.array([[4, 3], [-3, -4], [0, 2]])
    assert FaceEmbedding.similarity(a, b[0]) == pytest.approx(24 / 25)
    assert isinstance(FaceEmbedding.similarity(a, a), float)
    np.testing.assert_allclose(FaceEmbedding.similarity(a, b), [0.96, -1, 0.8])
    np.testing.assert_allclose(FaceEmbedding.similarity(b, np.stack([a, a])), [[0.96] * 2, [-1] * 2, [0.8] * 2])
    with pytest.raises(InsightError, match=r"got \(2,\) and \(3,\)"):
        FaceEmbedding.similarity(a, np.ones(3))


def test_a_service_with_a_file_loads_little(tmp_path, network):
    from insight.engines.onnx_engine import checkpoint_to_onnx

    checkpoint.save(str(tmp_path / "net"), 0, Checkpoint(*network))
    (tmp_path / "m.onnx").write_bytes(checkpoint_to_onnx(f"{tmp_path}/net,0", "fast"))
    code = f"""
import sys
from insight.face_embedding import FaceEmbedding
FaceEmbedding({str(tmp_path / "m.onnx")!r})
print({{"mxnet", "skimage", "scipy", "rich", "matplotlib"}} & set(sys.modules) or "little")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "little\n", done.stderr


@pytest.fixture(scope="module")
def script():
    found = importlib.util.spec_from_file_location("deployed", ROOT / "deploy/face_embedding.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


class TestScript:
    def test_has_the_class(self, script):
        assert script.FaceEmbedding is FaceEmbedding

    def test_compares_two_photos(self, script, spec, tmp_path, capsys):
        photo = np.zeros((300, 300, 3), np.uint8)
        photo[100:212, 50:162] = BGR[0]
        for name, image in (("raw.png", photo), ("a.png", BGR[0])):
            (tmp_path / name).write_bytes(png(image))
        landmarks = ",".join(f"{number:.4f}" for number in (TEMPLATE + np.array([50, 100])).ravel())
        paths = [str(tmp_path / name) for name in ("raw.png", "a.png")]
        argv = ["--model", spec, *paths, "--landmarks", landmarks, "-", "--threshold"]
        assert script.main([*argv, "0.9"]) == 0
        assert capsys.readouterr().out.splitlines()[1:] == ["cosine 1.0000, squared L2 0.0000", "same person"]
        assert script.main([*argv, "1.1"]) == 0
        assert capsys.readouterr().out.endswith("\ndifferent people\n")

    def test_no_distance_is_below_zero(self, script, spec, tmp_path, monkeypatch, capsys):
        (tmp_path / "a.png").write_bytes(png(BGR[0]))
        monkeypatch.setattr(script.FaceEmbedding, "similarity", staticmethod(lambda a, b: 1 + 4e-16))
        assert script.main(["--model", spec, *[str(tmp_path / "a.png")] * 2]) == 0
        assert capsys.readouterr().out.endswith("cosine 1.0000, squared L2 0.0000\n")

    def test_fails_in_one_line(self, script, spec, capsys):
        assert script.main(["--model", spec, "a.jpg", "b.jpg"]) == 2
        assert capsys.readouterr().err == "error: a.jpg: No such file or directory; want an image file\n"
        with pytest.raises(SystemExit) as left:
            script.main(["--model", spec, "a.jpg", "b.jpg", "--landmarks", "1,2,3", "-"])
        assert left.value.code == 2


def test_two_real_people(script, real_data, model_y1, tmp_path, capsys):
    """The first pair of one person and the first of two, at the threshold of FAR 1e-3 on the whole list of pairs."""
    photos, issame = evalbin.read_bin(real_data / "data/lfw_dev.bin")
    for same, word in ((True, "same person"), (False, "different people")):
        pair = list(issame).index(same)
        paths = [str(tmp_path / f"{same} {i}.jpg") for i in range(2)]
        for path, photo in zip(paths, photos[2 * pair : 2 * pair + 2]):
            Path(path).write_bytes(photo)
        assert script.main(["--model", f"{model_y1[0]},{model_y1[1]}", *paths, "--threshold", "0.2927"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == word
