"""Options of the commands that read many images."""

import os

from ._types import image_size, positive, worker_count


class _Cores(int):
    """The default of ``--num-workers``."""


def is_default(num_workers):
    """Whether ``--num-workers`` was not given."""
    return num_workers is None or isinstance(num_workers, _Cores)


def add_workers(parser, text, *aliases):
    """``--num-workers``, whose help is ``text``; the default is all cores."""
    cores = _Cores(len(os.sched_getaffinity(0)))
    parser.add_argument("--num-workers", *aliases, type=worker_count, default=cores, help=text)


def add_shards(parser):
    """``--shards``, for the commands that write a set."""
    parser.add_argument(
        "--shards",
        type=positive,
        default=1,
        metavar="N",
        help="write the images in N files of equal numbers, train-00000-of-0000N.rec, .., which are read as one set; "
        "1: train.rec",
    )


def add_image_arguments(parser):
    """Options for packing image files, in a group."""
    images = parser.add_argument_group("images")
    images.add_argument(
        "--image-size",
        type=image_size,
        metavar="H,W",
        help="height,width of the images; else from the property file beside the set, or 112,112",
    )
    images.add_argument("--encoding", choices=[".jpg", ".png"], default=".jpg", help="encoding of converted images")
    images.add_argument("--quality", type=int, help="JPEG 1..100 (95) or PNG compression 0..9 (3), if converted")
    images.add_argument(
        "--on-error",
        choices=["skip", "fail"],
        default="skip",
        help="skip and list unusable files, or stop",
    )
    images.add_argument(
        "--damaged",
        choices=["skip", "keep", "fail"],
        default="skip",
        help="images that decode with a warning: skip and list them, use and list them, or stop",
    )
    images.add_argument(
        "--check-images",
        choices=["decode", "headers"],
        default="decode",
        help="decode copied images to find damaged ones, or read their headers only",
    )


def add_packing_workers(parser):
    """``--num-workers`` of the commands that pack image files."""
    add_workers(parser, "processes that check and convert images; the result does not depend on it", "--num-thread")
