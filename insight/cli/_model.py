"""Shared by the commands that open a model: the option for the image size, and the notes on what was assumed."""

import argparse

from ._types import image_size


def add_image_size(parser):
    """``--image-size``."""
    parser.add_argument(
        "--image-size",
        type=_positive_size,
        metavar="H,W",
        help="height,width of the images that the network was trained on, where its file does not state them",
    )


def print_notes(model, notes, file=None):
    """A line for each note on a model.

    Print to stdout before the work, because stderr is reserved for the one line of an error; to stderr after the work.
    """
    for note in notes:
        print(f"note: {model}: {note}", file=file)


def _positive_size(text: str) -> tuple:
    size = image_size(text)
    if min(size) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: sides must be at least 1 pixel")
    return size
