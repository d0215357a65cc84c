"""PREFIX.param and PREFIX.bin take raw RGB pixels 0..255 in the blob data, and give raw embeddings in fc1;
normalisation is part of the network. The files are kept only if faces embedded with ncnn agree with MXNet, each of
them.
"""

import sys

from ._gate import add_gate, faces, print_lineage
from ._model import add_image_size, print_notes

HELP = "write a checkpoint for ncnn, as .param and .bin"
EXAMPLES = (
    ("y1.param and y1.bin", "insight export-ncnn --model models/y1,40 --output y1"),
    (
        "half the size, compared with MXNet on real faces",
        "insight export-ncnn --model models/y1,40 --output y1-half --dtype float16 --faces lfw.bin",
    ),
)


def add_arguments(parser):
    model = parser.add_argument_group("model")
    model.add_argument("--model", required=True, help="prefix,epoch of a checkpoint, slimmed or not")
    add_image_size(model)
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, metavar="PREFIX", help="writes PREFIX.param and PREFIX.bin")
    output.add_argument(
        "--dtype",
        choices=["float32", "float16"],
        default="float32",
        help="type of the stored weights; float16 halves the .bin",
    )
    output.add_argument("--overwrite", action="store_true", help="replace existing files")
    gate = parser.add_argument_group("comparison with MXNet")
    add_gate(gate, "lowest cosine to MXNet, for every face; else 0.9999, and 0.999 for float16")


def run(args):
    from ..export.ncnn import export_ncnn

    gate = (faces(args), args.num_faces, args.bound)
    result = export_ncnn(args.model, args.output, args.dtype, *gate, args.overwrite, args.image_size)
    print_notes(args.model, result.notes, sys.stderr)
    height, width = result.image_size
    print(f"{result.param}, {result.weights.name}: {result.size / 1e6:.2f} MB, {args.dtype} weights")
    print(f"input data: {height}x{width} RGB, 0..255; output fc1: {result.dimension}")
    print(f"parity with MXNet: {result.parity}")
    print_lineage(result.stages, f"{result.param.with_suffix('')}-lineage.json")
