"""Evaluates the model on the targets as `verification` does, and writes one self-contained HTML page: ROC and DET with
confidence bands, scores, the threshold for each FAR, the hardest pairs for the model, training curves if logs are
given, figures of IJB and MegaFace from the files of their commands, training stages and options, files with their
hashes. --card writes the same facts as a Markdown model card. --before M compares with an earlier model.

The page contains faces of the sets; --hardest 0 leaves them out.
"""

from ._model import print_notes
from ._targets import COUNTS, add_evaluation, add_runtime, add_sets, check_counts, find_sets

HELP = "one HTML page on a model: accuracy, curves, thresholds, hardest pairs, lineage; and a model card"
EXAMPLES = (
    (
        "on two sets, with a model card",
        "insight report --model models/y1,40 --data-dir sets --target lfw,cfp_fp --output y1.html --card y1.md",
    ),
    (
        "against the model that it was fine-tuned from",
        "insight report --model models/own,3 --before models/y1,40 --data-dir sets --target own,lfw --output own.html",
    ),
    (
        "with figures of IJB-C and MegaFace",
        "insight report --model models/y1s,0 --data-dir sets --output y1.html --protocols ijbc.json megaface.json",
    ),
    (
        "on a list of pairs, with training curves",
        "insight report --model y1.onnx --pairs pairs.txt --image-root lfw_aligned --log models/y1-log.jsonl "
        "--output y1.html",
    ),
)


def add_arguments(parser):
    model = parser.add_argument_group("model")
    model.add_argument("--model", required=True, help="prefix,epoch of a checkpoint, or a file that `embed` takes")
    add_runtime(model)
    add_sets(parser)
    shown = parser.add_argument_group("what is shown")
    add_evaluation(shown)
    shown.add_argument(
        "--before", metavar="M", help="an earlier model to compare with on each target: differences and their intervals"
    )
    shown.add_argument(
        "--log", nargs="+", default=[], metavar="LOG", help="logs that `plot-log` takes, for training curves"
    )
    shown.add_argument(
        "--protocols",
        nargs="+",
        default=[],
        metavar="F.json",
        help="figures of this model that `ijb` or `megaface` wrote as JSON",
    )
    shown.add_argument("--hardest", type=int, default=8, metavar="N", help="number of hardest pairs of each kind")
    shown.add_argument("--title", default="", help="heading; else the last two parts of the model's path")
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, metavar="F.html", help="page to write (extra plots)")
    output.add_argument("--card", default="", metavar="F.md", help="also write a model card to this file")
    output.add_argument("--overwrite", action="store_true", help="replace existing files")


def run(args):
    import os

    from ..engines import model_files
    from ..pages.model_report import ReportSettings, check_outputs, write_report

    check_counts(args, (*COUNTS, ("hardest", 0)))
    read = [*args.log, *args.protocols, *filter(None, [args.pairs])]
    read += [path for spec in (args.model, args.before) if spec for path in model_files(spec)]
    check_outputs(args.output, args.card, args.overwrite, args.hardest, read)  # before a network is loaded
    sets = find_sets(args)
    engine, before = (_open(spec, args) if spec else None for spec in (args.model, args.before))
    settings = ReportSettings(args.batch_size, args.nfolds, args.bootstrap, args.seed, args.hardest)
    outputs = (args.output, args.card, args.log, args.title, args.overwrite)
    report = write_report(engine, sets, *outputs, settings, protocols=args.protocols, before=before)
    for target in report.targets:
        print(f"{target.name}: {target.verdict}")
        if target.changes:
            print(f"{target.name}: {target.changes.summary}")
    for path in filter(None, (args.output, args.card)):
        print(f"{path}: {os.path.getsize(path) / 1e3:.0f} KB")


def _open(spec, args):
    """The engine of a model, after the notes on it are printed."""
    from ..engines import load

    engine = load(spec, engine=args.engine, device=args.device, dtype=args.dtype, image_size=args.image_size)
    print_notes(spec, engine.notes)
    return engine
