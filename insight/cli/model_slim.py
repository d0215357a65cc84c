"""Cuts a checkpoint at fc1_output: layers that only training needs (fc7, the loss) are removed, those from the image
to the embedding stay. The result is a separate checkpoint, PREFIX-symbol.json and PREFIX-0000.params, for plain MXNet,
InsightFace's deploy code and mxnet2ncnn. The source is not modified. PREFIX-lineage.json records how it was trained, if
a training log exists. The files are kept only if faces embedded with them agree with the source, each of them.
"""

import sys

from ._gate import add_gate, faces, print_lineage
from ._model import add_image_size, print_notes

HELP = "reduce a checkpoint to the layers needed for inference"
EXAMPLES = (
    ("models/y1s,0", "insight model-slim --model models/y1,40"),
    ("without batch norm too", "insight model-slim --model models/y1,40 --fold-bn --output models/y1-folded"),
)


def add_arguments(parser):
    model = parser.add_argument_group("model")
    model.add_argument("--model", required=True, help="prefix,epoch of a checkpoint")
    model.add_argument("--layer", default="fc1", metavar="NAME", help="layer that gives the embedding")
    add_image_size(model)
    output = parser.add_argument_group("output")
    output.add_argument("--output", metavar="PREFIX", help="prefix of the result; else the source's and an s")
    output.add_argument("--fold-bn", action="store_true", help="fold batch norm into neighbours; drop Dropout")
    output.add_argument("--overwrite", action="store_true", help="replace existing files; never the source")
    gate = parser.add_argument_group("comparison with the source")
    add_gate(gate, "lowest cosine to the source, for every face", 0.9999)


def run(args):
    from ..export.slim import slim

    gate = {"faces": faces(args), "count": args.num_faces, "bound": args.bound}
    options = {"overwrite": args.overwrite, "image_size": args.image_size, **gate}
    result = slim(args.model, args.output, args.fold_bn, args.layer, **options)
    print_notes(args.model, result.notes, sys.stderr)
    print(f"{args.model}: {result.before / 1e6:.2f} MB -> {result.prefix},{result.epoch}: {result.after / 1e6:.2f} MB")
    print(f"parity with the source: {result.parity}")
    print_lineage(result.stages, f"{result.prefix}-lineage.json")
