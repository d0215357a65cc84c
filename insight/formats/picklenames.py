"""What a pickle of plain data may name, and what each name stands for here.

Nothing in this file imports or calls what a pickle names: a name is looked up in a table, and
the table's functions build bytes and describe NumPy arrays of uint8 or bool. Array layouts are
those that NumPy 1.x and 2.x wrote on Python 2.7 and 3, protocols 0 to 5.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Union

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
    """A NumPy dtype: only one-byte ones pass. BUILD's state (byte order) means nothing to those."""

    def __init__(self, code: str):
        self.code = code


_TYPES = {"u1": np.uint8, "uint8": np.uint8, "b1": np.bool_, "bool": np.bool_, "?": np.bool_, "B": np.uint8}
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
    code = _text(code).lstrip("|<>=")
    if code not in _TYPES:
        raise BadPickle(f"an array of type {code[:20]!r}; want uint8 or bool")
    return ElementType(code)


def array_of(content: Any, kind: Any, shape: Any) -> np.ndarray:
    """A view of the content as an array. Raises BadPickle, or NumPy's ValueError if the shape does not fit."""
    if not isinstance(kind, ElementType):
        raise BadPickle("an array without a type")
    flat = np.frombuffer(_raw(content), dtype=np.uint8)
    shape = tuple(int(side) for side in shape)
    if any(side < 0 for side in shape) or len(shape) > 32:
        raise BadPickle("an array of no possible shape")
    return flat.view(_TYPES[kind.code]).reshape(shape)


def _scalar(kind: Any, content: Any) -> Any:
    return array_of(content, kind, ()).item()


def settled(value: Any) -> Any:
    """An item of a loaded list or tuple, with an array in place of its description.

    Raises
    ------
    BadPickle
        The item is no data: the name of a global, or an array that never got its content.
    """
    if isinstance(value, ArrayInTheMaking):
        value = value.value
    elif isinstance(value, (Name, ElementType)):
        value = None
    else:
        return value
    if value is None:
        raise BadPickle("an array without content, or a name where data is due")
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
    **{Name(m, "_frombuffer"): lambda content, kind, shape, _order: array_of(content, kind, shape) for m in _NUMERIC},
}
