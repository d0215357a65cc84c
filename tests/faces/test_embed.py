"""Images to embeddings: all kinds of sources, in order, in bounded memory."""

import io
import pickle
import re
import threading
import zipfile

import cv2
import numpy as np
import pytest
from small_networks import S, filled

from insight import checkpoint
from insight._mxnet import mx
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.errors import InsightError
from insight.faces.embed import AHEAD, Embedded, embed, load, save, save_blocks, stream
from insight.faces.sources import ImageSource, KeyNames, image_source
from insight.formats import evalbin
from insight.formats.keyruns import KeyRuns

SIZE = (16, 16)


def picture(i, size=SIZE, suffix=".png"):
    """Encoded image, RGB (i, 2i, 3i) with a dark left edge, so that colour order and mirroring show."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:] = [3 * i, 2 * i, i]  # BGR, as OpenCV writes
    pixels[:, 0] = 0
    return cv2.imencode(suffix, pixels)[1].tobytes()


def network(images):
    """Embedding: mean of each colour, and the left edge's mean."""
    assert images.dtype == np.uint8
    return np.concatenate([images.mean((2, 3)), images[..., 0].mean((1, 2))[:, None]], axis=1).astype(np.float32)


def source_of(count):
    keys = [str(i) for i in range(count)]
    return ImageSource("made", keys, np.arange(count), lambda i: picture(i + 1), "image")


@pytest.fixture
def folder(tmp_path):
    """Two identities of two images, and files that are skipped between them."""
    root = tmp_path / "faces"
    for name, i in (("bob/2.png", 4), ("bob/1.jpg", 3), ("ann é/x.PNG", 1), ("ann é/y.bmp", 2)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(i, suffix=".png" if "PNG" in name else name[-4:]))
    (root / "anton").mkdir()  # no image: no identity
    (root / ".cache").mkdir()
    (root / ".cache/z.png").write_bytes(b"")
    (root / "bob/notes.txt").write_text("x")
    (root / "bob/.hidden.png").write_bytes(b"")
    (root / "beside.png").write_bytes(b"")
    return root


def test_a_folder_is_read_by_identity(folder):
    source = image_source(folder)
    assert list(source.keys) == ["ann é/x.PNG", "ann é/y.bmp", "bob/1.jpg", "bob/2.png"]
    assert source.labels.tolist() == [0, 0, 1, 1]
    assert [item.label for item in source] == [0, 0, 1, 1]
    assert next(iter(source)).data == (folder / "ann é/x.PNG").read_bytes()
    assert source.name(3) == f"{folder}/bob/2.png"


@pytest.mark.parametrize("indexed", [False, True])
def test_records_have_their_keys_and_labels(tmp_path, indexed):
    record = mx.recordio.MXIndexedRecordIO(str(tmp_path / "s.idx"), str(tmp_path / "s.rec"), "w")
    for key, label in ((1, 5), (2, 5), (3, 9)):
        record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), picture(key)))
    if indexed:
        for key, begin, end in ((4, 1, 3), (5, 3, 4), (0, 4, 6)):
            record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, [begin, end], key, 0), b""))
    record.close()
    source = image_source(tmp_path / "s.rec")
    assert (list(source.keys), source.labels.tolist()) == (["1", "2", "3"], [5, 5, 9])
    assert bytes(source.read(2)) == picture(3)
    assert source.name(2) == f"{tmp_path}/s.rec: record 3"


def test_a_bin_is_numbered_and_recognised_without_its_suffix(tmp_path):
    evalbin.write_bin(tmp_path / "pairs", [picture(i) for i in range(4)], [True, False])
    source = image_source(tmp_path / "pairs")
    assert (list(source.keys), source.labels.tolist()) == (["0", "1", "2", "3"], [-1] * 4)
    assert source.name(1) == f"{tmp_path}/pairs: image 1"


def test_invalid_sources_raise(tmp_path):
    with pytest.raises(InsightError, match="nowhere: no such file or folder; want identity folders, a .rec or"):
        image_source("nowhere")
    with pytest.raises(InsightError, match="is empty; want a folder that holds a folder of images per person"):
        image_source(tmp_path)
    (tmp_path / "f.tar").write_bytes(b"lfw/abc")
    with pytest.raises(InsightError, match=r"neither a .rec nor a verification .bin \(it starts with b'lfw/'\)"):
        image_source(tmp_path / "f.tar")


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_embeddings_are_in_order(batch_size):
    embedded = embed(network, source_of(10), SIZE, "none", batch_size)
    assert embedded.embeddings.dtype == np.float32
    assert embedded.embeddings.shape == (10, 4)
    want = np.outer(np.arange(1, 11), [1, 2, 3]) * 15 / 16  # RGB, one column of 16 dark
    np.testing.assert_allclose(embedded.embeddings[:, :3], want, rtol=1e-6)
    assert (embedded.embeddings[:, 3] == 0).all()
    assert (embedded.keys.tolist(), embedded.labels.tolist()) == ([str(i) for i in range(10)], list(range(10)))


