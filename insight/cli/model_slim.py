"""Cuts a checkpoint at fc1_output: layers that only training needs (fc7, the loss) are removed, those from the image
to the embedding stay. The result is a separate checkpoint, PREFIX-symbol.json and PREFIX-0000.params, for plain MXNet,
InsightFace's deploy code and mxnet2ncnn. The source is not modified. PREFIX-lineage.json records how it was trained, if
a training log exists. The files are kept only if faces embedded with them agree with the source, each of them.

  insight model-slim --model models/y1,40                      models/y1s,0
  insight model-slim --model models/y1,40 --fold-bn --output models/y1-folded
"""

import sys

from ._gate import add_gate, faces, print_lineage
from ._model import add_image_size, print_notes

HELP = "reduce a checkpoint to the layers needed for inference"


def add_arguments(parser):
    parser.add_argument("--model", required=True, help="prefix,epoch of a checkpoint")
    parser.add_argument("--output", metavar="PREFIX", help="prefix of the result; else the source's and an s")
    parser.add_argument("--fold-bn", action="store_true", help="fold batch norm into neighbours; drop Dropout")
    parser.add_argument("--layer", default="fc1", metavar="NAME", help="layer that gives the embedding")
    add_image_size(parser)
    add_gate(parser, "lowest cosine to the source, for every face", 0.9999)
    parser.add_argument("--overwrite", action="store_true", help="replace existing files; never the source")


def run(args):
    from ..export.slim import slim

    gate = {"faces": faces(args), "count": args.num_faces, "bound": args.bound}
    options = {"overwrite": args.overwrite, "image_size": args.image_size, **gate}
    result = slim(args.model, args.output, args.fold_bn, args.layer, **options)
    print_notes(args.model, result.notes, sys.stderr)
    print(f"{args.model}: {result.before / 1e6:.2f} MB -> {result.prefix},{result.epoch}: {result.after / 1e6:.2f} MB")
    print(f"parity with the source: {result.parity}")
    print_lineage(result.stages, f"{result.prefix}-lineage.json")
