"""The file takes raw RGB pixels 0..255, (batch, 3, H, W) of the size that the network was trained on, and gives raw
embeddings; normalisation is part of the network.
ONNX Runtime, cv2.dnn and insightface.model_zoo.get_model read it. Its metadata records how the network was trained, if
a training log exists. The file is kept only if faces embedded with ONNX Runtime agree with MXNet, each of them.
"""

import sys

from ._gate import add_gate, faces, print_lineage
from ._model import add_image_size, print_notes

HELP = "write a checkpoint as ONNX"
EXAMPLES = (
    ("the graph as it was trained", "insight export-onnx --model models/y1,40 --output y1.onnx"),
    (
        "about twice as fast, compared with MXNet on real faces",
        "insight export-onnx --model models/y1,40 --output y1-fast.onnx --graph fast --faces lfw.bin",
    ),
    ("for OpenVINO, with y1.bin", "insight export-onnx --model models/y1,40 --output y1.xml"),
    (
        "8 bits, and what they cost in accuracy",
        "insight export-onnx --model models/y1,40 --output y1-int8.onnx --int8 --calibrate faces.rec "
        "--target-bin lfw.bin",
    ),
)


def add_arguments(parser):
    model = parser.add_argument_group("model")
    model.add_argument("--model", required=True, help="prefix,epoch of a checkpoint, slimmed or not")
    add_image_size(model)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", required=True, metavar="F.onnx", help="file to write; F.xml: OpenVINO's, with F.bin"
    )
    output.add_argument(
        "--graph",
        choices=["plain", "fast"],
        help="plain: as trained; fast: the same function with batch norm folded and PReLU split, about twice as fast; "
        "else plain, and fast for 8-bit ONNX",
    )
    output.add_argument("--overwrite", action="store_true", help="replace existing files")
    gate = parser.add_argument_group("comparison with MXNet")
    add_gate(gate, "lowest cosine to MXNet: 0.9999, for every face; with --int8 0.98, for their mean")
    eight = parser.add_argument_group("8 bits")
    eight.add_argument("--int8", action="store_true", help="int8 weights, uint8 feature maps; needs --calibrate")
    eight.add_argument(
        "--calibrate",
        metavar="PATH",
        help="faces to measure ranges on: identity folders, a .rec or a .bin; not your test set",
    )
    eight.add_argument("--num-calibrate", type=int, metavar="N", help="how many of them; else 200")
    eight.add_argument(
        "--weight-bits",
        type=int,
        choices=(7, 8),
        help="7 (default): sums are exact on every processor; 8: slightly closer to float32, for processors with VNNI; "
        "wrong on x86 without it",
    )
    eight.add_argument("--target-bin", metavar="F.bin", help="verification set: print the loss of accuracy")


def run(args):
    from ..errors import InsightError

    for option in ("calibrate", "num_calibrate", "weight_bits", "target_bin"):
        if getattr(args, option) is not None and not args.int8:
            raise InsightError(f"--{option.replace('_', '-')}: needs --int8; add it, or leave this out")
    if args.int8:
        _run_int8(args)
    else:
        _run_float32(args)


def _run_int8(args):
    from ..errors import InsightError
    from ..export.quantize import BOUND, COUNT, export_int8
    from ._source import open_faces

    if not args.calibrate:
        raise InsightError(
            "--int8: needs --calibrate PATH, some 200 aligned faces like those it will embed; "
            "if you have none, those of `insight made-up-faces OUT`"
        )
    result = export_int8(
        args.model,
        args.output,
        open_faces(args.calibrate),
        COUNT if args.num_calibrate is None else args.num_calibrate,
        args.graph,
        faces(args) if args.faces else None,
        args.num_faces,
        BOUND if args.bound is None else args.bound,
        args.target_bin,
        args.overwrite,
        args.weight_bits or 7,
        args.image_size,
    )
    print_notes(args.model, result.notes, sys.stderr)
    part = result.size / result.float32_size
    kind = f"int8, {result.graph} graph, {result.weight_bits}-bit weights"
    print(f"{result.path}: {result.size / 1e6:.2f} MB, {part:.3f} x float32 ONNX, {kind}")
    print(f"calibrated on {result.calibrated} faces; parity with MXNet on others: {result.parity}")
    if result.weight_bits > 7:
        here = "also on this one" if result.overflows else "not on this one"
        print(
            f"8-bit weights: sums overflow on x86 processors without VNNI, {here}; check with `insight embed --compare`"
        )
    if result.accuracy:
        before, after = result.accuracy
        print(f"{args.target_bin}: accuracy {before:.5f} in float32, {after:.5f} in int8; drop {before - after:.5f}")


def _run_float32(args):
    from ..export.onnx import export_onnx
    from ..export.parity import FLOAT32_BOUND
    from ..graph.onnx_input import is_routed_to_arcface

    graph, bound = args.graph or "plain", FLOAT32_BOUND if args.bound is None else args.bound
    gate = (faces(args), args.num_faces, bound)
    result = export_onnx(args.model, args.output, graph, *gate, args.overwrite, args.image_size)
    print_notes(args.model, result.notes, sys.stderr)
    height, width = result.image_size
    print(f"{result.path}: {result.size / 1e6:.2f} MB, {graph} graph, input {height}x{width}")
    print(f"parity with MXNet: {result.parity}")
    if result.path.suffix.lower() == ".xml":
        print("for OpenVINO; its weights are in the .bin beside it")
    elif is_routed_to_arcface(result.image_size):
        print("drop-in: insightface.model_zoo.get_model opens it unchanged, as do ONNX Runtime and cv2.dnn")
    else:
        print(f"for ONNX Runtime and cv2.dnn; insightface.model_zoo.get_model opens no {height}x{width} networks")
    print_lineage(result.stages, "in the metadata")
