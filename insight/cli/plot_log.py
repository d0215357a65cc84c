"""Logs are the PREFIX-log.jsonl of train-softmax, or the text that InsightFace's training printed: stdout,
stderr or both, with time stamps or without. One picture shows all runs: loss, training accuracy, any other figure
in the logs, learning rate, and the accuracy on each verification set, the best one circled.

For each run the best accuracy on each set is printed, and the best checkpoint: the last set decides, as in
training. --csv writes all points, a row for each run and step.

  insight plot-log models/softmax/y1-log.jsonl models/arcface/y1-log.jsonl --output curves.png
  insight plot-log train.log --output curves.svg --csv curves.csv
"""

HELP = "curves of training runs, from logs of train-softmax and of InsightFace"


def add_arguments(parser):
    parser.add_argument("logs", nargs="+", metavar="LOG", help="a log for each run")
    parser.add_argument("--output", required=True, metavar="P.png|P.svg", help="picture to write (extra plots)")
    parser.add_argument("--csv", default="", metavar="C.csv", help="also write all points to this file")


def run(args):
    from ..plots.trainreport import plot_logs, summary

    print(summary(plot_logs(args.logs, args.output, args.csv)))
