"""Logs are the PREFIX-log.jsonl of train-softmax, or the text that InsightFace's training printed: stdout,
stderr or both, with or without time stamps. One picture shows all runs: loss, training accuracy, any other figure
in the logs, learning rate, and the accuracy on each verification set, with the best one circled.

For each run the best accuracy on each set is printed, and the best checkpoint, which is chosen by the last set as in
training. --csv writes all points, a row for each run and step. --triplets draws what a run of train-triplet picked in
its first and in its last steps: distances of positives and negatives, and the band of semi-hard negatives.
"""

HELP = "curves of training runs, from logs of train-softmax and of InsightFace"
EXAMPLES = (
    (
        "two stages in one picture",
        "insight plot-log models/softmax/y1-log.jsonl models/arcface/y1-log.jsonl --output curves.png",
    ),
    ("a log of InsightFace, and its points", "insight plot-log train.log --output curves.svg --csv curves.csv"),
    (
        "and the triplets that were picked",
        "insight plot-log models/triplet/y1-log.jsonl --output curves.png --triplets picked.png",
    ),
)


def add_arguments(parser):
    parser.add_argument_group("runs").add_argument("logs", nargs="+", metavar="LOG", help="logs, one per run")
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, metavar="P.png|P.svg", help="picture to write (extra plots)")
    output.add_argument("--csv", default="", metavar="C.csv", help="also write all points to this file")
    output.add_argument("--triplets", default="", metavar="T.png|T.svg", help="also draw one run's triplets")


def run(args):
    from ..plots.trainreport import plot_logs, summary

    print(summary(plot_logs(args.logs, args.output, args.csv, args.triplets)))
