"""What the commands that open a model have in common: the size of its images, and what had to be assumed."""

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

    On stdout where the work comes after it, since the one line on stderr is that of an error; on stderr where the work
    is done.
    """
    for note in notes:
        print(f"note: {model}: {note}", file=file)


def _positive_size(text: str) -> tuple:
    size = image_size(text)
    if min(size) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: sides must be at least 1 pixel")
    return size
