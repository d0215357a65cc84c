"""The options of the parity gate, which every export has."""


def add_gate(parser, bound, default=None):
    """``--faces``, ``--num-faces`` and ``--bound``, whose help is ``bound``."""
    parser.add_argument(
        "--faces", metavar="PATH", help="faces to compare with: identity folders, a .rec or a .bin; else random images"
    )
    parser.add_argument("--num-faces", type=int, default=32, help="how many to compare with")
    parser.add_argument("--bound", type=float, default=default, help=bound)


def faces(args):
    """The function that gives the gate its images."""
    from ..export.parity import random_faces
    from ._source import open_faces

    return open_faces(args.faces).spread if args.faces else random_faces


def print_lineage(stages, where):
    """Print the number of training stages and where they are recorded; nothing if no stage is known."""
    if stages:
        print(f"lineage: {stages} training stage{'s' * (stages > 1)}, {where}")
