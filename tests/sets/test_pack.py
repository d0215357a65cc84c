"""Record sets compared with face2rec2's layout written by mx.recordio, and read by MXNet's own readers."""

import csv
import os
import subprocess

import cv2
import numpy as np
import pytest
from made_faces import encode, face
from skimage.transform import SimilarityTransform

from insight._mxnet import mx
from insight.errors import InsightError
from insight.formats.faceset import FaceSet
from insight.sets.pack import find_lists, pack
from insight.sets.scan import folder_to_lists

TEMPLATE = np.float32(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
)


def reference_set(lst, stem, width=112, quality=95):
    """InsightFace's src/data/face2rec2.py, with MXNet's own functions."""
    out = mx.recordio.MXIndexedRecordIO(f"{stem}.idx", f"{stem}.rec", "w")
    ranges, last, key = [], None, 0
    for line in open(lst, encoding="utf-8"):
        fields = line.rstrip("\n").split("\t")
        aligned, label = int(fields[0]), int(fields[2])
        if not aligned and len(fields) < 17:
            continue
        key += 1
        header = mx.recordio.IRHeader(0, [label, aligned], key, 0)
        if aligned:
            packed = mx.recordio.pack(header, open(fields[1], "rb").read())
        else:
            points = np.array(fields[7:17], np.float64).reshape(2, 5).T.astype(np.float32)
            target = TEMPLATE + np.float32([8 if width == 112 else 0, 0])
            transform = SimilarityTransform()
            transform.estimate(points, target)
            warped = cv2.warpAffine(cv2.imread(fields[1]), transform.params[:2], (width, 112), borderValue=0.0)
            packed = header_and_image(header, warped, quality)
        out.write_idx(key, packed)
        if label != last:
            ranges.append([key, key])
            last = label
        ranges[-1][1] = key + 1
    first = key + 1
    out.write_idx(0, mx.recordio.pack(mx.recordio.IRHeader(2, [first, first + len(ranges)], 0, 0), b""))
    for key, edges in enumerate(ranges, first):
        out.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(2, edges, key, 0), b""))
    out.close()


def header_and_image(header, pixels, quality):
    done, buffer = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return mx.recordio.pack(header, buffer.tobytes())


def same_bytes(a, b):
    return all(
        (a.parent / (a.name + s)).read_bytes() == (b.parent / (b.name + s)).read_bytes() for s in (".rec", ".idx")
    )


def test_same_bytes_as_face2rec2(people, tmp_path):
    folder = people({"ann lee": 3, "bob": 1, "Łucja": 4})
    folder_to_lists(str(folder), str(tmp_path / "train.lst"))
    reference_set(tmp_path / "train.lst", tmp_path / "reference")
    [report] = pack(str(tmp_path / "train.lst"), str(tmp_path / "set"))
    assert same_bytes(tmp_path / "set/train", tmp_path / "reference")
    assert (tmp_path / "set/property").read_bytes() == b"3,112,112"
    assert sorted(os.listdir(tmp_path / "set")) == ["property", "train.idx", "train.rec"]
    assert report.lines() == [
        f"{tmp_path}/set/train.rec: 8 images + 3 identity records + 1 header = 12 records; property 3,112,112"
    ]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("width", [112, 96])
def test_same_bytes_as_face2rec2_where_landmarks_are_warped(tmp_path, width):
    """Aligned and unaligned lines, lines that are skipped, labels in separate runs."""
    rng = np.random.default_rng(0)
    lines = []
    for i, label in enumerate([4, 4, 7, 4, 9, 9, 0]):
        path = tmp_path / f"{i} é.jpg"
        path.write_bytes(encode(face(i, 112, width) if i == 2 else face(i, 250, 200)))
        points = TEMPLATE * 1.5 + rng.normal(0, 4, (5, 2)) + [20, 40]
        numbers = "\t".join(repr(float(v)) for v in points.T.ravel())
        if i == 2:
            lines.append(f"1\t{path}\t{label}\n")
        elif i == 3:
            lines.append(f"0\t{path}\t{label}\t1\t2\t30\t40\n")  # no landmarks
        else:
            lines.append(f"0\t{path}\t{label}\t0\t0\t0\t0\t{numbers}\n")
    (tmp_path / "a.lst").write_text("".join(lines), encoding="utf-8")
    reference_set(tmp_path / "a.lst", tmp_path / "reference", width)
    [report] = pack(str(tmp_path / "a.lst"), str(tmp_path / "set"), size=(112, width), workers=3)
    assert same_bytes(tmp_path / "set/train", tmp_path / "reference")
    assert (report.images, report.identities, report.verbatim) == (6, 4, 1)
    assert report.changes == {"aligned by landmarks": 5}
    assert [reason for _, _, reason in report.skipped] == ["not aligned, and the list has no landmarks for it"]
    assert (tmp_path / "set/property").read_text() == f"10,112,{width}"


