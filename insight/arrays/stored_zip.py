"""Headers and directory of a zip archive with uncompressed entries, such as an .npz.

Their sizes are known before the data is, so several processes can write data at its offset, in any order. All sizes
and offsets have 64 bits (ZIP64).

Source: APPNOTE.TXT 6.3.10 of PKWARE; zlib's ``crc32_combine`` for the CRC of concatenated data.
"""

from __future__ import annotations

import struct
from typing import List, NamedTuple

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64 = struct.Struct("<4sLQL")
END = struct.Struct("<4s4H2LH")
VERSION, STORED, MIDNIGHT, FIRST_DAY = 45, 0, 0, 1 << 5 | 1  # 64-bit sizes; 1980-01-01
IN_EXTRA = 0xFFFFFFFF  # the value is in the ZIP64 extra field
POLYNOMIAL = 0xEDB88320  # of CRC-32; the lowest bit is the coefficient of the highest power


class ArchiveEntry(NamedTuple):
    """A file in a zip archive.

    Attributes
    ----------
    name : str
        ASCII.
    size : int
        Bytes of its data.
    offset : int
        Byte offset of its header in the archive.
    crc : int
        CRC-32 of its data.
    """

    name: str
    size: int
    offset: int
    crc: int = 0

    @property
    def begin(self) -> int:
        """Byte offset of its data."""
        return self.offset + header_size(self.name)

    @property
    def end(self) -> int:
        """Byte offset after its data."""
        return self.begin + self.size


def header_size(name: str) -> int:
    """Bytes of the local header of an entry."""
    return LOCAL.size + len(name) + 20


def header(entry: ArchiveEntry) -> bytes:
    """The local header of an entry, which precedes its data."""
    about = VERSION, 0, STORED, MIDNIGHT, FIRST_DAY, entry.crc, IN_EXTRA, IN_EXTRA, len(entry.name), 20
    sizes = struct.pack("<HHQQ", 1, 16, entry.size, entry.size)
    return LOCAL.pack(b"PK\3\4", *about) + entry.name.encode("ascii") + sizes


def directory_size(entries: List[ArchiveEntry]) -> int:
    """Bytes of :func:`directory`."""
    return sum(CENTRAL.size + len(entry.name) + 28 for entry in entries) + END_64.size + LOCATOR_64.size + END.size


def directory(entries: List[ArchiveEntry]) -> bytes:
    """The central directory and its end records, which follow the data of the last entry."""
    begin, rows = entries[-1].end, []
    for entry in entries:
        about = VERSION, VERSION, 0, STORED, MIDNIGHT, FIRST_DAY, entry.crc, IN_EXTRA, IN_EXTRA
        rows.append(CENTRAL.pack(b"PK\1\2", *about, len(entry.name), 28, 0, 0, 0, 0, IN_EXTRA))
        rows.append(entry.name.encode("ascii") + struct.pack("<HHQQQ", 1, 24, entry.size, entry.size, entry.offset))
    central, count = b"".join(rows), len(entries)
    end = END_64.pack(b"PK\6\6", END_64.size - 12, VERSION, VERSION, 0, 0, count, count, len(central), begin)
    locator = LOCATOR_64.pack(b"PK\6\7", 0, begin + len(central), 1)
    short = END.pack(b"PK\5\6", 0, 0, *[min(count, 0xFFFF)] * 2, len(central), IN_EXTRA, 0)
    return central + end + locator + short


def joined_crc(first: int, second: int, length: int) -> int:
    """The CRC-32 of two concatenated byte strings.

    Parameters
    ----------
    first, second : int
        CRC-32 of each string.
    length : int
        Bytes of the second string.
    """
    power, square, exponent = 1 << 31, 1 << 30, 8 * length  # x^0 and x^1
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square, exponent = _product(square, square), exponent >> 1
    return _product(power, first) ^ second


def _product(left: int, right: int) -> int:
    """Product of two polynomials over GF(2), modulo that of the CRC; the highest bit is the coefficient of x^0."""
    product = 0
    for bit in range(31, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (POLYNOMIAL if right & 1 else 0)
    return product
