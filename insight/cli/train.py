"""Takes the config.py of InsightFace's recognition/arcface_mxnet, and the options of its train.py: the entries that
--network, --dataset and --loss name are joined over the tables config and default, by the file's own generate_config,
and the command line prevails over them. The run is that of train-softmax or train-triplet with the same options, in
MODELS_ROOT/NETWORK-LOSS-DATASET/model. Given again, the command goes on where it was stopped.

Every other option of these two commands may be given too, and prevails over the file, or stand in it under its name
(config.warmup = 1000).
Keys that have no meaning here are named in a note. config.py is a Python program: it is executed.
"""

import argparse
import sys

from ._training import add_estimate, add_flags, start

HELP = "train as InsightFace's train.py does, by its config.py"
EXAMPLES = (
    (
        "entries of a config.py, as InsightFace's train.py takes them",
        "insight train --config config.py --network r100 --dataset emore --loss arcface",
    ),
    (
        "a config.py with the defaults, for a set of your own",
        "insight train --print-config --data-dir faces --network y1 > config.py",
    ),
)

DEFAULT_FILE = "config.py"
OWN_WAY = ("network", "pretrained", "resume", "loss_type")  # options of train-softmax that train.py has its own way for


class _IfTyped:
    """Adds options to a parser or a group whose values are missing, not the default, where they are not typed."""

    def __init__(self, parser):
        self._parser = parser

    def add_argument_group(self, title):
        return _IfTyped(self._parser.add_argument_group(title))

    def add_argument(self, *flags, **about):
        self._parser.add_argument(*flags, **{**about, "default": argparse.SUPPRESS})


def add_arguments(parser):
    entries = parser.add_argument_group("entries of the file")
    entries.add_argument("--config", metavar="FILE", help=f"the config.py; none: {DEFAULT_FILE} in this folder")
    for table in ("network", "dataset", "loss"):
        entries.add_argument(
            f"--{table}", metavar="NAME", help=f"entry of the file's {table}; none: the one that its default names"
        )
    run = parser.add_argument_group("run")
    run.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on where the run of this prefix was stopped; --no-resume starts another one, whose checkpoints "
        "have the next numbers",
    )
    instead = parser.add_argument_group("instead of training")
    instead.add_argument(
        "--print-config",
        action="store_true",
        help="print a config.py with the defaults of insight, or of --config where that is given, and end; options "
        "beside it are written into it",
    )
    add_estimate(instead)
    typed = _IfTyped(parser.add_argument_group("options of InsightFace's train.py, over the file"))
    typed.add_argument("--models-root", metavar="DIR", help="folder of the runs")
    typed.add_argument("--pretrained", metavar="X", help="start from this checkpoint: prefix, or prefix,epoch")
    typed.add_argument("--pretrained-epoch", type=int, metavar="X", help="number of the --pretrained checkpoint")
    typed.add_argument(
        "--extra-model-name", metavar="X", help="train_parall.py's: added to the name of the run's folder"
    )
    typed.add_argument(
        "--fp16-scale",
        type=float,
        metavar="X",
        help="train_parall.py's: above 0, float16, which scales its loss by itself",
    )
    add_flags(_IfTyped(parser), without=OWN_WAY)


def run(args):
    from ..configs.mapped import mapped
    from ..configs.printed import defaults, text
    from ..configs.userfile import ConfigFile
    from ..errors import InsightError
    from ..train.resume import state_path

    ours = args.print_config and not args.config
    file = defaults() if ours else ConfigFile.read(args.config or DEFAULT_FILE)
    joined = file.join(args.network, args.dataset, args.loss)
    result = mapped(joined, vars(args))
    options = result.options()
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr if args.print_config else sys.stdout, flush=True)
    if args.print_config:
        print(text(options, joined.names), end="")
        return
    options.resume = options.resume and state_path(options.prefix).exists()
    try:
        start(options, args.estimate, again="the same command", afresh="give --no-resume")
    except InsightError as error:
        raise result.placed(error) from error
