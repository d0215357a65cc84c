"""The globals that a pickle of plain data may name, and their replacements.

The globals of a pickle are never imported or called. Their names are looked up in a table, whose
functions build bytes and describe NumPy arrays of numbers, booleans, bytes, and objects
that are plain data themselves. Arrays may be pickled by NumPy 1.x and 2.x on Python 2.7
and 3, in protocols 0 to 5.
"""

from __future__ import annotations

import math
import re
from typing import Any, Callable, Dict, NamedTuple, Optional, Union

import numpy as np

from ...errors import InsightError

Bytes = Union[bytes, memoryview]


class BadPickle(InsightError):
    """The bytes are not a pickle of plain data; callers add the file's name to the message."""


class Name(NamedTuple):
    """The name of a global in a pickle; it is only compared, never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"[:80]


class ArrayInTheMaking:
    """A NumPy array under construction; the instruction BUILD fills it, as ``ndarray.__setstate__`` would."""

    value: Any = None


class ElementType:
    """A NumPy dtype. ``kind`` is None for types that are not plain data; using an array of such a type raises."""

    def __init__(self, code: str):
        self.code = code
        plain = _PLAIN.fullmatch(code)
        self.kind: Optional[np.dtype] = np.dtype(_OBJECTS if code.startswith(_OBJECTS) else code) if plain else None

    def set_state(self, state: Any) -> None:
        """Apply the state of BUILD; only its byte order matters for plain types."""
        order = _text(state[1])
        if self.kind is not None and order in ("<", ">"):
            self.kind = self.kind.newbyteorder(order)


class OddArray(NamedTuple):
    """An array of a type that is not plain data; :func:`settled` raises for it."""

    code: str


# Codes of dtypes: booleans, integers and floats by size in bytes; byte strings of one length; objects.
_OBJECTS = "O"
_PLAIN = re.compile(r"[?Bb]|b1|[ui][1248]|f[248]|bool|u?int(?:8|16|32|64)|float(?:16|32|64)|S[1-9][0-9]{0,8}|O[48]?")
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, (bytes, memoryview)):  # bytes(10**9) would allocate that much
        raise BadPickle(f"a {type(value).__name__} instead of text")
    return bytes(value).decode("latin-1")


def _encode(text: Any, codec: Any = "latin-1") -> bytes:
    """``_codecs.encode``, with which Python 3 writes bytes in protocols 0 to 2."""
    if _text(codec).lower() not in ("latin1", "latin-1"):
        raise BadPickle("an encoding other than latin-1 is not plain data")
    return text.encode("latin-1")


def _raw(value: Any = b"", codec: Any = "latin-1") -> Bytes:
    return _encode(value, codec) if isinstance(value, str) else memoryview(value)


def _type(code: Any, *_flags: Any) -> ElementType:
    code = _text(code)
    kind = ElementType(code.lstrip("|<>=")[:20])
    if code[:1] in ("<", ">"):
        kind.set_state((3, code[0]))
    return kind


def array_of(content: Any, kind: Any, shape: Any, fortran: Any = False) -> Union[np.ndarray, list, OddArray]:
    """A view of the content as an array; for an array of objects, the list of them.

    Raises BadPickle, or NumPy's ValueError if the shape does not fit.
    """
    if not isinstance(kind, ElementType):
        raise BadPickle("an array without a type")
    if kind.kind is None:
        return OddArray(kind.code)
    shape = tuple(int(side) for side in shape)
    if any(side < 0 for side in shape) or len(shape) > 32:
        raise BadPickle("an array of an impossible shape")
    if kind.kind.kind != _OBJECTS:
        flat = np.frombuffer(_raw(content), np.uint8).view(kind.kind)
        return flat.reshape(shape, order="F" if fortran else "C")
    if type(content) is not list or math.prod(shape) != len(content) or (fortran and sum(n > 1 for n in shape) > 1):
        raise BadPickle("an array of objects without a list of them")
    return content


def _scalar(kind: Any, content: Any) -> Any:
    value = array_of(content, kind, ())
    return value.item() if isinstance(value, np.ndarray) else value


def settled(value: Any) -> Any:
    """An item of a loaded list or tuple, with descriptions of arrays replaced by arrays.

    Raises
    ------
    BadPickle
        The item is the name of a global, an array of a type that is not plain data, or an array without content.
    """
    if isinstance(value, ArrayInTheMaking):
        value = value.value
    elif isinstance(value, (Name, ElementType)):
        value = None
    elif not isinstance(value, OddArray):
        return value
    if value is None:
        raise BadPickle("an array without content, or a name instead of data")
    if isinstance(value, OddArray):
        raise BadPickle(f"an array of type {value.code!r}; want numbers, booleans or encoded bytes")
    return value


INERT = {Name("numpy", "ndarray")}
REDUCERS: Dict[Name, Callable[..., Any]] = {
    Name("_codecs", "encode"): _encode,
    Name("numpy", "dtype"): _type,
    Name("__builtin__", "bytes"): _raw,
    Name("builtins", "bytes"): _raw,
    Name("__builtin__", "bytearray"): _raw,
    Name("builtins", "bytearray"): _raw,
    **{Name(m, "_reconstruct"): lambda *_: ArrayInTheMaking() for m in _NUMPY},
    **{Name(m, "scalar"): _scalar for m in _NUMPY},
    **{
        Name(m, "_frombuffer"): lambda content, kind, shape, order: array_of(content, kind, shape, order == "F")
        for m in _NUMERIC
    },
}
