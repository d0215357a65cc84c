"""Archives whose parts are written by hand, as zipfile and zlib see them."""

import io
import zipfile
import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from insight.arrays.stored_zip import ArchiveEntry, directory, directory_size, header, joined_crc


def archive(files: dict) -> bytes:
    out, entries = io.BytesIO(), []
    for name, data in files.items():
        entry = ArchiveEntry(name, len(data), entries[-1].end if entries else 0, zlib.crc32(data))
        entries.append(entry)
        out.seek(entry.offset)
        out.write(header(entry))
        assert out.tell() == entry.begin
        out.write(data)
    out.write(directory(entries))
    assert len(out.getvalue()) == entries[-1].end + directory_size(entries)
    return out.getvalue()


@given(st.dictionaries(st.text("abc/@.", min_size=1, max_size=20), st.binary(max_size=300), min_size=1, max_size=5))
def test_zipfile_reads_it(files):
    with zipfile.ZipFile(io.BytesIO(archive(files))) as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == files
        assert all(info.compress_type == zipfile.ZIP_STORED for info in file.infolist())


def test_numpy_reads_it():
    text = io.BytesIO()
    np.save(text, np.arange(6).reshape(2, 3))
    with np.load(io.BytesIO(archive({"a.npy": text.getvalue()}))) as file:
        np.testing.assert_array_equal(file["a"], np.arange(6).reshape(2, 3))


def test_offsets_beyond_32_bits():
    """The directory alone, of entries that would be 5 GB each."""
    first = ArchiveEntry("a.npy", 5_000_000_000, 0, 1)
    entries = [first, ArchiveEntry("b.npy", 5_000_000_000, first.end, 2)]
    text = directory(entries)

    class Behind(io.BytesIO):
        """A file that has the directory behind so many bytes that are not there."""

        begin = entries[-1].end

        def seek(self, offset, whence=0):
            if whence == 2:
                return super().seek(offset, 2) + self.begin
            return super().seek(offset - self.begin) + self.begin if offset >= self.begin else super().seek(0)

        def tell(self):
            return super().tell() + self.begin

    with zipfile.ZipFile(Behind(text)) as file:
        found = [(info.filename, info.file_size, info.header_offset, info.CRC) for info in file.infolist()]
    assert found == [("a.npy", 5_000_000_000, 0, 1), ("b.npy", 5_000_000_000, first.end, 2)]


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_crc_of_joined_texts(first, second):
    assert joined_crc(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def test_crc_of_a_long_second_text():
    first, second = b"first", bytes(range(256)) * 40_000
    assert joined_crc(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)
