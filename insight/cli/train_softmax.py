"""Flags of InsightFace's train_softmax.py keep their names, defaults and meaning; --wd,
--fc7-wd-mult and --lr-steps act as documented (in the original the first two were partly inert).

Log lines are InsightFace's, on stdout and stderr; PREFIX-log.jsonl contains the same for programs.
Trains on all GPUs that MXNet sees, or on the CPU if it sees none; --devices and CUDA_VISIBLE_DEVICES choose others.
"""

HELP = "train a network with a softmax-type loss (softmax, ArcFace)"


def add_arguments(parser):
    from ..train.train_options import TrainOptions

    TrainOptions.add_arguments(parser)
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="take a few steps and print the estimated duration of the run; write nothing",
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
