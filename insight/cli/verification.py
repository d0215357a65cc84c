"""The protocol is InsightFace's: embeddings of an image and its mirror image are summed and
normalised, and in each fold the threshold is the one that was best on the other folds.
"""

HELP = "accuracy of a model on verification sets (.bin)"


def add_arguments(parser):
    parser.add_argument("--data-dir", required=True, help="folder that holds the .bin files")
    parser.add_argument("--model", required=True, help="prefix,epoch of a checkpoint, or a file that `embed` takes")
    parser.add_argument("--target", default="lfw,cfp_ff,cfp_fp,agedb_30", help="names of the .bin files")
    parser.add_argument("--nfolds", type=int, default=10, help="folds; 1 takes the same pairs for training and test")
    parser.add_argument("--batch-size", type=int, default=32, help="images at a time")
    parser.add_argument("--json", help="write the figures to this file too")


def run(args):
    from ..engines import load
    from ..errors import InsightError
    from ..verify import verification

    if args.nfolds < 1 or args.batch_size < 1:
        raise InsightError(f"--nfolds {args.nfolds} --batch-size {args.batch_size}: both must be at least 1")
    names = [name for name in args.target.split(",") if name]
    sets, missing = verification.find_sets(args.data_dir, names)
    if not sets:
        raise InsightError(f"--data-dir {args.data_dir}: holds none of {', '.join(n + '.bin' for n in names)}")
    for name in missing:
        print(f"skipped: {name} (no {name}.bin in {args.data_dir})")
    engine = load(args.model)
    settings = (engine.image_size, args.batch_size, args.nfolds)
    results = [verification.verify(engine, eval_set, *settings) for eval_set in sets]
    verification.report(results, args.model, args.json)
