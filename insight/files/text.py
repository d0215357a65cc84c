"""Reading of text files in any encoding.

The byte-order mark determines the encoding: UTF-8, UTF-16 or UTF-32, as Windows programs write them. Without a mark it
is UTF-8, or UTF-16 if the first bytes have its pattern of zeros. Bytes that are not UTF-8 become surrogate escapes, so
that file names of any encoding are preserved. Lines end in LF, CRLF or CR. Files are read line by line.
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

BLANK = " \t\r\n\f\v\x1a\ufeff"  # Ctrl-Z and marks occur between files that were concatenated
SEPARATORS = ("\t", ",", ";")
_START = 4  # bytes that determine an encoding
_MARKS = (  # UTF-32 before UTF-16, whose little-endian mark is its prefix
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
_NOT_SPACE = "\x1a\ufeff"  # characters of BLANK that str.isspace does not include
_BLANK_NO_TAB = BLANK.replace("\t", "")


def encoding_of(start: bytes) -> Tuple[str, int]:
    """The encoding of a text, from its first four bytes, and the length of its byte-order mark in bytes."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    if len(start) >= _START and not any(start[1:4:2]) and all(start[0:4:2]):
        return "utf-16-le", 0
    if len(start) >= _START and not any(start[0:4:2]) and all(start[1:4:2]):
        return "utf-16-be", 0
    return "utf-8", 0


def open_text(path: PathLike, want: str, errors: str = "surrogateescape") -> TextIO:
    """Open a text file for reading; line ends are converted to LF.

    Parameters
    ----------
    path : path
    want : str
        The expected kind of file, for messages: ``want a .lst``.
    errors : str
        Error handler for bytes that are not UTF-8: ``replace`` if the text is printed.

    Raises
    ------
    InsightError
        The file is missing, a folder, or not readable.
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
    """Yield line numbers from 1 and lines without their ends; lines of white space are skipped. Raises InsightError."""
    with open_text(path, want) as source:
        for number, line in enumerate(source, 1):
            line = line.rstrip("\n")
            if line and not line.isspace() and (line[0] not in _NOT_SPACE or line.strip(BLANK)):
                yield number, line


def excerpt(line: str) -> str:
    """The beginning of a line, quoted for messages; undecodable bytes are escaped."""
    start = line.strip(BLANK)[: _MOST_SHOWN + 1].encode("utf-8", "surrogateescape")
    shown = repr(start.decode("utf-8", "backslashreplace"))
    return shown if len(shown) <= _MOST_SHOWN + 2 else shown[: _MOST_SHOWN - 3] + "..." + shown[0]


def whole(text: str) -> int:
    """The value of a whole number in any decimal notation: ``7``, ``+7``, ``007``, ``7.0``, ``7e3``.

    Raises
    ------
    ValueError
        The text is not a number, or has a fraction.
    """
    if text.isdecimal() and text.isascii() and len(text) < _MOST_DIGITS:  # the usual case
        return int(text)
    match = _NUMBER.fullmatch(text.strip(BLANK))
    if match is None or len(text) > _MOST_DIGITS:
        raise ValueError(f"not a whole number: {text[:20]!r}")
    sign, digits, fraction, exponent = match.groups()
    fraction = (fraction or "").rstrip("0")
    places = int(exponent or 0) - len(fraction)
    value = int(digits + fraction)
    if abs(places) > _MOST_DIGITS or (places < 0 and value % 10**-places):
        raise ValueError(f"not a whole number: {text[:20]!r}")
    value = value * 10**places if places >= 0 else value // 10**-places
    return -value if sign == "-" else value


def is_whole(text: str) -> bool:
    """Whether :func:`whole` accepts a text."""
    try:
        whole(text)
    except ValueError:
        return False
    return True


def is_number(text: str) -> bool:
    """Whether a text is a number; fractions, NaN and infinity are accepted."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # float() accepts underscores


def between_commas(text: str) -> List[str]:
    """Comma-separated items of an option, without surrounding blanks; empty items are skipped."""
    return [item.strip() for item in text.split(",") if item.strip()]


def split(line: str, separator: Optional[str]) -> List[str]:
    """Fields of a line, without surrounding blanks and quotes; empty ones at the end are removed.

    Parameters
    ----------
    line : str
    separator : str, optional
        A tab, comma or semicolon, which quoted fields may contain. None separates by any number of blanks and tabs.

    Raises
    ------
    ValueError
        The quotes are not valid CSV.
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
    """Yield the fields of a line for each separator in it: tab, comma, semicolon; then for blanks, if ``blanks``."""
    for separator in SEPARATORS:
        if separator in line:
            with suppress(ValueError):
                yield split(line, separator)
    if blanks:
        yield split(line, None)
