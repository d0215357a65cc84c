"""SOURCE is a set (its folder, .rec file or prefix) or a verification .bin.

A set is written as a folder per identity, DIR/<label>/<key>.jpg, named so that dir2lst and face2rec
pack the images in the same order again. A .bin is written as DIR/images and DIR/pairs.csv, from which
make-bin makes the same .bin.
Bytes are copied unchanged from the record; nothing is decoded.
"""

HELP = "write the images of a set or a verification .bin as files"
EXAMPLES = (
    (
        "a set, in folders of their first names",
        "insight rec2image work/set faces --label-map work/train.labels.csv",
    ),
    ("a verification set: its images, and pairs.csv", "insight rec2image lfw.bin lfw"),
)


def add_arguments(parser):
    images = parser.add_argument_group("images")
    images.add_argument("source", metavar="SOURCE", help="folder, .rec file or prefix of a set, or a verification .bin")
    output = parser.add_argument_group("output")
    output.add_argument("output", metavar="DIR", help="folder to make; must not exist or be empty")
    output.add_argument(
        "--label-map", metavar="CSV", help="rows of label,name that give the folders' names (dir2lst --label-map)"
    )


def run(args):
    from insight.sets.unpack import unpack

    print("\n".join(unpack(args.source, args.output, args.label_map).lines()))
