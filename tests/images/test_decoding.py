"""Pixels and warnings compared with OpenCV's decoder, and no output on the terminal."""

import os
import random
import struct
import threading
import zlib

import cv2
import damaged_images as made
import numpy as np
import pytest

from insight.errors import InsightError
from insight.images import decoding
from insight.images import pixels as image
from insight.images import png as pngfile

COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
OPENCV = tuple(int(part) for part in cv2.__version__.split(".")[:2])


def opencv(data, how=COLOUR):
    return cv2.imdecode(np.frombuffer(data, np.uint8), how)


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    """Damaged JPEGs, with OpenCV's result for each."""
    files = made.damaged_jpegs(each=4)
    return files, made.opencv_says(files, tmp_path_factory.mktemp("oracle"))


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    files = made.damaged_others()
    return files, made.opencv_says(files, tmp_path_factory.mktemp("oracle"))


@pytest.mark.parametrize("order", [decoding.BGR, decoding.RGB, decoding.STORED])
def test_sound_jpegs_have_opencv_s_pixels(order, capfd):
    for name, data in made.odd_jpegs().items():
        pixels, warning = decoding.decode(data, order)
        expected = opencv(data)
        assert warning == "", name
        assert np.array_equal(pixels, expected[:, :, ::-1] if order == decoding.RGB else expected), name
    assert capfd.readouterr() == ("", "")


def test_real_faces_have_opencv_s_pixels(real_data):
    import tarfile

    with tarfile.open(real_data / "data/lfw_dev.tar") as archive:
        members = [member for member in archive if member.isfile()][::40]
        for member in members:
            data = archive.extractfile(member).read()
            pixels, warning = decoding.decode(data)
            assert warning == ""
            assert np.array_equal(pixels, opencv(data)), member.name


def test_warnings_of_opencv_about_jpegs_are_reported(jpegs, capfd):
    """The oracle's line is the warning."""
    files, verdicts = jpegs
    reported = 0
    for name, data in files.items():
        warning = decoding.decode(data).warning
        printed = verdicts[name].printed
        assert bool(warning) >= bool(printed), name
        if warning and not printed:  # OpenCV prints nothing if a file just ends, and if it refuses it
            assert warning == "Premature end of JPEG file" or not verdicts[name].decodes, name
        if printed:
            assert warning == printed[0], name
        reported += bool(warning)
        assert bool(decoding.quick_warning(data)) == bool(warning), name
    assert reported > len(files) // 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(OPENCV < (4, 10), reason="an older libjpeg-turbo: damaged JPEGs have other pixels")
def test_damaged_jpegs_have_opencv_s_pixels(jpegs, capfd):
    files, verdicts = jpegs
    decoded = 0
    for name, data in files.items():
        pixels, _ = decoding.decode(data)
        if OPENCV >= (4, 11):  # earlier releases returned uninitialised rows
            assert (pixels is not None) == verdicts[name].decodes, name
        if pixels is not None:
            decoded += 1
            with made_silent():
                assert np.array_equal(pixels, opencv(data)), name
    assert 0 < decoded < len(files)
    assert capfd.readouterr() == ("", "")


class made_silent:
    """Keeps OpenCV's own lines out of the test's stderr; independent of the code under test."""

    def __enter__(self):
        self.kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)

    def __exit__(self, *error):
        os.dup2(self.kept, 2)
        os.close(self.kept)


def test_other_formats(others, capfd):
    """Same pixels, same refusals, no output; libpng's warnings about damaged data in other chunks are reported."""
    files, verdicts = others
    for name, data in files.items():
        pixels, warning = decoding.decode(data)
        assert (pixels is not None) == verdicts[name].decodes, name
        if pixels is None:
            continue
        with made_silent():
            assert np.array_equal(pixels, opencv(data)), name
            stored = decoding.decode(data, decoding.STORED).pixels
            assert np.array_equal(stored, opencv(data, cv2.IMREAD_UNCHANGED)), name
        wrong = [line for line in verdicts[name].printed if "CRC error" in line]
        assert warning == (wrong[0].partition("warning: ")[2] if wrong else ""), name
    assert capfd.readouterr() == ("", "")
    assert any(verdict.printed for verdict in verdicts.values())


def test_the_message_for_undecodable_images(capfd):
    png = made.pillow(kind="PNG")
    for data, words in (
        (b"", "it is empty"),
        (b"This is text.", "it starts with b'This is '"),
        (png[:60], "PNG input buffer is incomplete"),
        (png[:50] + bytes([png[50] ^ 1]) + png[51:], "IDAT: "),
        (made.jpeg()[:90], r"it starts with b'\\xff\\xd8"),
        (made.pillow(kind="BMP")[:300], "can't read data|it starts with"),
    ):
        for decode in (image.decode_bgr, image.decode_rgb, image.upright_bgr):
            with pytest.raises(InsightError, match=rf"^a\.jpg: not a readable image \(.*({words}).*\); remove it or"):
                decode(data, "a.jpg")
    assert capfd.readouterr() == ("", "")


def test_warnings_go_to_the_callback():
    words = []
    data = made.cut_with_end(made.jpeg(), random.Random(0))
    for decode in (image.decode_bgr, image.decode_rgb, image.upright_bgr):
        decode(data, "a")  # without a callback
        decode(data, "a", words.append)
        decode(made.jpeg(), "a", words.append)
    assert words == ["Corrupt JPEG data: premature end of data segment"] * 3


