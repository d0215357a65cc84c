"""SOURCE is a set (its folder, .rec file or prefix) or a verification .bin.

A set is written as a folder per identity, DIR/<label>/<key>.jpg, named so that dir2lst and face2rec
pack the images in the same order again. A .bin is written as DIR/images and DIR/pairs.csv, from which
make-bin makes the same .bin.
Bytes are copied unchanged from the record; nothing is decoded.
"""

HELP = "write the images of a set or a verification .bin as files"


def add_arguments(parser):
    parser.add_argument("source", help="folder, .rec file or prefix of a set, or a verification .bin")
    parser.add_argument("output", metavar="DIR", help="folder to make; must not exist or be empty")
    parser.add_argument(
        "--label-map", metavar="CSV", help="rows of label,name that give the folders' names (dir2lst --label-map)"
    )


def run(args):
    from insight.sets.unpack import unpack

    print("\n".join(unpack(args.source, args.output, args.label_map).lines()))
