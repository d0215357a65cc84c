"""A pickle reader that cannot execute code.

Verification sets are pickles, and ``pickle.load`` calls any function that a pickle names. This reader
implements only the instructions from which Python 2 and 3 build bytes, text, lists, tuples, booleans,
numbers and NumPy arrays of these, and it *describes* arrays instead of calling NumPy. Any other instruction
raises an error that names it. Memory use is proportional to the size of the file, whatever lengths the file
claims; byte strings are views of its content. Messages show types, not values: a few bytes of pickle can
describe a value of unlimited length.

Source: the opcode list of CPython's ``pickletools``.
"""

from __future__ import annotations

import codecs
import struct
from typing import Any, Callable, Dict, List

from .picklenames import INERT, REDUCERS, ArrayInTheMaking, BadPickle, ElementType, Name, array_of

MAX_MEMO = 1 << 24
MAX_DIGITS = 1000


class _Mark:
    pass


def load_plain(content: bytes) -> Any:
    """Load a pickle that consists of plain data.

    Returns
    -------
    object
        Lists, tuples, bools, ints, floats, str, None; bytes as bytes-like views. Arrays may be
        descriptions, which :func:`.picklenames.settled` turns into arrays, item by item: a pickle
        can refer to one list a million times, so this function does not traverse its result.

    Raises
    ------
    BadPickle
        The pickle names a global or uses an instruction that plain data does not need, or is damaged.
    """
    if not len(content):
        raise BadPickle("empty")
    try:
        return _Machine(content).run()
    except BadPickle:
        raise
    except (IndexError, ValueError, TypeError, KeyError, AttributeError, struct.error, OverflowError) as error:
        raise BadPickle(f"not a readable pickle ({type(error).__name__}: {error})") from None


