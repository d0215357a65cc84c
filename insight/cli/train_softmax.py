"""Flags of InsightFace's train_softmax.py keep their names, defaults and meaning; --wd,
--fc7-wd-mult and --lr-steps act as documented (in the original the first two were partly inert).

Log lines are InsightFace's, on stdout and stderr; PREFIX-log.jsonl holds the same for programs.
Trains on the first GPU where the MXNet build and the machine have one, else on the CPU.
"""

HELP = "train a network with a softmax-type loss (softmax, ArcFace)"


def add_arguments(parser):
    from ..train.train_options import TrainOptions

    TrainOptions.add_arguments(parser)
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="take a few steps and print how long the run would take; write nothing",
    )


def run(args):
    from ..train.train_options import TrainOptions

    options = TrainOptions.from_args(args)
    if args.estimate:
        from ..train.estimate import estimate

        estimate(options)
        return
    from ..train.loop import train

    result = train(options)
    print(f"{result.steps} steps done")