@pytest.mark.parametrize("first_chroma", [0x21, 0x12, 0x22, 0x41])
def test_a_sampling_that_turbojpeg_does_not_support_is_not_damage(first_chroma, capfd):
    data = made.unusual_sampling(first_chroma=first_chroma)
    pixels, warning = decoding.decode(data)
    assert (warning, decoding.quick_warning(data)) == ("", "")
    assert np.array_equal(pixels, opencv(data))
    harmed = made.cut_with_end(data, random.Random(0))
    assert (
        decoding.decode(harmed).warning
        == decoding.quick_warning(harmed)
        == "Corrupt JPEG data: premature end of data segment"
    )
    assert capfd.readouterr() == ("", "")


def test_a_header_with_an_enormous_size_is_refused():
    data = bytearray(made.jpeg(SAMPLING_FACTOR=made.sampled("420")))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    assert decoding.decode(bytes(data)).pixels is None


class TestPng:
    """``without_extras`` accepts files for which libpng prints nothing."""

    plain = made.pillow(kind="PNG")

    def test_a_plain_file_is_returned_unchanged(self):
        assert pngfile.without_extras(self.plain) is self.plain

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "1"])
    def test_kinds_of_pixels(self, mode, capfd):
        data = made.pillow(mode=mode, kind="PNG")
        assert pngfile.without_extras(data) == data
        assert np.array_equal(decoding.decode(data).pixels, opencv(data))

    def test_sixteen_bits_and_rows_in_seven_passes(self):
        deep = cv2.imencode(".png", made.textured(0, 33, 21).astype(np.uint16) * 257)[1].tobytes()
        assert pngfile.without_extras(deep) == deep
        assert np.array_equal(decoding.decode(deep, decoding.STORED).pixels, opencv(deep, cv2.IMREAD_UNCHANGED))
        for height, width in ((33, 21), (1, 1), (3, 2), (8, 5)):
            passes = b""
            for top, left, down, right in (
                (0, 0, 8, 8),
                (0, 4, 8, 8),
                (4, 0, 8, 4),
                (0, 2, 4, 4),
                (2, 0, 4, 2),
                (0, 1, 2, 2),
                (1, 0, 2, 1),
            ):
                rows = range(top, height, down)
                columns = len(range(left, width, right))
                passes += b"".join(b"\0" + bytes(3 * columns) for _ in rows) if columns else b""
            header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
            data = pngfile.SIGNATURE + made.png_chunk(b"IHDR", header)
            data += made.png_chunk(b"IDAT", zlib.compress(passes)) + made.png_chunk(b"IEND", b"")
            assert pngfile.without_extras(data) == data, (height, width)
            assert opencv(data).shape == (height, width, 3)

    @pytest.mark.parametrize(
        ("name", "content"),
        [(b"tEXt", b"a\0b"), (b"iCCP", bytes(60)), (b"gAMA", bytes(4)), (b"eXIf", b"II*\0"), (b"vpAg", bytes(9))],
    )
    def test_other_chunks_are_removed(self, name, content, capfd):
        data = made.with_chunk(self.plain, name, content)
        assert pngfile.without_extras(data) == self.plain
        pixels, warning = decoding.decode(data)
        assert warning == ""
        assert np.array_equal(pixels, opencv(self.plain))
        assert capfd.readouterr() == ("", "")

    def test_bytes_after_the_end_are_removed(self):
        assert pngfile.without_extras(self.plain + b"more") == self.plain

    @pytest.mark.parametrize("colour", [b"\x10", b"\x63"], ids=["filter", "size"])
    def test_invalid_pixels_with_a_valid_checksum(self, colour, capfd):
        """libpng would print `bad adaptive filter value`, or `Not enough image data`."""
        raw = bytearray(zlib.decompress(self._idat(self.plain)))
        if colour == b"\x10":
            raw[0] = 16
        else:
            del raw[-99:]
        data = self._with_idat(zlib.compress(bytes(raw)))
        assert pngfile.without_extras(data) is None
        assert pngfile.without_extras(data, inflate=False) == data
        decoding.decode(data)
        assert capfd.readouterr() == ("", "")

    def test_a_stream_that_does_not_inflate(self, capfd):
        stream = bytearray(self._idat(self.plain))
        stream[len(stream) // 2] ^= 0xFF
        data = self._with_idat(bytes(stream))
        assert pngfile.without_extras(data) is None
        assert decoding.decode(data).pixels is None
        assert capfd.readouterr() == ("", "")

    @staticmethod
    def _idat(data):
        at, stream = 8, b""
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            stream += data[at + 8 : at + 8 + length] if data[at + 4 : at + 8] == b"IDAT" else b""
            at += 12 + length
        return stream

    def _with_idat(self, stream):
        return self.plain[:33] + made.png_chunk(b"IDAT", stream) + made.png_chunk(b"IEND", b"")

    def test_every_flipped_byte_is_detected_or_harmless(self, capfd):
        data = with_text = made.with_chunk(made.pillow(kind="PNG", size=(9, 9)), b"tEXt", b"key\0value")
        expected = opencv(data)
        for at in range(8, len(with_text)):
            flipped = data[:at] + bytes([data[at] ^ 0x11]) + data[at + 1 :]
            pixels, warning = decoding.decode(flipped)
            assert pixels is None or (warning and np.array_equal(pixels, expected)), at
        assert capfd.readouterr() == ("", "")


def test_threads_decode_concurrently(jpegs, others, capfd):
    """Damaged and sound files of all kinds in four threads: each has the same warning as in one thread."""
    files = {**jpegs[0], **others[0]}
    alone = {name: decoding.decode(data).warning for name, data in files.items()}
    together = {}

    def work(part):
        for name in sorted(files)[part::4] * 2:
            together[name] = decoding.decode(files[name]).warning

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert capfd.readouterr() == ("", "")
