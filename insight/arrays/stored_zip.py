"""What stands around the data of a zip archive whose entries are stored uncompressed, such as an .npz.

Data can then be written at its place, by several processes in any order. Sizes have 64 bits throughout.

Source: APPNOTE.TXT 6.3.10 of PKWARE; the CRC of joined texts as zlib's ``crc32_combine`` has it.
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
IN_EXTRA = 0xFFFFFFFF  # the number is in the extra field
POLYNOMIAL = 0xEDB88320  # of the CRC, the highest power in the lowest bit


class ArchiveEntry(NamedTuple):
    """A file in an archive.

    Attributes
    ----------
    name : str
        ASCII.
    size : int
        Bytes.
    offset : int
        Of its header.
    crc : int
        CRC-32 of its bytes.
    """

    name: str
    size: int
    offset: int
    crc: int = 0

    @property
    def begin(self) -> int:
        """Where its data begins."""
        return self.offset + header_size(self.name)

    @property
    def end(self) -> int:
        """Behind its data."""
        return self.begin + self.size


def header_size(name: str) -> int:
    """Bytes of an entry's header."""
    return LOCAL.size + len(name) + 20


def header(entry: ArchiveEntry) -> bytes:
    """What stands before an entry's data."""
    about = VERSION, 0, STORED, MIDNIGHT, FIRST_DAY, entry.crc, IN_EXTRA, IN_EXTRA, len(entry.name), 20
    sizes = struct.pack("<HHQQ", 1, 16, entry.size, entry.size)
    return LOCAL.pack(b"PK\3\4", *about) + entry.name.encode("ascii") + sizes


def directory_size(entries: List[ArchiveEntry]) -> int:
    """Bytes of :func:`directory`."""
    return sum(CENTRAL.size + len(entry.name) + 28 for entry in entries) + END_64.size + LOCATOR_64.size + END.size


def directory(entries: List[ArchiveEntry]) -> bytes:
    """What stands behind the data of the last entry."""
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
    """The CRC-32 of a text and a second one behind it.

    Parameters
    ----------
    first, second : int
        CRC-32 of each.
    length : int
        Bytes of the second.
    """
    power, square, exponent = 1 << 31, 1 << 30, 8 * length  # x^0 and x^1
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square, exponent = _product(square, square), exponent >> 1
    return _product(power, first) ^ second


def _product(left: int, right: int) -> int:
    """Of two polynomials over GF(2), modulo that of the CRC; the highest bit is that of x^0."""
    product = 0
    for bit in range(31, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (POLYNOMIAL if right & 1 else 0)
    return product