def test_flip_adds_the_mirror_image():
    plain, both = (embed(network, source_of(5), SIZE, flip).embeddings for flip in ("none", "sum"))
    np.testing.assert_allclose(both[:, :3], 2 * plain[:, :3])
    np.testing.assert_allclose(both[:, 3], 2 * np.arange(1, 6))  # the right edge is bright


def test_only_a_few_batches_are_in_memory():
    lock = threading.Lock()
    counts = {"read": 0, "done": 0, "most": 0}
    keys = [str(i) for i in range(60)]

    def read(i):
        with lock:
            counts["read"] += 1
            counts["most"] = max(counts["most"], counts["read"] - counts["done"])
        return picture(i)

    def slow(images):
        assert len(images) <= 4
        rows = network(images)
        with lock:
            counts["done"] += len(images)
        return rows

    embed(slow, ImageSource("made", keys, np.zeros(60), read, "image"), SIZE, batch_size=4)
    assert counts["read"] == 60
    assert counts["most"] <= 4 * (AHEAD + 1)


def test_the_next_images_are_decoded_while_the_network_works():
    decoded = threading.Event()

    def read(i):
        if i == 4:  # of the second batch
            decoded.set()
        return picture(i)

    def waiting(images):
        assert decoded.wait(10)
        return network(images)

    embed(waiting, ImageSource("made", list("01234567"), np.zeros(8), read, "image"), SIZE, batch_size=4)


def test_a_stream_may_start_anywhere():
    whole = embed(network, source_of(10), SIZE).embeddings
    assert (np.concatenate(list(stream(network, source_of(10), SIZE, batch_size=4, start=5))) == whole[5:]).all()


def test_an_image_that_cannot_be_used_is_named(folder):
    (folder / "bob/2.png").write_bytes(b"nothing")
    with pytest.raises(InsightError, match=r"faces/bob/2.png: not a readable image"):
        embed(network, image_source(folder), SIZE)
    (folder / "bob/2.png").write_bytes(picture(1, (20, 16)))
    with pytest.raises(InsightError, match=r"bob/2.png: is 20x16 \(height x width\), the network takes 16x16; give al"):
        embed(network, image_source(folder), SIZE)


def test_bad_options_raise():
    with pytest.raises(InsightError, match="--flip twice: want one of none, sum, both"):
        embed(network, source_of(1), SIZE, "twice")
    with pytest.raises(InsightError, match="--batch-size 0"):
        embed(network, source_of(1), SIZE, batch_size=0)


def test_the_file_needs_no_pickle(tmp_path):
    path = tmp_path / "new/e.npz"
    save(path, embed(network, source_of(3), SIZE))
    with np.load(path, allow_pickle=False) as stored:
        assert sorted(stored.files) == ["embeddings", "keys", "labels"]
        assert stored["embeddings"].dtype == np.float32
        assert stored["keys"].dtype.kind == "U"
        assert stored["labels"].dtype == np.int64


def test_other_arrays_raise(tmp_path):
    good = {"embeddings": np.ones((2, 3)), "keys": np.array(["a", "b"]), "labels": np.zeros(2, int)}
    for change in ({"keys": np.arange(2)}, {"labels": np.ones(2) / 2}, {"embeddings": np.ones(2)}):
        np.savez(tmp_path / "a.npz", **{**good, **change})
        with pytest.raises(InsightError, match=r"a.npz: not an .npz that embed wrote \(embeddings float64"):
            load(tmp_path / "a.npz")
    with open(tmp_path / "a.npz", "wb") as out:
        np.save(out, good["embeddings"])
    with pytest.raises(InsightError, match="a.npz: not an .npz that embed wrote .not a zip archive"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **good)
    assert load(tmp_path / "a.npz").keys.tolist() == ["a", "b"]


