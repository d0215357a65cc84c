"""Flags of InsightFace's train_softmax.py keep their names, defaults and meaning; --wd,
--fc7-wd-mult and --lr-steps act as documented (in the original the first two were partly inert).

Log lines are InsightFace's, on stdout and stderr; PREFIX-log.jsonl contains the same for programs.
Trains on all GPUs that MXNet sees, or on the CPU if it sees none; --devices and CUDA_VISIBLE_DEVICES choose others.
"""

from ._training import add_estimate, start

HELP = "train a network with a softmax-type loss (softmax, ArcFace)"


def add_arguments(parser):
    from ..train.train_options import TrainOptions

    TrainOptions.add_arguments(parser)
    add_estimate(parser)


def run(args):
    from ..train.train_options import TrainOptions

    start(TrainOptions.from_args(args), args.estimate)
