"""Each identity is checked by the embeddings of its own images, in three steps:

  copies          an image whose cosine to an earlier image of its identity is --copy or more is dropped
  two people      two groups of at least --smallest images whose centres have a cosine below --apart are two
                  people, handled as --on-two says
  strangers       an image whose cosine to the centre of its person is below --threshold is dropped. The centre is
                  the mean of the half of the images that agree best, so strangers do not move it

  insight dataset-clean work/set --model models/r50s,0 --output work/clean
  insight dataset-clean work/set --model y1.onnx --dry-run --report what.csv

No identity is dropped for its number of images. Labels are renumbered without gaps; images are copied byte for byte.
The CSV has a row per image: its cosine to the centre (for a copy, to the image that it repeats), the decision and the
reason. With only two images that differ, neither can be called the stranger: both are kept unless they are nearly
opposite. Good thresholds depend on the model: check the CSV of a dry run first.
"""

from ._model import add_image_size, embedder

HELP = "remove strangers, second people and copies from a set"


def add_arguments(parser):
    parser.add_argument("set", help="folder, .rec or prefix")
    parser.add_argument("--model", required=True, help="prefix,epoch of a checkpoint, or a .onnx file")
    parser.add_argument("--output", metavar="DIR", help="folder of the clean set: train.rec, train.idx, property")
    parser.add_argument("--batch-size", type=int, help="images at a time; else chosen for the device")
    add_image_size(parser)
    parser.add_argument(
        "--threshold", type=float, default=0.3, help="lowest cosine to the centre; -1 drops no stranger"
    )
    parser.add_argument("--copy", type=float, default=0.95, help="cosine of a copy; 2 drops none")
    parser.add_argument(
        "--apart", type=float, default=0.3, help="cosine of two centres below which they are two people; -1: never"
    )
    parser.add_argument("--smallest", type=int, default=3, metavar="N", help="images that each of two people must have")
    parser.add_argument(
        "--on-two",
        choices=["drop-smaller", "split", "keep"],
        default="drop-smaller",
        help="keep the person with most images, make each an identity, or leave them as one",
    )
    parser.add_argument("--dry-run", action="store_true", help="decide and count, write no set")
    parser.add_argument("--report", metavar="CSV", help="a row per image; else clean.csv in the output folder")
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")


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
