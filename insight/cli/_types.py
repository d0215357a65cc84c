"""Option types that several commands use."""

import argparse


def image_size(text: str) -> tuple:
    """Parse ``112,112`` (height, width), ``112x112`` as messages write it, or ``112``."""
    try:
        sides = tuple(int(side) for side in text.lower().replace("x", ",").split(","))
    except ValueError:
        sides = ()
    if len(sides) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r}: want height,width, like 112,112")
    return sides * 2 if len(sides) == 1 else sides