def test_mxnet_reads_sets(people, tmp_path):
    folder_to_lists(str(people({"a": 3, "b": 2})), str(tmp_path / "train.lst"))
    pack(str(tmp_path / "train.lst"), str(tmp_path / "set"))
    files = sorted((tmp_path / "faces").rglob("*.jpg"))
    labels = [0, 0, 0, 1, 1]
    opened = mx.recordio.MXIndexedRecordIO(str(tmp_path / "set/train.idx"), str(tmp_path / "set/train.rec"), "r")
    header, payload = mx.recordio.unpack(opened.read_idx(0))
    assert (header.label.tolist(), payload) == ([6, 8], b"")
    for key, (path, label) in enumerate(zip(files, labels), 1):
        header, payload = mx.recordio.unpack(opened.read_idx(key))
        assert (header.label.tolist(), header.id, payload) == ([label, 1], key, path.read_bytes())
    dataset = mx.gluon.data.vision.ImageRecordDataset(str(tmp_path / "set/train.rec"))
    for row, (path, label) in enumerate(zip(files, labels)):
        pixels, read_label = dataset[row]
        assert read_label.tolist() == [label, 1]
        assert np.abs(pixels.asnumpy() - cv2.imread(str(path))[:, :, ::-1].astype(float)).mean() < 2


def test_mxnet_iterates_plain_sets(people, tmp_path):
    folder_to_lists(str(people({"a": 3, "b": 2})), str(tmp_path / "train.lst"))
    [report] = pack(str(tmp_path / "train.lst"), str(tmp_path / "set"), layout="plain")
    assert report.lines() == [f"{tmp_path}/set/train.rec: 5 images; property 2,112,112"]
    iterator = mx.io.ImageRecordIter(
        path_imgrec=str(tmp_path / "set/train.rec"), data_shape=(3, 112, 112), batch_size=5, preprocess_threads=1
    )
    batch = next(iter(iterator))
    assert batch.label[0].asnumpy().tolist() == [0, 0, 0, 1, 1]
    for row, path in enumerate(sorted((tmp_path / "faces").rglob("*.jpg"))):
        expected = cv2.imread(str(path))[:, :, ::-1].transpose(2, 0, 1).astype(float)
        assert np.abs(batch.data[0][row].asnumpy() - expected).mean() < 2
    dataset = mx.gluon.data.vision.ImageRecordDataset(str(tmp_path / "set/train.rec"))
    assert [float(dataset[i][1]) for i in range(len(dataset))] == [0, 0, 0, 1, 1]
    with FaceSet.open(str(tmp_path / "set")) as faces:
        assert faces.labels.tolist() == [0, 0, 0, 1, 1]
        assert faces.images.tolist() == [0, 1, 2, 3, 4]


def test_odd_files_are_converted_or_listed(people, tmp_path):
    folder = people({"a": 2, "b": 2, "c": 0, "d": 0})
    (folder / "a/grey.png").write_bytes(encode(face(50)[:, :, 0], ".png"))
    (folder / "b/text.jpg").write_text("This is not a picture, in spite of its name.")
    (folder / "b/empty.jpg").touch()
    (folder / "c/large.bmp").write_bytes(encode(face(51, 250, 250), ".bmp"))
    (folder / "d/cut.jpg").write_bytes(encode(face(52))[:-30])
    folder_to_lists(str(folder), str(tmp_path / "train.lst"))
    [report] = pack(str(tmp_path / "train.lst"), str(tmp_path / "set"))
    assert (report.images, report.identities, report.verbatim, report.labels) == (6, 3, 4, 3)
    lines = report.lines()
    assert lines[0].endswith("6 images + 3 identity records + 1 header = 10 records; property 4,112,112")
    assert lines[1] == "  4 images verbatim, 2 converted (1 png, 1 grey, 1 bmp, 1 resized from 250x250)"
    assert lines[2].startswith("  3 files skipped (")
    assert lines[2].endswith(f"see {tmp_path}/set/train.skipped.csv")
    assert lines[3:] == ["  note: 1 of 4 labels have no image"]
    with open(tmp_path / "set/train.skipped.csv", newline="") as source:
        rows = list(csv.DictReader(source))
    assert [(os.path.basename(r["path"]), r["label"], r["reason"]) for r in rows] == [
        ("empty.jpg", "1", "empty file"),
        ("text.jpg", "1", "not a readable image (it starts with b'This is ')"),
        ("cut.jpg", "3", "JPEG without its end marker: the file was truncated"),
    ]
    with FaceSet.open(str(tmp_path / "set")) as faces:
        assert faces.labels.tolist() == [0, 0, 0, 1, 1, 2]
        assert faces.num_classes == 4
    for path in folder.rglob("*"):
        assert path.exists()


