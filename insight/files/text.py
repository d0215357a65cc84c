"""Text files, opened in one way by every reader of them.

The encoding is UTF-8, or what a byte-order mark says: UTF-8, UTF-16 or UTF-32, as Windows programs write them;
UTF-16 is recognised without a mark, too. Bytes that are no UTF-8 become surrogate escapes, so that file names of any
encoding survive. Lines end in LF, CRLF or CR. Files are read line by line and never held whole.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from contextlib import suppress
from typing import Iterator, List, Optional, TextIO, Tuple, Union

from ..errors import InsightError

PathLike = Union[str, "os.PathLike[str]"]

BLANK = " \t\r\n\f\v\x1a\ufeff"  # Ctrl-Z and marks are between files that were concatenated
SEPARATORS = ("\t", ",", ";")
_START = 4  # bytes that tell an encoding
_MARKS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NUMBER = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?")
_MOST_DIGITS = 60
_MOST_SHOWN = 80
_BLANKS = re.compile(r"[ \t]+")
_ODD = "\x1a\ufeff"  # of BLANK those that are no white space to Python
_BLANK_NO_TAB = BLANK.replace("\t", "")


def encoding_of(start: bytes) -> Tuple[str, int]:
    """The encoding of a text by its first four bytes, and how many of them are the byte-order mark."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    if len(start) >= _START and not any(start[1:4:2]) and all(start[0:4:2]):
        return "utf-16-le", 0
    if len(start) >= _START and not any(start[0:4:2]) and all(start[1:4:2]):
        return "utf-16-be", 0
    return "utf-8", 0


def open_text(path: PathLike, want: str, errors: str = "surrogateescape") -> TextIO:
    """Open a text file for reading; lines end in LF, whatever the file has.

    Parameters
    ----------
    path : path
    want : str
        What the file should be, for messages: ``want a .lst``.
    errors : str
        What becomes of bytes that are no UTF-8: ``replace`` where what is read is printed.

    Raises
    ------
    InsightError
        The file is missing, a folder, or may not be read.
    """
    try:
        source = open(path, "rb")
    except FileNotFoundError:
        raise InsightError(f"{path}: no such file; {want}") from None
    except IsADirectoryError:
        raise InsightError(f"{path}: a folder; {want}") from None
    except (OSError, ValueError) as error:  # a NUL in a name is a ValueError
        raise InsightError(f"{path}: {getattr(error, 'strerror', None) or error}; {want}") from None
    encoding, mark = encoding_of(source.peek(_START)[:_START])
    source.read(mark)
    errors = errors if encoding == "utf-8" else "replace"
    return io.TextIOWrapper(source, encoding=encoding, errors=errors)


def numbered_lines(path: PathLike, want: str) -> Iterator[Tuple[int, str]]:
    """Numbers from 1 and lines without their ends; lines of white space are left out."""
    with open_text(path, want) as source:
        for number, line in enumerate(source, 1):
            line = line.rstrip("\n")
            if line and not line.isspace() and (line[0] not in _ODD or line.strip(BLANK)):
                yield number, line


def excerpt(line: str) -> str:
    """A line in quotes as messages show it: its beginning, with bytes of no encoding as numbers."""
    start = line.strip(BLANK)[: _MOST_SHOWN + 1].encode("utf-8", "surrogateescape")
    shown = repr(start.decode("utf-8", "backslashreplace"))
    return shown if len(shown) <= _MOST_SHOWN + 2 else shown[: _MOST_SHOWN - 3] + "..." + shown[0]


def whole(text: str) -> int:
    """The integer of a number in decimal digits, however it is written: ``7``, ``+7``, ``007``, ``7.0``, ``7e3``.

    Raises
    ------
    ValueError
        It is no number, or has a fraction.
    """
    if text.isdecimal() and text.isascii() and len(text) < _MOST_DIGITS:  # most are
        return int(text)
    match = _NUMBER.fullmatch(text.strip(BLANK))
    if match is None or len(text) > _MOST_DIGITS:
        raise ValueError(f"no whole number: {text[:20]!r}")
    sign, digits, fraction, exponent = match.groups()
    fraction = (fraction or "").rstrip("0")
    places = int(exponent or 0) - len(fraction)
    value = int(digits + fraction)
    if abs(places) > _MOST_DIGITS or (places < 0 and value % 10**-places):
        raise ValueError(f"no whole number: {text[:20]!r}")
    value = value * 10**places if places >= 0 else value // 10**-places
    return -value if sign == "-" else value


def is_whole(text: str) -> bool:
    """Whether :func:`whole` reads it."""
    try:
        whole(text)
    except ValueError:
        return False
    return True


def is_number(text: str) -> bool:
    """Whether it is a number, with a fraction or without, or NaN or infinite."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python's own numbers may have


def between_commas(text: str) -> List[str]:
    """Items of an option, without blanks around them; empty ones are left out, as behind a comma at the end."""
    return [item.strip() for item in text.split(",") if item.strip()]


def split(line: str, separator: Optional[str]) -> List[str]:
    """Fields of a line, without blanks and quotes around them; empty ones at the end are left out.

    Parameters
    ----------
    line : str
    separator : str, optional
        A tab, comma or semicolon, which quoted fields may hold; None: blanks and tabs, any number of them.

    Raises
    ------
    ValueError
        The quotes are such that no CSV reader takes them.
    """
    if separator is None:
        return _BLANKS.split(line.strip(BLANK))
    try:
        row = next(csv.reader([line.strip(_BLANK_NO_TAB)], delimiter=separator, skipinitialspace=True), [])
    except csv.Error as error:
        raise ValueError(str(error)) from None
    fields = [field.strip(BLANK) for field in row]
    while fields and not fields[-1]:
        fields.pop()
    return fields


def ways(line: str, blanks: bool = True) -> Iterator[List[str]]:
    """The fields of a line by each separator that it holds: tab, comma, semicolon; then, if asked for, blanks."""
    for separator in SEPARATORS:
        if separator in line:
            with suppress(ValueError):
                yield split(line, separator)
    if blanks:
        yield split(line, None)
