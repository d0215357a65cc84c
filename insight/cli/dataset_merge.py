"""The first set is kept whole. An identity of a later set is dropped, with all its images, if the cosine of its centre
(normalised mean of the normalised embeddings) to any identity kept from the earlier sets is --param1 or more. Then
every identity, also of the first set, is dropped whose cosine to an image of an excluded .bin, or to an identity of an
excluded set, is --param2 or more. Labels are renumbered; images are copied byte for byte.

Good thresholds depend on the model: check --histogram, or the nearest identity and the cosine in the CSV, before
trusting one. A set is written whole or not at all.
"""

from ..files.text import between_commas
from ._cluster import add_cluster, cluster_of
from ._images import add_shards
from ._model import add_image_size, embedder

HELP = "merge sets; drop or pool identities in several of them, exclude test people"
EXAMPLES = (
    (
        "private people into a public set, without those of a test set",
        "insight dataset-merge --include emore,private --exclude lfw.bin --output both --model models/r50s,0",
    ),
    (
        "pool the images of people in both, and of people twice in one",
        "insight dataset-merge --include a,b --output c --model y1.onnx --on-overlap pool --within",
    ),
    (
        "decide only: every decision as a table, and the cosines as a picture",
        "insight dataset-merge --include a,b --model y1.onnx --dry-run --report what.csv --histogram what.png",
    ),
    ("append, without comparing", "insight dataset-merge --include a,b --output c --param1 0"),
)


def add_arguments(parser):
    sets = parser.add_argument_group("sets and model")
    sets.add_argument(
        "--include", required=True, type=between_commas, metavar="A,B,..", help="sets: folder, .rec or prefix"
    )
    sets.add_argument(
        "--exclude",
        type=between_commas,
        default=[],
        metavar="X,..",
        help="verification .bin files and sets of people to leave out",
    )
    sets.add_argument("--model", help="prefix,epoch of a checkpoint, or a .onnx file; not needed with --param1 0")
    sets.add_argument("--batch-size", type=int, help="images at a time; else chosen for the device")
    add_image_size(sets)
    decisions = parser.add_argument_group("decisions")
    decisions.add_argument(
        "--param1", type=float, default=0.3, help="cosine for one person in two sets; 0: do not compare"
    )
    decisions.add_argument("--param2", type=float, default=0.4, help="cosine for an excluded person")
    decisions.add_argument(
        "--on-overlap",
        choices=["drop", "pool"],
        default="drop",
        help="drop the later identity, or pool its images with those of the earlier",
    )
    decisions.add_argument("--within", action="store_true", help="also compare identities of one set with each other")
    output = parser.add_argument_group("output")
    output.add_argument("--output", metavar="DIR", help="folder of the merged set: train.rec, train.idx, property")
    output.add_argument("--dry-run", action="store_true", help="decide and count, write no set")
    output.add_argument("--report", metavar="CSV", help="every decision; else merge.csv in the output folder")
    output.add_argument("--histogram", metavar="F.png", help="picture of the nearest cosines, .png or .svg")
    add_shards(output)
    output.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    add_cluster(parser.add_argument_group("machine"))


def run(args):
    from ..curate.merge import merge
    from ..curate.overlap import Rules
    from ..errors import InsightError

    if args.image_size and not args.model:
        raise InsightError("--image-size: applies to --model only; add --model, or leave it out")
    cluster = cluster_of(args, refusal="" if args.model else "embeds for --model only; add --model, or leave it out")
    report = merge(
        args.include,
        args.output,
        exclude=args.exclude,
        embed=embedder(args.model, args.batch_size, args.image_size, cluster) if args.model else None,
        rules=Rules(args.param1, args.param2, args.on_overlap, args.within),
        dry_run=args.dry_run,
        report=args.report,
        histogram=args.histogram,
        overwrite=args.overwrite,
        shard_count=args.shards,
    )
    print("\n".join(report.lines()))