def test_spread_covers_the_source():
    assert source_of(9).spread(3, SIZE)[:, 0, 0, 1].tolist() == [1, 5, 9]
    assert len(source_of(2).spread(5, SIZE)) == 2


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A checkpoint that takes 64x64 images."""
    x = S.Pooling(
        (S.Variable("data", shape=(0, 3, 64, 64)) - 127.5) / 128, kernel=(8, 8), stride=(8, 8), pool_type="avg"
    )
    prefix = tmp_path_factory.mktemp("m") / "m"
    stored = Checkpoint(*filled(S.FullyConnected(x, num_hidden=4, name="fc1"), size=64))
    checkpoint.save(str(prefix), 1, stored)
    return f"{prefix},1"


def test_the_command(spec, tmp_path, capsys):
    evalbin.write_bin(tmp_path / "p.bin", [picture(i, (64, 64)) for i in range(6)], [True, False, True])
    output = tmp_path / "e.npz"
    arguments = ["--model", spec, "--input", str(tmp_path / "p.bin"), "--output", str(output)]
    stored = {}
    for flip in ("none", "sum"):
        assert run_command("embed", [*arguments, "--flip", flip, "--batch-size", "4"]) == 0
        stored[flip] = np.load(output)["embeddings"]
    assert re.search("6 embeddings of 4; .*m,1 in OpenVINO .* on CPU, float32", capsys.readouterr().out)
    assert stored["none"].shape == (6, 4)
    assert np.abs(stored["sum"] - stored["none"]).max() > 0.1
    assert run_command("embed", arguments) == 0
    assert (np.load(output)["embeddings"] == stored["none"]).all()  # none is the default, and a file is replaced
    assert run_command("embed", [*arguments, "--engine", "mxnet"]) == 0
    np.testing.assert_allclose(np.load(output)["embeddings"], stored["none"], rtol=1e-4)
    assert run_command("embed", [*arguments, "--engine", "mxnet", "--dtype", "bfloat16"]) == 2


def test_inputs_are_not_replaced(spec, tmp_path, capsys):
    faces = tmp_path / "p.bin"
    evalbin.write_bin(faces, [picture(i, (64, 64)) for i in range(2)], [True])
    before = faces.read_bytes()
    arguments = ["--model", spec, "--input", str(faces), "--output"]
    assert run_command("embed", [*arguments, str(faces)]) == 2
    assert f"--output {faces}: is an input, too" in capsys.readouterr().err
    assert faces.read_bytes() == before
    ours = str(tmp_path / "e.npz")
    assert run_command("embed", [*arguments, ours, "--compare", str(tmp_path / "none.npz")]) == 2
    assert "none.npz: no such file; want an .npz that embed wrote" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [faces]  # raised before the first embedding
    assert run_command("embed", [*arguments, ours]) == 0
    assert run_command("embed", [*arguments, ours, "--compare", ours]) == 2  # it would be compared with itself
    assert f"--output {ours}: is an input, too" in capsys.readouterr().err


def test_the_command_leaves_no_file_after_an_error(spec, tmp_path, capsys):
    pictures = [picture(i, (64, 64)) for i in range(3)]
    evalbin.write_bin(tmp_path / "p.bin", [*pictures, b"\xff\xd8broken"], [True, False])
    output = tmp_path / "out/e.npz"
    assert run_command("embed", ["--model", spec, "--input", str(tmp_path / "p.bin"), "--output", str(output)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/p.bin: image 3: not a readable image (it starts with b'\\xff\\xd8broken'); "
        "remove it or replace it\n"
    )
    assert not output.exists()


def test_keys_of_records_are_written_in_blocks(tmp_path, monkeypatch):
    """A set may have more keys than fit into memory as text; the file is that of the whole arrays."""
    monkeypatch.setattr("insight.formats.keyruns._BLOCK_ROWS", 4)
    monkeypatch.setattr("insight.faces.embed._LABELS", 3)
    keys, labels = KeyNames(KeyRuns.of(np.r_[1:9, 95:98])), np.arange(11, dtype=np.int32)
    rows = np.arange(44, dtype=np.float32).reshape(11, 4)
    save_blocks(tmp_path / "blocks.npz", [rows[:5], rows[5:]], keys, labels)
    save(tmp_path / "whole.npz", Embedded(rows, np.array(list(keys)), labels.astype(np.int64)))
    members = [zipfile.ZipFile(tmp_path / name) for name in ("blocks.npz", "whole.npz")]
    for name in ("embeddings.npy", "keys.npy", "labels.npy"):
        assert members[0].read(name) == members[1].read(name), name
    for name, array in {"keys.npy": np.array(list(keys)), "labels.npy": labels.astype(np.int64)}.items():
        plain = io.BytesIO()
        np.lib.format.write_array(plain, array)
        assert members[0].read(name) == plain.getvalue()
    assert pickle.loads(pickle.dumps(keys))[10] == "97"
