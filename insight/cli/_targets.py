"""Shared by the commands that verify: the options that name verification sets, and the function that opens them."""

from ._model import add_device, add_image_size

COUNTS = (("nfolds", 1), ("batch_size", 1), ("bootstrap", 0), ("seed", 0))


def add_sets(parser):
    """Options that name the verification sets, in a group."""
    sets = parser.add_argument_group("verification sets")
    sets.add_argument("--data-dir", help="folder that holds the .bin files")
    sets.add_argument(
        "--target",
        default="lfw,cfp_ff,cfp_fp,agedb_30",
        help="names of the .bin files (%(default)s); others are skipped",
    )
    sets.add_argument("--pairs", metavar="FILE", help="image_a,image_b,same rows, or LFW's pairs.txt: one more target")
    sets.add_argument(
        "--image-root", metavar="DIR", help="folder that the paths in --pairs are relative to; else its own"
    )


def add_runtime(parser):
    """Options of the model that is evaluated."""
    parser.add_argument("--batch-size", type=int, default=32, help="images at a time")
    parser.add_argument("--engine", default="auto", help="mxnet, onnxruntime, openvino, ncnn or auto, as in `embed`")
    add_device(parser)
    parser.add_argument("--dtype", default="float32", help="float32; or bfloat16, as in `embed`")
    add_image_size(parser)


def add_evaluation(parser):
    """Options of the figures."""
    parser.add_argument("--nfolds", type=int, default=10, help="folds; 1 uses the same pairs for training and test")
    parser.add_argument("--bootstrap", type=int, default=1000, metavar="N", help="resamples for intervals; 0: none")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples (0)")


def check_counts(args, counts=COUNTS):
    """Raise InsightError for a number below its minimum."""
    from ..errors import InsightError

    for option, least in counts:
        if getattr(args, option) < least:
            raise InsightError(f"--{option.replace('_', '-')} {getattr(args, option)}: must be at least {least}")


def find_sets(args):
    """All usable targets; those that are missing or have pairs of one kind only are printed.

    Raises
    ------
    InsightError
        No target is named, exists or is usable, a folder is missing, or ``--image-root`` comes without ``--pairs``.
    """
    from os.path import dirname, isdir

    from ..errors import InsightError
    from ..files.text import between_commas
    from ..verify import verification

    if not args.data_dir and not args.pairs:
        raise InsightError("nothing to verify on; give --data-dir with .bin files, or --pairs")
    if args.image_root and not args.pairs:
        raise InsightError(f"--image-root {args.image_root}: applies to --pairs only; add --pairs, or leave it out")
    sets = []
    if args.data_dir:
        names = between_commas(args.target)
        if not names:
            raise InsightError(f"--target {args.target!r}: names no set; want comma-separated names of .bin files")
        if not isdir(args.data_dir):
            raise InsightError(f"--data-dir {args.data_dir}: no such folder; want the one that holds the .bin files")
        sets, missing, unusable = verification.find_sets(args.data_dir, names, more=bool(args.pairs))
        if not sets and not unusable:
            raise InsightError(f"--data-dir {args.data_dir}: contains none of {', '.join(n + '.bin' for n in names)}")
        for name in missing:
            print(f"skipped: {name} (no {name}.bin in {args.data_dir})")
        for error in unusable:
            print(f"skipped: {error.note}")
    if args.pairs:
        from ..sets.pairfile import read_pairs

        root = args.image_root or dirname(args.pairs) or "."
        sets.append(verification.pair_set(read_pairs(args.pairs, root), root, args.pairs))
    return sets
