"""Verification sets in the pickles of all tools, and pickles that try to execute code."""

import os
import pickle
import resource
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.errors import InsightError
from insight.formats.evalbin import BIN, REC, is_bin, kind_by_content, read_bin, write_bin

IMAGES = [b"\xff\xd8one\n'\\", b"\xff\xd8two", b"\xff\xd8three" * 30, b""]
ISSAME = [True, False]


def array(data):
    return np.frombuffer(data, np.uint8)


def column(data):
    return np.frombuffer(data, np.uint8).reshape(-1, 1).copy()  # as cv2.imencode gives it


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("entry", [bytes, bytearray, array, column], ids=["bytes", "bytearray", "array", "column"])
@pytest.mark.parametrize(
    "flags", [list, tuple, np.array, lambda f: [np.bool_(v) for v in f], lambda f: [int(v) for v in f]]
)
def test_python3_pickles(tmp_path, protocol, entry, flags):
    images = [entry(image) for image in IMAGES[:3]] + [entry(IMAGES[0])]
    (tmp_path / "a.bin").write_bytes(pickle.dumps((images, flags(ISSAME)), protocol=protocol))
    result = read_bin(tmp_path / "a.bin")
    assert [bytes(image) for image in result.images] == [*IMAGES[:3], IMAGES[0]]
    assert result.issame.tolist() == ISSAME
    assert result.issame.dtype == np.bool_


def python2(items, protocol):
    """([str, ..], [bool, ..]) as Python 2.7's pickle writes it, assembled by hand."""
    out, memo = (b"\x80\x02" if protocol == 2 else b""), 0
    for values in items:
        out += (b"]q" + bytes([memo])) if protocol else b"(lp%d\n" % memo
        memo += 1
        out += b"(" if protocol else b""
        for value in values:
            if isinstance(value, bool):
                out += (b"\x88" if value else b"\x89") if protocol == 2 else b"I0%d\n" % value
            elif protocol == 0:
                # Python 2's repr of a str
                out += b"S" + repr(value).encode()[1:] + b"\np%d\n" % memo
                memo += 1
            elif len(value) < 256:
                out += b"U" + bytes([len(value)]) + value + b"q" + bytes([memo])
                memo += 1
            else:
                out += b"T" + struct.pack("<i", len(value)) + value + b"r" + struct.pack("<I", memo)
                memo += 1
            out += b"a" if not protocol else b""
        out += b"e" if protocol else b""
    return (b"(" if not protocol else b"") + out + (b"\x86." if protocol == 2 else b"t.")


@pytest.mark.parametrize("protocol", [0, 2])
def test_python2_strings(tmp_path, protocol):
    content = python2(([*IMAGES[:3], b"\xff\xd8" + bytes(range(256)) * 2], ISSAME), protocol)
    expected = pickle.loads(content, encoding="bytes")
    (tmp_path / "a.bin").write_bytes(content)
    result = read_bin(tmp_path / "a.bin")
    assert [bytes(image) for image in result.images] == expected[0]
    assert result.issame.tolist() == expected[1] == ISSAME


def test_python2_array(tmp_path):
    """A uint8 column as Python 2.7 with NumPy 1.x pickled it (AgeDB's and CFP's files), protocol 2."""
    one = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04"
        b"(K\x01K\x03K\x01\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87Rq\x06"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\xff\xd8Atb"
    )
    two = b"h\x02h\x03K\x00\x85U\x01b\x87R(K\x01K\x02K\x01\x86h\x06\x89U\x02\xff\xd8tb"
    content = b"\x80\x02]q\x00(" + one + two + b"e]q\x01\x88a\x86."
    images, _ = pickle.loads(content, encoding="bytes")
    (tmp_path / "a.bin").write_bytes(content)
    result = read_bin(tmp_path / "a.bin")
    assert (
        [bytes(image) for image in result.images]
        == [image.tobytes() for image in images]
        == [b"\xff\xd8A", b"\xff\xd8"]
    )