class _Machine:
    def __init__(self, content: bytes):
        self.view = memoryview(content)
        self.at = 0
        self.stack: List[Any] = []
        self.memo: Dict[int, Any] = {}

    def run(self) -> Any:
        operations = _OPERATIONS
        while True:
            code = self.view[self.at]
            self.at += 1
            if code == 0x2E:  # STOP
                return self.pop()
            operation = operations.get(code)
            if operation is None:
                raise BadPickle(f"pickle instruction {bytes([code])!r} at byte {self.at - 1} is not plain data")
            operation(self)

    # reading

    def take(self, count: int) -> memoryview:
        if count < 0 or self.at + count > len(self.view):
            raise BadPickle(
                f"truncated: {count} bytes announced at byte {self.at}, {len(self.view) - self.at} are left"
            )
        self.at += count
        return self.view[self.at - count : self.at]

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> bytes:
        window = 1 << 12
        while True:
            text = bytes(self.view[self.at : self.at + window])
            end = text.find(b"\n")
            if end >= 0:
                self.at += end + 1
                return text[:end]
            if self.at + window >= len(self.view):
                raise BadPickle(f"truncated: no line end after byte {self.at}")
            window *= 16

    def integer(self, suffix: bytes = b"") -> int:
        text = self.line()
        if len(text) > MAX_DIGITS:  # the time of parsing is quadratic in the number of digits
            raise BadPickle(f"an integer of {len(text)} digits")
        return int(text[: -len(suffix)] if suffix and text.endswith(suffix) else text)

    def since_mark(self) -> List[Any]:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _Mark:
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise BadPickle("no mark on the stack")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _Mark:
            raise BadPickle("a mark instead of a value")
        return value

    def keep(self, index: int) -> None:
        if index > MAX_MEMO:
            raise BadPickle(f"memo index {index} is above {MAX_MEMO}")
        self.memo[index] = self.stack[-1]

    def extend(self, items: List[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise BadPickle("items for something that is not a list")
        target.extend(items)

    # building

    def named(self, module: str, name: str) -> None:
        requested = Name(module, name)
        if requested not in REDUCERS and requested not in INERT:
            raise BadPickle(f"names {requested}, which plain data does not need; nothing was executed")
        self.stack.append(requested)

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        reducer = REDUCERS.get(function) if isinstance(function, Name) else None
        if reducer is None or type(arguments) is not tuple:
            raise BadPickle(f"a call of a {type(function).__name__} is not plain data")
        self.stack.append(reducer(*arguments))

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, ArrayInTheMaking):
            _, shape, kind, fortran, content = state
            target.value = array_of(content, kind, shape, fortran)
        elif isinstance(target, ElementType):
            target.set_state(state)
        else:
            raise BadPickle("state for something that has none")


def _push(make: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(make(machine))


def _tuple_of(count: int) -> Callable[[_Machine], None]:
    def make(machine: _Machine) -> None:
        items = tuple(machine.stack[len(machine.stack) - count :])
        if len(items) != count or any(item is _Mark for item in items):
            raise BadPickle("a tuple of too few items")
        machine.stack[len(machine.stack) - count :] = [items]

    return make


def _quoted(machine: _Machine) -> bytes:
    """The argument of STRING: a quoted Python 2 literal with escapes."""
    text = machine.line()
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise BadPickle("a string without its quotes")
    return codecs.escape_decode(text[1:-1])[0]


def _integer(machine: _Machine) -> Any:
    text = bytes(machine.view[machine.at : machine.at + 3])
    if text in (b"00\n", b"01\n"):  # booleans of protocols 0 and 1
        machine.at += 3
        return text == b"01\n"
    return machine.integer()


def _long(machine: _Machine, layout: str) -> int:
    return int.from_bytes(machine.take(machine.number(layout)), "little", signed=True)


def _utf8(machine: _Machine, layout: str) -> str:
    return bytes(machine.take(machine.number(layout))).decode("utf-8", "surrogatepass")


def _global(machine: _Machine) -> None:
    machine.named(machine.line().decode("latin-1"), machine.line().decode("latin-1"))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.named(str(module), str(name))


def _take_of(layout: str) -> Callable[[_Machine], None]:
    return _push(lambda m: m.take(m.number(layout)))


_OPERATIONS: Dict[int, Callable[[_Machine], None]] = {
    ord(code): operation
    for code, operation in {
        "\x80": lambda m: _refuse_protocol(m.number("B")),
        "\x95": lambda m: m.take(8) and None,  # FRAME: a length, redundant with the end of the file
        "(": lambda m: m.stack.append(_Mark),
        "]": _push(lambda m: []),
        "l": _push(lambda m: m.since_mark()),
        "a": lambda m: m.extend([m.pop()]),
        "e": lambda m: m.extend(m.since_mark()),
        ")": _push(lambda m: ()),
        "t": _push(lambda m: tuple(m.since_mark())),
        "\x85": _tuple_of(1),
        "\x86": _tuple_of(2),
        "\x87": _tuple_of(3),
        "N": _push(lambda m: None),
        "\x88": _push(lambda m: True),
        "\x89": _push(lambda m: False),
        "I": _push(_integer),
        "J": _push(lambda m: m.number("<i")),
        "K": _push(lambda m: m.number("B")),
        "M": _push(lambda m: m.number("<H")),
        "L": _push(lambda m: m.integer(b"L")),
        "\x8a": _push(lambda m: _long(m, "B")),
        "F": _push(lambda m: float(m.line())),
        "G": _push(lambda m: m.number(">d")),
        "S": _push(_quoted),
        "T": _take_of("<i"),
        "U": _take_of("B"),
        "B": _take_of("<I"),
        "C": _take_of("B"),
        "\x8e": _take_of("<Q"),
        "\x96": _take_of("<Q"),
        "V": _push(lambda m: m.line().decode("raw-unicode-escape")),
        "X": _push(lambda m: _utf8(m, "<I")),
        "\x8c": _push(lambda m: _utf8(m, "B")),
        "\x8d": _push(lambda m: _utf8(m, "<Q")),
        "p": lambda m: m.keep(m.integer()),
        "q": lambda m: m.keep(m.number("B")),
        "r": lambda m: m.keep(m.number("<I")),
        "\x94": lambda m: m.keep(len(m.memo)),
        "g": _push(lambda m: m.memo[m.integer()]),
        "h": _push(lambda m: m.memo[m.number("B")]),
        "j": _push(lambda m: m.memo[m.number("<I")]),
        "c": _global,
        "\x93": _stack_global,
        "R": lambda m: m.reduce(),
        "b": lambda m: m.build(),
    }.items()
}


def _refuse_protocol(number: int) -> None:
    if number > 5:
        raise BadPickle(f"pickle protocol {number}; 0 to 5 are known")
