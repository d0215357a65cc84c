"""Fine-tunes a trained network (--pretrained) with triplets: images of one person closer together than to other people.
Flags of InsightFace's train_triplet.py keep their names, defaults and meaning; its recipe is --lr 0.005 --mom 0.

  batch  P people x K images a batch; one forward pass, all pairs of each person, a negative for each pair among the
         other people of the batch, one backward pass. All of the time is training
  bag    InsightFace's way: the network embeds a bag of images, semi-hard triplets are picked in it, and batches of
         anchors, positives and negatives are read and learned. About half of the time is embedding, but a bag has
         negatives for pairs that find none in a batch: those of a network that separates the set already. Batches
         are rounded to a multiple of 3, bags to whole batches, which InsightFace asserted

The network is verified before its first step. It is saved as the first checkpoint, and is the best until a later one is
better. Without --pretrained the network starts from random weights, which triplets rarely train well.
"""

from ._training import add_estimate, add_flags, start

HELP = "fine-tune a network with triplets, mined in each batch or in bags"
EXAMPLES = (
    (
        "InsightFace's recipe, with triplets of each batch",
        "insight train-triplet --data-dir set --network y1 --emb-size 128 --pretrained models/arcface/model,3 "
        "--prefix models/triplet/model --lr 0.005 --mom 0 --per-batch-size 150",
    ),
    (
        "the hardest negatives of bags, with ArcFace in the same step",
        "insight train-triplet --data-dir set --network y1 --emb-size 128 --pretrained models/arcface/model,3 "
        "--prefix models/triplet/model --lr 0.005 --mom 0 --mining bag --negatives hardest --classification-weight 1",
    ),
)

MINING = {"batch": "triplet", "bag": "triplet_bag"}  # names of the objectives
LOSS_TYPES = {1: "euclid", 2: "angle"}  # InsightFace's numbers


def add_arguments(parser):
    from ..objectives.triplet import RUN_DEFAULTS

    triplets = parser.add_argument_group("triplets")
    triplets.add_argument(
        "--mining", choices=tuple(MINING), default="batch", help="where triplets are picked, see above"
    )
    triplets.add_argument(
        "--loss-type",
        type=int,
        choices=tuple(LOSS_TYPES),
        default=1,
        help="distance of the loss: 1 squared Euclidean, of embeddings of length 1; 2 angle, in radians",
    )
    add_flags(parser, RUN_DEFAULTS, without=("adadistill", "loss_type", "sampler", "triplet_distance"))
    add_estimate(parser.add_argument_group("instead of training"))


def options(args):
    """The options of a parsed command line, as the trainer takes them."""
    from ..train.train_options import TrainOptions

    decided = {"loss_type": MINING[args.mining], "sampler": "", "triplet_distance": LOSS_TYPES[args.loss_type]}
    decided["adadistill"] = False  # adapts the centres of a margin
    return TrainOptions.from_args(args, **decided)


def run(args):
    start(options(args), args.estimate)
