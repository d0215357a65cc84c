"""The protocol is InsightFace's: embeddings of an image and its mirror image are summed and normalised, and each fold
uses the threshold that is best on the other folds.

InsightFace's lines are printed first, then a table. Accept a pair as one person if the cosine of the two embeddings is
above the threshold of a row, or their squared L2 distance below: the row gives the resulting FAR and TAR on this set.
TAR at a FAR is not measurable with fewer than 1 / FAR pairs of different people.
"""

from ._model import print_notes
from ._targets import add_evaluation, add_runtime, add_sets, check_counts, find_sets

HELP = "accuracy, TAR at FAR and thresholds of a model on verification sets (.bin) or pairs of images"
EXAMPLES = (
    ("a checkpoint on two sets", "insight verification --data-dir sets --target lfw,cfp_fp --model models/y1,40"),
    (
        "the newest five checkpoints",
        "insight verification --data-dir sets --target lfw --model models/y1 --max 0,5",
    ),
    (
        "a file, on a list of pairs",
        "insight verification --pairs pairs.txt --image-root lfw_aligned --model y1.onnx",
    ),
)


def add_arguments(parser):
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        required=True,
        help="prefix,epoch of a checkpoint; prefix,1|2 for several; prefix alone for all, newest first; "
        "or a file that `embed` takes",
    )
    model.add_argument(
        "--max", metavar="A,B", help="evaluate epochs A to B - 1 of a prefix, newest first, counted from 0"
    )
    add_runtime(model)
    add_sets(parser)
    figures = parser.add_argument_group("figures")
    add_evaluation(figures)
    figures.add_argument("--json", metavar="F", help="also write all figures to this file")


def run(args):
    from ..engines import load
    from ..files import atomic
    from ..verify import lines
    from ..verify.figures import figures
    from ..verify.verification import verify

    check_counts(args)
    specs, sets = _models(args.model, args.max), find_sets(args)
    if args.json:
        atomic.check_output(args.json, "--json", [eval_set.path for eval_set in sets])
    records, printed_notes = [], set()
    for spec in specs:
        engine = load(spec, engine=args.engine, device=args.device, dtype=args.dtype, image_size=args.image_size)
        print("loading", *spec.rsplit(",", 1))
        print(engine.describe())
        print_notes(spec, [note for note in engine.notes if note not in printed_notes])
        printed_notes.update(engine.notes)
        for eval_set in sets:
            result = verify(engine, eval_set, engine.image_size, args.batch_size, args.nfolds, show_progress=True)
            set_figures = figures(result, args.bootstrap, args.seed)
            print("\n".join(lines.text(result, set_figures)), flush=True)
            records.append(lines.record(result, set_figures, spec, engine.describe()))
        if args.json:  # after each model, so that finished results are kept if a later model fails
            lines.write_json(args.json, args.model, records)
    for eval_set in sets if len(specs) > 1 else ():
        best = max((r for r in records if r["target"] == eval_set.name), key=lambda r: r["accuracy"])
        print(f"Max of [{eval_set.name}] is {best['accuracy']:1.5f}: {best['model']}")


def _models(spec, newest):
    """Models that a specification names, in the order of evaluation."""
    import re

    from ..engines import engines_for
    from ..errors import InsightError

    prefix, _, numbers = spec.rpartition(",")
    listed = prefix and re.fullmatch(r"\d+(\|\d+)+", numbers)
    single = bool(engines_for(spec))
    if newest and (listed or single):
        raise InsightError(
            f"--max {newest}: chooses among all epochs of a prefix, but --model {spec} names its own; leave one out"
        )
    if single:
        return [spec]

    from .. import checkpoint

    if listed:
        saved = checkpoint.epochs(prefix)
        missing = [number for number in numbers.split("|") if int(number) not in saved]
        if missing:
            known = ", ".join(map(str, saved)) or "none"
            raise InsightError(f"--model {spec}: no epoch {', '.join(missing)}; existing epochs: {known}")
        return [f"{prefix},{number}" for number in numbers.split("|")]
    epochs = checkpoint.epochs(spec)[::-1]
    if not epochs:
        raise InsightError(f"--model {spec}: no checkpoint {spec}-*.params; want a prefix, prefix,1|2 or a .onnx file")
    if newest:
        match = re.fullmatch(r"(\d+),(\d+)", newest)
        chosen = epochs[int(match.group(1)) : int(match.group(2))] if match else []
        if not chosen:
            raise InsightError(f"--max {newest}: want A,B, 0 and up, A below B and below {len(epochs)}, like 0,5")
        epochs = chosen
    return [f"{spec},{number}" for number in epochs]
