"""What a pickle of plain data may name, and what each name stands for here.

Nothing in this file imports or calls what a pickle names: a name is looked up in a table, and
the table's functions build bytes and describe NumPy arrays of numbers, booleans, bytes and objects
that are themselves plain data. Array layouts are those that NumPy 1.x and 2.x wrote on Python 2.7
and 3, protocols 0 to 5.
"""

from __future__ import annotations

import math
import re
from typing import Any, Callable, Dict, NamedTuple, Optional, Union

import numpy as np

from ..errors import InsightError

Bytes = Union[bytes, memoryview]


class BadPickle(InsightError):
    """The bytes are not a pickle of plain data; the message lacks the file's name, callers add it."""


class Name(NamedTuple):
    """A global that the pickle names: data here, never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"[:80]


class ArrayInTheMaking:
    """A NumPy array in the making; BUILD fills it, as it would ``ndarray.__setstate__``."""

    value: Any = None


class ElementType:
    """A NumPy dtype. ``kind`` is None for those that are no plain data: these fail where an array of them is used."""

    def __init__(self, code: str):
        self.code = code
        plain = _PLAIN.fullmatch(code)
        self.kind: Optional[np.dtype] = np.dtype(_OBJECTS if code.startswith(_OBJECTS) else code) if plain else None

    def set_state(self, state: Any) -> None:
        """BUILD's state: of all that it holds only the byte order matters to a plain type."""
        order = _text(state[1])
        if self.kind is not None and order in ("<", ">"):
            self.kind = self.kind.newbyteorder(order)


class OddArray(NamedTuple):
    """An array of a type that is no plain data; :func:`settled` refuses it."""

    code: str


# booleans, integers, floats by their sizes in bytes; byte strings of one length; objects
_OBJECTS = "O"
_PLAIN = re.compile(r"[?Bb]|b1|[ui][1248]|f[248]|bool|u?int(?:8|16|32|64)|float(?:16|32|64)|S[1-9][0-9]{0,8}|O[48]?")
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, (bytes, memoryview)):  # bytes(10**9) would allocate that much
        raise BadPickle(f"a {type(value).__name__} where text is due")
    return bytes(value).decode("latin-1")


def _encode(text: Any, codec: Any = "latin-1") -> bytes:
    """``_codecs.encode``: how Python 3 writes bytes in protocols 0 to 2."""
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
    """A view of the content as an array; of an array of objects the list of them.

    Raises BadPickle, or NumPy's ValueError if the shape does not fit.
    """
    if not isinstance(kind, ElementType):
        raise BadPickle("an array without a type")
    if kind.kind is None:
        return OddArray(kind.code)
    shape = tuple(int(side) for side in shape)
    if any(side < 0 for side in shape) or len(shape) > 32:
        raise BadPickle("an array of no possible shape")
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
    """An item of a loaded list or tuple, with an array in place of its description.

    Raises
    ------
    BadPickle
        The item is no data: the name of a global, an array of a type that is none, or without its content.
    """
    if isinstance(value, ArrayInTheMaking):
        value = value.value
    elif isinstance(value, (Name, ElementType)):
        value = None
    elif not isinstance(value, OddArray):
        return value
    if value is None:
        raise BadPickle("an array without content, or a name where data is due")
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
