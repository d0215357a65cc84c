"""DIR contains a folder of images per person; labels are numbered in the order of the folders' names.

Nothing is moved or deleted. Files with a usual image suffix are listed without opening them, others if their first
bytes are those of an image; skipped files are counted by reason. InsightFace's script skips people with a single
image: use --min-images 2 for that.

Without LST the list is printed, as InsightFace's script does, and all else goes to stderr.
"""

import sys

HELP = "list the images of identity folders in a .lst"
EXAMPLES = (
    ("every image", "insight dir2lst faces work/train.lst"),
    (
        "nine tenths of the people, and the others in work/val.lst",
        "insight dir2lst faces work/train.lst --val-ratio 0.1 --seed 0",
    ),
    ("as InsightFace's script is used", "insight dir2lst faces --min-images 2 > train.lst"),
)


def add_arguments(parser):
    people = parser.add_argument_group("people")
    people.add_argument("dir", metavar="DIR", help="folder of identity folders")
    people.add_argument("--min-images", type=int, default=1, metavar="N", help="skip people with fewer images")
    people.add_argument("--val-ratio", type=float, default=0.0, metavar="R", help="share of the people to hold out")
    people.add_argument("--seed", type=int, default=0, help="which people are held out")
    output = parser.add_argument_group("output")
    output.add_argument("output", metavar="LST", nargs="?", help="the .lst to write; standard output by default")
    output.add_argument(
        "--val-output",
        metavar="LST",
        help="list of the held-out people; else val.lst (beside train.lst) or NAME_val.lst",
    )
    output.add_argument("--label-map", action="store_true", help="also write NAME.labels.csv: label, folder name")
    output.add_argument("--overwrite", action="store_true", help="replace existing lists")


def run(args):
    from insight.sets.scan import folder_to_lists

    report = folder_to_lists(
        args.dir,
        args.output,
        min_images=args.min_images,
        val_ratio=args.val_ratio,
        val_output=args.val_output,
        seed=args.seed,
        label_map=args.label_map,
        overwrite=args.overwrite,
    )
    print("\n".join(report.lines()), file=sys.stdout if args.output else sys.stderr)
