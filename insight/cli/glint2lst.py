"""DIR contains images and <dataset>_lmk or <dataset>_lmk.txt: name.jpg label x1 y1 .. x5 y5 per line.

The list has unaligned entries (first column 0) with their landmarks; face2rec warps them.
Lines without a label get the label -1.
"""

HELP = "convert Glint landmark lists to a .lst"
EXAMPLES = (
    ("two data sets in one list", "insight glint2lst glint celebrity,msra work/train.lst"),
    ("what a list would hold", "insight glint2lst glint celebrity | head"),
)


def add_arguments(parser):
    images = parser.add_argument_group("images")
    images.add_argument("dir", metavar="DIR", help="folder of the images and landmark files")
    images.add_argument("datasets", metavar="NAME,..", help="comma-separated names of data sets")
    output = parser.add_argument_group("output")
    output.add_argument("output", metavar="LST", nargs="?", help="the .lst to write; standard output by default")
    output.add_argument("--overwrite", action="store_true", help="replace an existing list")


def run(args):
    from insight.files.text import between_commas
    from insight.sets.glint import write_glint_list

    count = write_glint_list(args.dir, between_commas(args.datasets), args.output, args.overwrite)
    if args.output:
        print(f"{args.output}: {count} images")
