"""Evaluates the model on the targets as `verification` does, and writes one HTML page that needs nothing beside it: ROC
and DET with confidence bands, scores, the threshold for each FAR, the pairs that the model finds hardest, training
curves where logs are given, training stages and options, files with their hashes. --card writes the same facts as
a Markdown model card.

  insight report --model models/y1,40 --data-dir sets --target lfw,cfp_fp --output y1.html --card y1.md
  insight report --model y1.onnx --pairs pairs.txt --image-root lfw_aligned --log models/y1-log.jsonl --output y1.html

The page holds faces of the sets; --hardest 0 leaves them out.
"""

from ._model import add_image_size, print_notes
from ._targets import COUNTS, add_evaluation, add_sets, check_counts, find_sets

HELP = "one HTML page on a model: accuracy, curves, thresholds, hardest pairs, lineage; and a model card"


def add_arguments(parser):
    parser.add_argument("--model", required=True, help="prefix,epoch of a checkpoint, or a file that `embed` takes")
    add_sets(parser)
    add_evaluation(parser)
    add_image_size(parser)
    parser.add_argument("--log", nargs="+", default=[], metavar="LOG", help="logs that `plot-log` takes: their curves")
    parser.add_argument("--hardest", type=int, default=8, metavar="N", help="hardest pairs of each kind to show")
    parser.add_argument("--title", default="", help="heading; else the last two parts of the model's path")
    parser.add_argument("--output", required=True, metavar="F.html", help="page to write (extra plots)")
    parser.add_argument("--card", default="", metavar="F.md", help="model card to write too")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def run(args):
    import os

    from ..engines import load, model_files
    from ..pages.model_report import ReportSettings, check_outputs, write_report

    check_counts(args, (*COUNTS, ("hardest", 0)))
    read = [*args.log, *model_files(args.model), *filter(None, [args.pairs])]
    check_outputs(args.output, args.card, args.overwrite, args.hardest, read)  # before a network is loaded
    sets = find_sets(args)
    engine = load(args.model, engine=args.engine, dtype=args.dtype, image_size=args.image_size)
    print_notes(args.model, engine.notes)
    settings = ReportSettings(args.batch_size, args.nfolds, args.bootstrap, args.seed, args.hardest)
    report = write_report(engine, sets, args.output, args.card, args.log, args.title, args.overwrite, settings)
    for target in report.targets:
        print(f"{target.name}: {target.verdict}")
    for path in filter(None, (args.output, args.card)):
        print(f"{path}: {os.path.getsize(path) / 1e3:.0f} KB")
