"""Flags of InsightFace's train_softmax.py keep their names, defaults and meaning; --wd,
--fc7-wd-mult and --lr-steps act as documented (in the original the first two were partly inert).

Log lines are InsightFace's, on stdout and stderr; PREFIX-log.jsonl contains the same for programs.
Trains on all GPUs that MXNet sees, or on the CPU if it sees none; --devices and CUDA_VISIBLE_DEVICES choose others.
"""

from ._training import add_estimate, add_flags, start

HELP = "train a network with a softmax-type loss (softmax, ArcFace)"
EXAMPLES = (
    (
        "softmax, the first stage of MobileFaceNet",
        "insight train-softmax --data-dir work/set --network y1 --emb-size 128 --loss-type 0 "
        "--prefix models/softmax/y1",
    ),
    (
        "ArcFace from its checkpoint; the same command again resumes",
        "insight train-softmax --data-dir work/set --network y1 --emb-size 128 --loss-type arcface "
        "--pretrained models/softmax/y1,1 --prefix models/arcface/y1 --resume",
    ),
    (
        "how long that would take, and how much memory",
        "insight train-softmax --data-dir work/set --network r50 --estimate",
    ),
)


def add_arguments(parser):
    add_flags(parser)
    add_estimate(parser.add_argument_group("instead of training"))


def run(args):
    from ..train.train_options import TrainOptions

    start(TrainOptions.from_args(args), args.estimate)