def test_numpy_2_names(tmp_path):
    content = pickle.dumps(([array(b"\xff\xd8")] * 2, [True]), protocol=2)
    assert b"numpy.core.multiarray" in content
    (tmp_path / "a.bin").write_bytes(content.replace(b"numpy.core.multiarray", b"numpy._core.multiarray"))
    assert [bytes(image) for image in read_bin(tmp_path / "a.bin").images] == [b"\xff\xd8"] * 2


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40), st.booleans()), min_size=1, max_size=30)
)
def test_round_trip(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("bin") / "a.bin"
    images, issame = [image for pair in pairs for image in pair[:2]], [pair[2] for pair in pairs]
    write_bin(path, images, issame)
    result = read_bin(path)
    assert [bytes(image) for image in result.images] == images
    assert result.issame.tolist() == issame
    assert pickle.loads(path.read_bytes(), encoding="bytes") == (images, issame)


def test_lists_of_more_than_a_batch(tmp_path):
    for pairs in (499, 500, 501, 1001):  # 998, 1000, 1002, 2002 images: pickle appends 1000 at a time
        images = [b"%d" % i for i in range(2 * pairs)]
        issame = [i % 3 == 0 for i in range(pairs)]
        write_bin(tmp_path / "a.bin", images, issame)
        assert pickle.loads((tmp_path / "a.bin").read_bytes(), encoding="bytes") == (images, issame)


def test_real_files(real_data, tmp_path):
    for name, pairs, same in (("lfw_dev.bin", 600, 300), ("small_lfw.bin", 10, None)):
        path = real_data / "data" / name
        images, issame = pickle.loads(path.read_bytes(), encoding="bytes")
        result = read_bin(path)
        assert [bytes(image) for image in result.images] == [bytes(image) for image in images]
        assert result.issame.tolist() == [bool(v) for v in issame]
        assert len(issame) == pairs
        assert same is None or sum(issame) == same
    result = read_bin(real_data / "data/lfw_dev.bin")
    write_bin(tmp_path / "again.bin", result.images, result.issame)
    assert (tmp_path / "again.bin").read_bytes() == (real_data / "data/lfw_dev.bin").read_bytes()


class Run:
    """Pickles to a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (lambda p: Run(os.system, f"touch {p}"), r"(posix|nt)\.system"),
        (lambda p: Run(eval, f"open({str(p)!r}, 'w')"), r"(builtins|__builtin__)\.eval"),
        (lambda p: Run(subprocess.Popen, ["touch", str(p)]), r"(subprocess|commands)\.Popen"),
        (lambda p: Run(np.load, str(p)), r"numpy\.load|numpy\.lib.*load"),
    ],
    ids=["os.system", "eval", "Popen", "numpy.load"],
)
def test_no_code_is_executed(tmp_path, protocol, payload, name):
    ran = tmp_path / "ran"
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(([payload(ran), b""], [True]), protocol=protocol))
    with pytest.raises(InsightError, match=rf"evil\.bin: names ({name}).*nothing was executed"):
        read_bin(tmp_path / "evil.bin")
    assert not ran.exists()


def test_os_system_by_hand(tmp_path):
    (tmp_path / "evil.bin").write_bytes(b"cos\nsystem\n(S'touch %s/ran'\ntR." % os.fsencode(tmp_path))
    with pytest.raises(InsightError, match=r"names os\.system"):
        read_bin(tmp_path / "evil.bin")
    assert not (tmp_path / "ran").exists()


def peak_kilobytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def deep(code, count=200_000):
    return code * count + b"."


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"N.",
        b"\x80\x09N.",
        b"\x80\x02(.",
        b"\x80\x02]t.",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a bytearray of 2^63 bytes
        b"B\xff\xff\xff\xff.",
        b"T\xfb\xff\xff\xff.",  # length -5, which would loop on this instruction for ever
        b"Nr\xff\xff\xff\xff.",  # memo slot 2^32, for which C pickle would allocate memory
        b"cnumpy\ndtype\nJ\xff\xff\xff\x7f\x85R.",  # bytes(2^31) if it were trusted
        b"cnumpy\ndtype\nU\x02O8\x85R.",
        b"cnumpy\ndtype\nU\x02V9\x85R.",
        b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        b"ccopy_reg\n_reconstructor\n.",
        b"\x8c\x02os\x8c\x06system\x93.",
        deep(b"]"),
        deep(b"("),
        deep(b")\x85"),
        deep(b"]", 1000)[:-1] + b"a" * 999 + b"R.",  # lists in lists instead of a function
        b"]q\x00" + b"(h\x00h\x00h\x00h\x00h\x00h\x00h\x00e" * 60 + b"].",
        b"\x80\x02]q\x00h\x00a.",  # a list that contains itself
        b"\x80\x02]q\x00h\x00ah\x00\x86.",
        b"cnumpy.core.multiarray\n_reconstruct\n)R].\x86.",
        b"}.",
        b"\x80\x02]]\x86.",
        b"\x80\x02](U\x01aU\x01be]\x88a0.",
        pickle.dumps(([b"a", b"b"], ["yes"])),
        pickle.dumps(([b"a", b"b"], [2])),
        pickle.dumps(([b"a", b"b", b"c"], [True])),
        pickle.dumps(([b"a", "b"], [True])),
        pickle.dumps(([np.zeros((4, 4), np.uint8)] * 2, [True])),
        pickle.dumps(([np.zeros(4, np.float32)] * 2, [True])),
        b"cnumpy\ndtype\nU\x05S9999\x85R.",
        b"cnumpy\ndtype\nU\x00\x85R.",
        b"(cnumpy.core.numeric\n_frombuffer\n(U\x04abcdcnumpy\ndtype\nU\x02i8\x85R(K\x01tU\x01CtR]t.",
        pickle.dumps({"images": [], "issame": []}),
        pickle.dumps((np.zeros((4, 128), np.float32), [True, False])),
        b"\xff\xd8\xff\xe0 a jpeg",
    ],
)
def test_files_that_are_not_verification_sets_raise(tmp_path, content):
    (tmp_path / "a.bin").write_bytes(content)
    start, memory = time.monotonic(), peak_kilobytes()
    with pytest.raises(InsightError, match=r"a\.bin: "):
        read_bin(tmp_path / "a.bin")
    assert time.monotonic() - start < 5
    assert peak_kilobytes() - memory < 300_000


def test_very_long_integers_are_refused(tmp_path):
    for content in (b"I" + b"9" * 2000 + b"\n.", b"L" + b"9" * 2000 + b"L\n."):
        (tmp_path / "a.bin").write_bytes(content)
        with pytest.raises(InsightError, match="an integer of 200[01] digits"):
            read_bin(tmp_path / "a.bin")


def test_many_references_to_one_list_are_fast(tmp_path):
    """Ten thousand lists of ten thousand items in 30 kB of pickle."""
    shared = b"]q\x00(" + b"N" * 10_000 + b"e"
    (tmp_path / "a.bin").write_bytes(b"\x80\x02(" + shared + b"l" + b"(" + b"h\x00" * 10_000 + b"l\x86.")
    start = time.monotonic()
    with pytest.raises(InsightError):
        read_bin(tmp_path / "a.bin")
    assert time.monotonic() - start < 2


def test_missing_and_folder(tmp_path):
    with pytest.raises(InsightError, match="no such file"):
        read_bin(tmp_path / "none.bin")
    with pytest.raises(InsightError, match="a folder"):
        read_bin(tmp_path)


def objects(items):
    """A NumPy array of objects, which NumPy does not create from lists of the same length."""
    made = np.empty(len(items), object)
    for i, item in enumerate(items):
        made[i] = item
    return made


EQUAL = [b"\xff\xd8ab", b"\xff\xd8cd", b"\xff\xd8ef", b"\xff\xd8gh"]  # of one length
PLAIN_FLAGS = {
    **{
        f"array of {kind.str}": np.array(ISSAME).astype(kind)
        for code in "?bBhHiIqQefd"
        for kind in {np.dtype(code).newbyteorder(order) for order in "<>"}
    },
    "column": np.array([[1], [0]]),
    "row": np.array([[1, 0]], np.float32),
    "objects": objects([True, np.int64(0)]),
    "arrays": [np.array(1), np.array([0], np.uint8)],
    "floats": [1.0, 0.0],
    "mixed": [True, 0],
    "tuple": (1, False),
}
for name in [name for name in PLAIN_FLAGS if name.startswith("array of")]:
    PLAIN_FLAGS[f"scalars, {name}"] = list(PLAIN_FLAGS[name])
PLAIN_IMAGES = {
    "tuple": tuple(EQUAL),
    "objects": objects(EQUAL),
    "objects, arrays": objects([array(image) for image in EQUAL]),
    "pairs of objects": objects(EQUAL).reshape(2, 2),
    "byte strings": np.array(EQUAL),
    "byte scalars": [np.bytes_(image) for image in EQUAL],
    "byte arrays": [np.array(image) for image in EQUAL],
    "rows": np.stack([array(image) for image in EQUAL]),
    "columns": np.asfortranarray(np.stack([array(image) for image in EQUAL])),
    "row vectors": [array(image)[None] for image in EQUAL],
}


@pytest.mark.parametrize("protocol", range(6))
def test_flags_of_any_width_are_accepted(tmp_path, protocol):
    for name, flags in PLAIN_FLAGS.items():
        (tmp_path / "a.bin").write_bytes(pickle.dumps((EQUAL, flags), protocol=protocol))
        result = read_bin(tmp_path / "a.bin").issame
        assert (result.tolist(), result.dtype) == (ISSAME, np.bool_), name


@pytest.mark.parametrize("protocol", range(6))
def test_images_in_every_container(tmp_path, protocol):
    for name, images in PLAIN_IMAGES.items():
        (tmp_path / "a.bin").write_bytes(pickle.dumps((images, ISSAME), protocol=protocol))
        assert [bytes(image) for image in read_bin(tmp_path / "a.bin").images] == EQUAL, name
    (tmp_path / "a.bin").write_bytes(pickle.dumps((np.array(IMAGES[:2]), [True]), protocol=protocol))
    assert [bytes(image) for image in read_bin(tmp_path / "a.bin").images] == IMAGES[:2]  # padded by NumPy
    (tmp_path / "a.bin").write_bytes(pickle.dumps(objects([EQUAL, ISSAME]), protocol=protocol))
    assert read_bin(tmp_path / "a.bin").issame.tolist() == ISSAME


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize(
    ("images", "flags", "message"),
    [
        (EQUAL, np.array([1, 2]), "issame, item 1: a number that is neither 0 nor 1"),
        (EQUAL, np.array([np.nan, 1]), "issame, item 0: a number that is neither"),
        (EQUAL, [True, np.int64(-1)], "issame, item 1: a number that is neither"),
        (EQUAL, [1, 0.5], "issame, item 1: a number that is neither"),
        (EQUAL, ["1", "0"], "issame, item 0: a str, want booleans"),
        (EQUAL, [True, None], "issame, item 1: a NoneType"),
        (EQUAL, [True, np.array([0, 1])], "issame, item 1: a ndarray"),
        (EQUAL, np.array(["1", "0"]), "issame: an array of type 'U1'; want numbers, booleans or encoded bytes"),
        (EQUAL, np.array([1j, 0]), "issame: an array of type 'c16'"),
        (EQUAL, [True, np.complex64(0)], "issame, item 1: an array of type 'c8'"),
        (EQUAL, np.array([b"1", b"0"]), "issame is an array .S1, want booleans"),
        (EQUAL, "10", "issame is a str, want a list of booleans"),
        ([*EQUAL[:3], np.zeros(4)], ISSAME, r"image 3 is an array float64 \(4,\), want encoded bytes"),
        ([*EQUAL[:3], np.zeros((2, 2), np.uint8)], ISSAME, r"image 3 is an array uint8 \(2, 2\)"),
        ([*EQUAL[:3], np.array(["a"])], ISSAME, "image 3: an array of type 'U1'"),
        ([*EQUAL[:3], 7], ISSAME, "image 3 is a int"),
        (np.zeros((4, 2, 2, 3), np.uint8), ISSAME, r"images are an array uint8 \(4, 2, 2, 3\), want encoded images"),
        (np.zeros((4, 9), np.float32), ISSAME, r"images are an array float32 \(4, 9\)"),
        (np.zeros((1 << 40, 0), np.uint8), ISSAME, "images are an array uint8"),
        (np.array([["a"]]), ISSAME, "images: an array of type 'U1'"),
        (b"\xff\xd8", ISSAME, "images are a memoryview|images are a bytes"),
    ],
)
def test_the_message_names_the_wrong_part(tmp_path, images, flags, message, protocol):
    (tmp_path / "a.bin").write_bytes(pickle.dumps((images, flags), protocol=protocol))
    with pytest.raises(InsightError, match=rf"a\.bin: ({message})"):
        read_bin(tmp_path / "a.bin")


def test_an_array_of_objects_with_a_wrong_shape(tmp_path):
    content = pickle.dumps((objects(EQUAL), ISSAME), protocol=2)
    assert content.count(b"K\x04\x85") == 1
    (tmp_path / "a.bin").write_bytes(content.replace(b"K\x04\x85", b"K\x05\x85"))
    with pytest.raises(InsightError, match="an array of objects without a list of them"):
        read_bin(tmp_path / "a.bin")


def test_an_array_of_objects_executes_no_code(tmp_path):
    ran = tmp_path / "ran"
    for protocol in range(6):
        evil = objects([Run(os.system, f"touch {ran}"), b""])
        (tmp_path / "evil.bin").write_bytes(pickle.dumps((evil, [True]), protocol=protocol))
        with pytest.raises(InsightError, match="nothing was executed"):
            read_bin(tmp_path / "evil.bin")
    assert not ran.exists()


def test_formats_load_neither_mxnet_nor_opencv():
    code = (
        "import sys; from insight.files import commit; from insight.images import header; "
        "from insight.formats import evalbin, faceset, lst, property, recordio; "
        "sys.exit(any(m in sys.modules for m in ('mxnet', 'cv2')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    code = (
        "import sys; from insight.files import commit; from insight.images import header; "
        "from insight.formats import lst, property, recordwriter; "
    )
    assert subprocess.run([sys.executable, "-c", code + "sys.exit('numpy' in sys.modules)"]).returncode == 0


@pytest.mark.parametrize("protocol", range(6))
def test_a_set_is_known_by_its_first_bytes(tmp_path, protocol):
    path = tmp_path / "a"
    path.write_bytes(pickle.dumps((IMAGES, ISSAME), protocol))
    assert kind_by_content(path)[0] == BIN
    assert is_bin(path)


def test_records_are_known_by_content_and_by_name(tmp_path):
    record = struct.pack("<II", 0xCED7230A, 0)
    contents = {"a.bin": record, "b.rec": b"\0" * 8, "c.bin": b"\0" * 8, "d": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert [kind_by_content(tmp_path / name)[0] for name in contents] == [REC, "", "", ""]
    assert kind_by_content(tmp_path / "c.bin")[1] == b"\0" * 4
    # a damaged .rec is read as one, anything else as a .bin: the reader reports what is wrong
    assert [is_bin(tmp_path / name) for name in contents] == [False, False, True, True]
    assert not is_bin(tmp_path)
    assert not is_bin(tmp_path / "missing.bin")