def test_on_error_fail_stops_and_leaves_nothing(people, tmp_path):
    folder = people({"a": 2, "b": 1})
    (folder / "b/x.jpg").write_text("text")
    folder_to_lists(str(folder), str(tmp_path / "train.lst"))
    with pytest.raises(InsightError, match=r"faces/b/x\.jpg \(from .*\.lst\): not a readable image .* --on-error skip"):
        pack(str(tmp_path / "train.lst"), str(tmp_path / "set"), on_error="fail")
    assert not (tmp_path / "set").exists()


def test_nothing_usable(tmp_path):
    (tmp_path / "a.lst").write_text("1\tnone.jpg\t0\n1\tnone2.jpg\t1\n")
    with pytest.raises(InsightError, match=r"a\.lst: none of its 2 images can be used; the first, none\.jpg: no such"):
        pack(str(tmp_path / "a.lst"), str(tmp_path / "set"))
    assert not (tmp_path / "set").exists()


def test_notes(people, tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode(face(0, 250, 250)))
    (tmp_path / "a.lst").write_text("1\ta.jpg\t0\n" * 3)
    [report] = pack(str(tmp_path / "a.lst"))
    assert report.lines()[2:] == [
        "  note: most images were resized; networks expect aligned faces: align them with "
        "align-faces, or pack a list with landmarks (docs/align.md)",
        "  note: one identity can be merged or embedded; training needs two or more",
    ]
    (tmp_path / "b.lst").write_text("1\ta.jpg\t0\n1\ta.jpg\t1\n1\ta.jpg\t0\n")
    [report] = pack(str(tmp_path / "b.lst"), str(tmp_path / "b"), size=(250, 250))
    assert report.lines()[1:] == [
        "  note: 2 labels occur in 3 separate runs, and each run counts as an identity; sort the list by label"
    ]


@pytest.fixture
def two_lists(people, tmp_path):
    folder = people({"a": 2, "b": 2, "c": 2})
    lists = tmp_path / "work"
    lists.mkdir()
    for name, names in (("train", "abc"), ("val", "ab")):
        rows = [f"1\t{folder}/{n}/{i}.jpg\t{label}\n" for label, n in enumerate(names) for i in range(2)]
        (lists / f"{name}.lst").write_text("".join(rows))
    return lists


@pytest.mark.parametrize("source", ["work", "work/", "work/tr", "work/train.lst", "work/train"])
def test_positional_use_of_face2rec2(two_lists, tmp_path, monkeypatch, source):
    """A folder, or the beginning of a list's path; sets are written beside the lists under their names."""
    monkeypatch.chdir(tmp_path)
    reports = pack(source)
    expected = ["train", "val"] if source in ("work", "work/") else ["train"]
    assert [r.rec_path for r in reports] == [os.path.join("work", f"{name}.rec") for name in expected]
    made = {f"{name}.{s}" for name in expected for s in ("rec", "idx")}
    assert set(os.listdir("work")) == {"train.lst", "val.lst", "property"} | made
    assert (two_lists / "property").read_text() == "3,112,112"


def test_the_size_is_read_from_an_existing_property(two_lists):
    (two_lists / "property").write_text("3,112,96")
    [report] = pack(str(two_lists / "train.lst"))
    assert report.changes == {"resized from 112x112": 6}
    assert (two_lists / "property").read_text() == "3,112,96"
    assert FaceSet.open(str(two_lists / "train")).image_size == (112, 96)


def test_an_existing_property_may_have_more_classes_but_not_fewer(two_lists):
    (two_lists / "property").write_text("5,112,112")
    [report] = pack(str(two_lists / "train.lst"))
    assert (two_lists / "property").read_text() == "5,112,112"
    assert report.lines()[-1] == "  note: 2 of 5 labels have no image"
    pack(str(two_lists / "val.lst"))  # shares the folder, and its property
    assert (two_lists / "property").read_text() == "5,112,112"
    (two_lists / "property").write_text("2,112,112")
    with pytest.raises(InsightError, match="property: says 2,112,112, these lists need 3,112,112; correct it"):
        pack(str(two_lists / "train.lst"), overwrite=True)
    os.remove(two_lists / "val.rec")
    pack(str(two_lists / "train.lst"), overwrite=True)  # the property belongs to the set that is replaced
    assert (two_lists / "property").read_text() == "3,112,112"


