"""Each identity is judged by the embeddings of its own images. In this order:

  copies          an image that reaches --copy, a cosine, against an earlier image of its identity goes
  two people      two groups of --smallest images or more, with less than --apart between their centres, are
                  two people: --on-two says what becomes of them
  strangers       an image with less than --threshold to the centre of its person goes. That centre is the mean
                  of the half of the images that agree best, so strangers do not move it

  insight dataset-clean work/set --model models/r50s,0 --output work/clean
  insight dataset-clean work/set --model y1.onnx --dry-run --report what.csv

Nothing is dropped for being large or small. Labels are numbered anew, without gaps; images are copied byte for byte.
The CSV has a row per image: its cosine to the centre (of a copy, to the image it repeats), what became of it and why.
Of two images that differ, neither is the stranger: both stay unless they are nearly opposite.
Thresholds depend on the model: look at the CSV of a dry run.
"""

from ._model import add_image_size, embedder

HELP = "take strangers, second people and copies out of a set"


def add_arguments(parser):
    parser.add_argument("set", help="folder, .rec or prefix")
    parser.add_argument("--model", required=True, help="prefix,epoch of a checkpoint, or a .onnx file")
    parser.add_argument("--output", metavar="DIR", help="folder of the clean set: train.rec, train.idx, property")
    parser.add_argument("--batch-size", type=int, help="images at a time; else what suits the device")
    add_image_size(parser)
    parser.add_argument("--threshold", type=float, default=0.3, help="least cosine to the centre; -1 drops no stranger")
    parser.add_argument("--copy", type=float, default=0.95, help="cosine of a copy; 2 drops none")
    parser.add_argument(
        "--apart", type=float, default=0.3, help="cosine below which centres are two people's; -1: never"
    )
    parser.add_argument("--smallest", type=int, default=3, metavar="N", help="images that each of two people must have")
    parser.add_argument(
        "--on-two",
        choices=["drop-smaller", "split", "keep"],
        default="drop-smaller",
        help="keep who has most images, make each an identity, or leave them as one",
    )
    parser.add_argument("--dry-run", action="store_true", help="judge and count, write no set")
    parser.add_argument("--report", metavar="CSV", help="a row per image; else clean.csv in the output folder")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that stand there")


def run(args):
    from ..curate.clean import CleanRules, clean

    report = clean(
        args.set,
        args.output,
        embedder(args.model, args.batch_size, args.image_size),
        CleanRules(args.threshold, args.copy, args.apart, args.smallest, args.on_two),
        dry_run=args.dry_run,
        report=args.report,
        overwrite=args.overwrite,
    )
    print("\n".join(report.lines()))
