"""SOURCE is one of

  a folder of identity folders, or a .lst (of held-out people, for example): pairs are drawn, half of
  them of one person, in folds that share no person; the same seed gives the same pairs;
  a file of pairs: image_a,image_b,same rows, or LFW's pairs.txt; used unchanged, in its order.

Images are encoded as by face2rec. Unusable and damaged ones are listed in <output>.skipped.csv; if pairs
are drawn, others replace them. The .bin is read by `verification` and by InsightFace.
"""

from ._cluster import add_cluster, workers_of
from ._images import add_image_arguments, add_packing_workers

HELP = "make a verification .bin from people's images or a list of pairs"
EXAMPLES = (
    ("pairs drawn among the people of a list", "insight make-bin work/val.lst work/val.bin"),
    ("the pairs of a file, unchanged", "insight make-bin lfw/pairs.txt lfw.bin --image-root lfw_aligned"),
)


def add_arguments(parser):
    pairs = parser.add_argument_group("pairs")
    pairs.add_argument("source", metavar="SOURCE", help="folder of identity folders, .lst, or file of pairs")
    pairs.add_argument(
        "--image-root", metavar="DIR", help="folder that the paths in a .lst or a file of pairs are relative to"
    )
    pairs.add_argument("--pairs", type=int, metavar="N", help="maximum number of pairs to draw (6000)")
    pairs.add_argument("--folds", type=int, metavar="N", help="maximum number of folds to draw (10)")
    pairs.add_argument("--seed", type=int, help="seed of the drawn pairs (0)")
    add_image_arguments(parser)
    output = parser.add_argument_group("output")
    output.add_argument("output", metavar="BIN", help="the .bin to write")
    output.add_argument("--pairs-output", metavar="CSV", help="also write the pairs: image_a,image_b,same")
    output.add_argument("--overwrite", action="store_true", help="replace existing files")
    machine = parser.add_argument_group("machine")
    add_packing_workers(machine)
    add_cluster(machine)


def run(args):
    from insight.sets.pairs import make_bin

    report = make_bin(
        args.source,
        args.output,
        pairs=args.pairs,
        folds=args.folds,
        seed=args.seed,
        image_root=args.image_root,
        size=args.image_size,
        suffix=args.encoding,
        quality=args.quality,
        workers=workers_of(args),
        on_error=args.on_error,
        pairs_output=args.pairs_output,
        overwrite=args.overwrite,
        check=args.check_images,
        damaged=args.damaged,
    )
    print("\n".join(report.lines()))
