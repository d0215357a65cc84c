"""SOURCE is one of

  a folder of identity folders, or a .lst (say, of held-out people): pairs are drawn, half of them of
  one person, in folds that share no person; the same seed gives the same pairs;
  a file of pairs: image_a,image_b,same rows, or LFW's pairs.txt; taken as it is, in its order.

  insight make-bin work/val.lst work/val.bin
  insight make-bin lfw/pairs.txt lfw.bin --image-root lfw_aligned

Images go in as face2rec packs them. Those that cannot be used, and damaged ones, are listed in
<output>.skipped.csv; where pairs are drawn, others take their place. The .bin is read by verification here
and by InsightFace.
"""

from ._images import add_image_arguments

HELP = "make a verification .bin from people's images or a list of pairs"


def add_arguments(parser):
    parser.add_argument("source", help="folder of identity folders, .lst, or file of pairs")
    parser.add_argument("output", help="the .bin to write")
    parser.add_argument("--pairs", type=int, metavar="N", help="pairs to draw at most (6000)")
    parser.add_argument("--folds", type=int, metavar="N", help="folds to draw them in at most (10)")
    parser.add_argument("--seed", type=int, help="which pairs are drawn (0)")
    parser.add_argument("--image-root", metavar="DIR", help="where the paths in a .lst or a file of pairs begin")
    parser.add_argument("--pairs-output", metavar="CSV", help="also write the pairs: image_a,image_b,same")
    add_image_arguments(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace files that stand there")


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
        workers=args.num_workers,
        on_error=args.on_error,
        pairs_output=args.pairs_output,
        overwrite=args.overwrite,
        check=args.check_images,
        damaged=args.damaged,
    )
    print("\n".join(report.lines()))
