"""DIR contains images and <dataset>_lmk or <dataset>_lmk.txt: name.jpg label x1 y1 .. x5 y5 per line.

  insight glint2lst glint celebrity,msra work/train.lst

The list has unaligned entries (first column 0) with their landmarks; face2rec warps them.
Lines without a label get the label -1.
"""

HELP = "convert Glint landmark lists to a .lst"


def add_arguments(parser):
    parser.add_argument("dir", help="folder of the images and landmark files")
    parser.add_argument("datasets", help="comma-separated names of data sets")
    parser.add_argument("output", nargs="?", help="the .lst to write; standard output by default")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing list")


def run(args):
    from insight.files.text import between_commas
    from insight.sets.glint import write_glint_list

    count = write_glint_list(args.dir, between_commas(args.datasets), args.output, args.overwrite)
    if args.output:
        print(f"{args.output}: {count} images")
