"""SOURCE is a set (its folder, .rec file or prefix) or a verification .bin.

A set gives a folder per identity, DIR/<label>/<key>.jpg, so named that dir2lst and face2rec pack
them in the same order again. A .bin gives DIR/images and DIR/pairs.csv, of which make-bin makes
the same .bin.
Bytes are copied as they are in the record; nothing is decoded.
"""

HELP = "write the images of a set or a verification .bin as files"


def add_arguments(parser):
    parser.add_argument("source", help="folder, .rec file or prefix of a set, or a verification .bin")
    parser.add_argument("output", metavar="DIR", help="folder to make; must not exist or be empty")
    parser.add_argument(
        "--label-map", metavar="CSV", help="label,name rows that name the folders (dir2lst --label-map)"
    )


def run(args):
    from insight.sets.unpack import unpack

    print("\n".join(unpack(args.source, args.output, args.label_map).lines()))
