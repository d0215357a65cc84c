"""The set has the layout of InsightFace's face2rec2, byte for byte, with its property file.

  insight face2rec work/train.lst --output work/set    work/set/train.rec, train.idx, property
  insight face2rec work                                all lists in the folder, each set beside its list
  insight face2rec work/tr                             all lists whose path starts with this

An upright 3-channel JPEG of the right size is copied unchanged. Grey, alpha, CMYK, 16-bit, rotated
and odd-sized images, and PNG, BMP and WebP files are converted. Unaligned entries (first column 0)
are warped by the landmarks of their line. Unusable files are listed in <set>.skipped.csv.

Copied images are also decoded, in worker processes: a damaged JPEG often decodes, with a warning of the decoder.
Such images are skipped and listed with the warning; --damaged keep packs them and lists them in
<set>.damaged.csv. --check-images headers does not decode, which is faster on fewer than three cores.
Paths are relative to --image-root if given, or else to the working directory, or else to the list.

  insight face2rec train.lst --output set --image-root faces          a list of im2rec, or from another machine
  insight face2rec train.lst --output set --shards 64                 train-00000-of-00064.rec, ..; all read as one set
  insight face2rec phones.lst --output set --renumber-labels          labels of any size: 0, 1, 2, .. in the set
"""

from ._cluster import add_cluster, workers_of
from ._images import add_image_arguments, add_shards

HELP = "pack image lists into .rec, .idx and property"


def add_arguments(parser):
    parser.add_argument("source", help="a .lst, a folder of lists, or the prefix of their paths")
    parser.add_argument(
        "--output", metavar="DIR", help="folder of the set, train.rec; else beside the list, with its name"
    )
    add_image_arguments(parser)
    add_cluster(parser)
    parser.add_argument(
        "--layout",
        choices=["indexed", "plain"],
        default="indexed",
        help="layout of face2rec2, or of im2rec: scalar labels, images only, for mx.io.ImageRecordIter",
    )
    parser.add_argument("--image-root", metavar="DIR", help="folder that the paths in the lists are relative to")
    parser.add_argument(
        "--renumber-labels",
        action="store_true",
        help="number labels 0, 1, 2, .. in order of first appearance; SET.renumbered.csv has label, name in the list",
    )
    add_shards(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a set of the same name")


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
