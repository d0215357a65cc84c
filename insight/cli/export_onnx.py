"""The file takes raw RGB pixels 0..255, (batch, 3, 112, 112), and gives raw embeddings; the normalisation is inside.
ONNX Runtime, cv2.dnn and insightface.model_zoo.get_model read it. Before it is kept, ONNX Runtime embeds faces
with it, and each must agree with MXNet.

  insight export-onnx --model models/y1,40 --output y1.onnx
  insight export-onnx --model models/y1,40 --output y1-fast.onnx --graph fast --faces lfw.bin
"""

HELP = "write a checkpoint as ONNX"


def add_arguments(parser):
    parser.add_argument("--model", required=True, help="prefix,epoch of a checkpoint, slimmed or not")
    parser.add_argument("--output", required=True, metavar="F.onnx", help="file to write")
    parser.add_argument(
        "--graph",
        choices=["plain", "fast"],
        default="plain",
        help="plain: as trained; fast: the same function with batch norm folded and PReLU split, about twice as fast",
    )
    parser.add_argument(
        "--faces", metavar="PATH", help="faces to compare with: identity folders, a .rec or a .bin; else random images"
    )
    parser.add_argument("--num-faces", type=int, default=32, help="how many to compare with")
    parser.add_argument("--bound", type=float, default=0.9999, help="least cosine to MXNet, for every face")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def run(args):
    from ..export.onnx import export_onnx
    from ..export.parity import random_faces
    from ..verify.sources import image_source

    faces = image_source(args.faces).spread if args.faces else random_faces
    result = export_onnx(args.model, args.output, args.graph, faces, args.num_faces, args.bound, args.overwrite)
    print(f"{result.path}: {result.size / 1e6:.2f} MB, {args.graph} graph")
    print(f"parity with MXNet: {result.parity}")
