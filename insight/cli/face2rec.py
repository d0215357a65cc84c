"""The set has the layout of InsightFace's face2rec2, byte for byte, with its property file.

An upright 3-channel JPEG of the right size is copied unchanged. Grey, alpha, CMYK, 16-bit, rotated
and odd-sized images, and PNG, BMP and WebP files are converted. Unaligned entries (first column 0)
are warped by the landmarks of their line. Unusable files are listed in <set>.skipped.csv.

Copied images are also decoded, in worker processes: a damaged JPEG often decodes, with a warning of the decoder.
Such images are skipped and listed with the warning; --damaged keep packs them and lists them in
<set>.damaged.csv. --check-images headers does not decode, which is faster on fewer than three cores.
Paths are relative to --image-root if given, or else to the working directory, or else to the list.
"""

from ._cluster import add_cluster, workers_of
from ._images import add_image_arguments, add_packing_workers, add_shards

HELP = "pack image lists into .rec, .idx and property"
EXAMPLES = (
    ("work/set/train.rec, train.idx, property", "insight face2rec work/train.lst --output work/set"),
    ("all lists in a folder, each set beside its list", "insight face2rec work"),
    ("all lists whose path starts with this", "insight face2rec work/tr"),
    ("a list of im2rec, or from another machine", "insight face2rec train.lst --output set --image-root faces"),
    (
        "train-00000-of-00064.rec, .., which are read as one set",
        "insight face2rec train.lst --output set --shards 64",
    ),
    ("labels of any size: 0, 1, 2, .. in the set", "insight face2rec phones.lst --output set --renumber-labels"),
)


def add_arguments(parser):
    lists = parser.add_argument_group("lists")
    lists.add_argument("source", metavar="SOURCE", help="a .lst, a folder of lists, or the prefix of their paths")
    lists.add_argument("--image-root", metavar="DIR", help="folder that the paths in the lists are relative to")
    lists.add_argument(
        "--renumber-labels",
        action="store_true",
        help="number labels 0, 1, 2, .. in order of first appearance; SET.renumbered.csv has label, name in the list",
    )
    add_image_arguments(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", metavar="DIR", help="folder of the set, train.rec; else beside the list, with its name"
    )
    output.add_argument(
        "--layout",
        choices=["indexed", "plain"],
        default="indexed",
        help="layout of face2rec2, or of im2rec: scalar labels, images only, for mx.io.ImageRecordIter",
    )
    add_shards(output)
    output.add_argument("--overwrite", action="store_true", help="replace a set of the same name")
    machine = parser.add_argument_group("machine")
    add_packing_workers(machine)
    add_cluster(machine)


def run(args):
    from insight.sets.pack import pack

    reports = pack(
        args.source,
        args.output,
        size=args.image_size,
        suffix=args.encoding,
        quality=args.quality,
        workers=workers_of(args),
        on_error=args.on_error,
        layout=args.layout,
        image_root=args.image_root,
        renumber=args.renumber_labels,
        overwrite=args.overwrite,
        check=args.check_images,
        damaged=args.damaged,
        shard_count=args.shards,
    )
    for report in reports:
        print("\n".join(report.lines()))