def test_an_existing_set(two_lists, tmp_path):
    out = str(tmp_path / "set")
    pack(str(two_lists / "train.lst"), out)
    before = {p.name: p.read_bytes() for p in (tmp_path / "set").iterdir()}
    with pytest.raises(InsightError, match=r"set/train\.rec: already exists; give another output, or --over"):
        pack(str(two_lists / "val.lst"), out)
    assert {p.name: p.read_bytes() for p in (tmp_path / "set").iterdir()} == before
    (tmp_path / "set/train.skipped.csv").write_text("of the old set")
    pack(str(two_lists / "val.lst"), out, overwrite=True)
    assert len(FaceSet.open(out)) == 4
    assert sorted(os.listdir(out)) == ["property", "train.idx", "train.rec"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ta.jpg\t-1\n", r"a\.lst:1: a\.jpg has label -1, which marks unlabelled test images"),
        ("1\ta.jpg\t0\n1\tb.jpg\n", r"a\.lst:2: want aligned"),
        ("", r"a\.lst: holds no line"),
    ],
)
def test_lists_that_cannot_be_packed(tmp_path, text, message):
    (tmp_path / "a.lst").write_text(text)
    with pytest.raises(InsightError, match=message):
        pack(str(tmp_path / "a.lst"), str(tmp_path / "set"))
    assert not (tmp_path / "set").exists()


def test_an_output_that_is_a_file(two_lists, tmp_path):
    (tmp_path / "file").write_text("mine")
    for output in ("file", "file/set"):
        with pytest.raises(InsightError, match="file: a file, want a folder; give another output"):
            pack(str(two_lists / "train.lst"), str(tmp_path / output))
    assert (tmp_path / "file").read_text() == "mine"


def test_invalid_sources(two_lists, tmp_path):
    with pytest.raises(InsightError, match="none: no such list, folder, or beginning of a list's path"):
        find_lists(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InsightError, match=r"empty: holds no \.lst"):
        find_lists(str(tmp_path / "empty"))
    with pytest.raises(InsightError, match="means 2 lists, and --output takes one set"):
        pack(str(two_lists), str(tmp_path / "set"))


def test_an_im2rec_list_is_packed_too(people, tmp_path, monkeypatch):
    people({"a": 1, "b": 1})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.lst").write_text("0\t0.0\tfaces/a/0.jpg\n1\t1.0\tfaces/b/0.jpg\n")
    [report] = pack("a.lst", "set")
    assert report.lines()[1:] == [
        "  note: the list has im2rec's columns (index, label, path); its images were taken as aligned"
    ]
    assert FaceSet.open("set").labels.tolist() == [0, 1]


def test_command(people, insight, tmp_path):
    people({"a": 2, "b": 1})
    assert insight("dir2lst", "faces", "work/train.lst")[0] == 0
    status, out, err = insight(
        "face2rec", "work/train.lst", "--output", "set", "--num-thread", "2", "--image-size", "112"
    )
    assert (status, err) == (0, "")
    assert out == "set/train.rec: 3 images + 2 identity records + 1 header = 6 records; property 2,112,112\n"
    for arguments, message in (
        (["work/train.lst", "--output", "set"], "error: set/train.rec: already exists; "),
        (["nothing"], "error: nothing: no such list, folder"),
        (["work/train.lst", "--image-size", "1,2,3"], "error: argument --image-size: '1,2,3': want height,width"),
        (["work/train.lst", "--num-workers", "0"], "error: argument --num-workers/--num-thread: '0': want 1..1024"),
        (["work/train.lst", "--quality", "200"], "error: --quality 200: want 1..100 for .jpg"),
    ):
        status, out, err = insight("face2rec", *arguments)
        assert (status, out) == (2, "")
        assert err.startswith(message)
        assert err.count("\n") == 1


def test_real_faces(real_data, tmp_path):
    """All of lfw_dev: face2rec's set has the bytes of every file, in order."""
    subprocess.run(["tar", "xf", real_data / "data/lfw_dev.tar", "-C", tmp_path], check=True)
    folder_to_lists(str(tmp_path / "lfw_dev"), str(tmp_path / "train.lst"))
    [report] = pack(str(tmp_path / "train.lst"), str(tmp_path / "set"))
    assert (report.images, report.identities, report.verbatim) == (10884, 4550, 10884)
    reference_set(tmp_path / "train.lst", tmp_path / "reference")
    assert same_bytes(tmp_path / "set/train", tmp_path / "reference")


def test_keys_beyond_float32_are_written_as_numpy_rounds_them(tmp_path):
    """The header of a set of 2^24 + 1 images: struct and NumPy round to the same float32."""
    from insight.formats.framing import record_data

    for edges in ((2**24 + 1, 2**24 + 3), (2**25 + 2, 2**25 + 6)):
        assert record_data(b"", edges) == mx.recordio.pack(mx.recordio.IRHeader(0, list(map(float, edges)), 0, 0), b"")
