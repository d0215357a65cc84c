"""Two ways, of which the first is for any model, and the second for one that was trained on this set.

With --model each identity is checked by the embeddings of its own images, in three steps:

  copies          an image whose cosine to an earlier image of its identity is --copy or more is dropped
  two people      two groups of at least --smallest images whose centres have a cosine below --apart are two
                  people, handled as --on-two says
  strangers       an image whose cosine to the centre of its person is below --threshold is dropped. The centre is
                  the mean of the half of the images that agree best, so strangers do not move it

With --by-centres the checkpoint of a training on this set decides: of train-softmax --centres 3. Wrong images gather
at centres of their own. The dominant centre of an identity is the nearest of most of its images; images at
more than --angle degrees from it are dropped. Copies are kept unless --copy says at which cosine: the network knows
these images, and embeds those of one person closer than others.

No identity is dropped for its number of images. Labels are renumbered without gaps; images are copied byte for byte.
The CSV has a row per image: its cosine to the centre (for a copy, to the image that it repeats), the decision and the
reason. With only two images that differ, neither can be called the stranger: both are kept unless they are nearly
opposite. Good thresholds depend on the model: check the CSV of a dry run first.
"""

from ..errors import InsightError
from ._cluster import add_cluster, cluster_of
from ._images import add_shards
from ._model import add_image_size, embedder

HELP = "remove strangers, second people and copies from a set"
EXAMPLES = (
    ("by a model, into a new set", "insight dataset-clean work/set --model models/r50s,0 --output work/clean"),
    (
        "decide only: a row per image, to choose thresholds by",
        "insight dataset-clean work/set --model y1.onnx --dry-run --report what.csv",
    ),
    (
        "by the class centres of train-softmax --centres 3 on this set",
        "insight dataset-clean work/set --by-centres work/k3,1 --output work/clean",
    ),
)


def add_arguments(parser):
    model = parser.add_argument_group("set and model")
    model.add_argument("set", metavar="SET", help="folder, .rec or prefix")
    judge = model.add_mutually_exclusive_group(required=True)
    judge.add_argument("--model", help="prefix,epoch of a checkpoint, or a .onnx file; the thresholds below decide")
    judge.add_argument(
        "--by-centres", metavar="PREFIX,EPOCH", help="checkpoint of a training on this set, whose class centres decide"
    )
    model.add_argument("--batch-size", type=int, help="images at a time; else chosen for the device")
    add_image_size(model)
    decisions = parser.add_argument_group("decisions")
    decisions.add_argument(
        "--threshold", type=float, help="lowest cosine to the centre; -1 drops no stranger (default: 0.3)"
    )
    decisions.add_argument(
        "--copy",
        type=float,
        help="cosine of a copy; 2 drops none (default: 0.95 with --model, 2 with --by-centres)",
    )
    decisions.add_argument(
        "--apart",
        type=float,
        help="cosine of two centres below which they are two people; -1: never (default: 0.3)",
    )
    decisions.add_argument(
        "--smallest", type=int, metavar="N", help="images that each of two people must have (default: 3)"
    )
    decisions.add_argument(
        "--on-two",
        choices=["drop-smaller", "split", "keep"],
        help="keep the person with most images (default), make each an identity, or leave them as one",
    )
    decisions.add_argument(
        "--angle", type=float, help="largest angle to the dominant centre in degrees, with --by-centres (default: 75)"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output", metavar="DIR", help="folder of the clean set: train.rec, train.idx, property")
    output.add_argument("--dry-run", action="store_true", help="decide and count, write no set")
    output.add_argument("--report", metavar="CSV", help="a row per image; else clean.csv in the output folder")
    add_shards(output)
    output.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    add_cluster(parser.add_argument_group("machine"))


def run(args):
    from ..curate.clean import clean

    report = clean(
        args.set,
        args.output,
        embedder(args.model or args.by_centres, args.batch_size, args.image_size, cluster_of(args)),
        _rules(args),
        dry_run=args.dry_run,
        report=args.report,
        overwrite=args.overwrite,
        shard_count=args.shards,
    )
    print("\n".join(report.lines()))


def _rules(args):
    """The judge that the options ask for, with what they give."""
    from ..curate.clean import CleanRules

    of_thresholds = _given(args, "threshold", "apart", "smallest", "on_two")
    by_centres, copy = _given(args, "angle"), _given(args, "copy")
    idle, judge = (of_thresholds, "--by-centres") if args.by_centres else (by_centres, "--model")
    if idle:
        raise InsightError(f"--{next(iter(idle)).replace('_', '-')}: does nothing with {judge}; leave it out")
    if not args.by_centres:
        return CleanRules(**of_thresholds, **copy)
    return _centre_rules(args.by_centres, **by_centres, **copy)


def _given(args, *names):
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _centre_rules(spec, **options):
    """The judge that the class centres of a checkpoint make."""
    from ..checkpoint import load_params, load_symbol, parse_spec
    from ..curate.by_centres import CentreRules
    from ..objectives.fc7 import stated_centres
    from ..runs import lineage

    prefix, epoch = parse_spec(spec, "--by-centres")
    weight = load_params(prefix, epoch)[0].get("fc7_weight")
    if weight is None:
        raise InsightError(f"--by-centres {spec}: has no fc7_weight; want a checkpoint of train-softmax, not slimmed")
    centres = stated_centres(load_symbol(prefix))
    if weight.shape[0] % centres:
        raise InsightError(
            f"--by-centres {spec}: {weight.shape[0]} rows of fc7_weight are not {centres} an identity, as the symbol "
            "says; the two files do not belong together"
        )
    stages = lineage.stages(prefix, epoch)
    trained_on = stages[-1].set_fingerprint if stages else ""
    by_class = weight.asnumpy().reshape(-1, centres, weight.shape[1])
    return CentreRules(by_class, source=f"--by-centres {spec}", trained_on=trained_on, **options)
