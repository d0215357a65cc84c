"""Types of the options of all commands."""

import argparse


def image_size(text: str) -> tuple:
    """``112,112`` (height, width), ``112x112`` as messages have it, or ``112``."""
    try:
        sides = tuple(int(side) for side in text.lower().replace("x", ",").split(","))
    except ValueError:
        sides = ()
    if len(sides) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r}: want height,width, like 112,112")
    return sides * 2 if len(sides) == 1 else sides


def positive_size(text: str) -> tuple:
    """An :func:`image_size` with no side below 1."""
    size = image_size(text)
    if min(size) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: sides must be at least 1 pixel")
    return size


def positive(text: str) -> int:
    """A whole number, 1 or more."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: want a whole number, 1 or more")
    return int(text)


def worker_count(text: str) -> int:
    """A number of threads or processes."""
    if not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r}: want 1..1024")
    return int(text)


def numbers(text: str) -> list:
    """Whole numbers with commas between, each once."""
    try:
        return list(dict.fromkeys(int(number) for number in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: want whole numbers with commas between, as 1,2") from None
