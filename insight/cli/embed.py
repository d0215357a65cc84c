"""The file contains ``embeddings`` (N, E) float32 as the network gives them, not normalised; with --flip both
``mirrored`` (N, E), those of the mirror images; ``keys`` (N,), strings: path under the folder, key of the record, or
position in the .bin; and ``labels`` (N,) int64: position of the identity's folder among the sorted folders, label of
the record, or -1. ``about``, JSON, records the model, the options, and the fingerprint of a .rec; ``identification``,
--compare and `train-softmax --teacher` read it.

Images are faces aligned to the network's size; they are converted to RGB and normalised as the network needs.

A run that was killed resumes when the same command is given again, and gives the same bytes. Until it is done, its
parts are in F.npz.parts/; with another model, input or option it does not resume and reports an error.
"""

from ._cluster import add_cluster, cluster_of
from ._model import add_device, add_image_size, print_notes

HELP = "raw embeddings of a folder, a .rec or a .bin, as .npz"
EXAMPLES = (
    (
        "a verification set, image and mirror image added, as in verification",
        "insight embed --model models/y1s,0 --input lfw.bin --output lfw.npz --flip sum",
    ),
    (
        "a folder of identity folders, in bfloat16",
        "insight embed --model y1.onnx --input faces --output faces.npz --dtype bfloat16",
    ),
    (
        "a training set, for train-softmax to learn from with --teacher",
        "insight embed --model r100,1 --input set/train.rec --output taught.npz --flip both --output-dtype float16",
    ),
)


def add_arguments(parser):
    model = parser.add_argument_group("model and faces")
    model.add_argument(
        "--model", required=True, help="prefix,epoch of a checkpoint, a .onnx file, OpenVINO's .xml or ncnn's .param"
    )
    model.add_argument("--input", required=True, help="folder of identity folders, .rec file or verification .bin")
    add_image_size(model)
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, metavar="F.npz", help="file to write; replaced if it exists")
    output.add_argument(
        "--flip",
        choices=["sum", "both", "none"],
        default="none",
        help="sum: add the embedding of the mirror image; both: store it too, as the array mirrored",
    )
    output.add_argument(
        "--output-dtype",
        choices=["float32", "float16"],
        default="float32",
        help="type of the embeddings in the file; float16 is enough for `train-softmax --teacher`",
    )
    runtime = parser.add_argument_group("runtime")
    runtime.add_argument(
        "--batch-size", type=int, help="images at a time; else 8 on a CPU, which is fastest, 64 on a GPU"
    )
    runtime.add_argument(
        "--engine",
        default="auto",
        help="mxnet, onnxruntime, openvino, ncnn, or auto: the fastest installed one that reads the model; "
        "a checkpoint is converted to ONNX in memory",
    )
    add_device(runtime)
    runtime.add_argument(
        "--dtype",
        default="float32",
        help="float32; or bfloat16, faster with OpenVINO or ncnn on a CPU that supports it, at cosines of about 0.9999",
    )
    add_cluster(runtime)
    comparison = parser.add_argument_group("comparison")
    comparison.add_argument(
        "--compare", metavar="F.npz", help="embeddings of the same input by another model: print cosines"
    )
    comparison.add_argument(
        "--bound", type=float, default=0.9999, help="with --compare: status 1 if any cosine is lower"
    )


def run(args):
    import os

    from .. import engines
    from ..errors import InsightError
    from ..faces.parts import about, embed_to
    from ..files import atomic
    from ._source import open_faces

    inputs = [args.input, *engines.model_files(args.model), *filter(None, [args.compare])]
    atomic.check_output(args.output, "--output", inputs)
    if args.compare and not os.path.isfile(args.compare):
        raise InsightError(f"--compare {args.compare}: no such file; want an .npz that embed wrote")
    cluster = cluster_of(args)
    options = {"batch_size": args.batch_size, "engine": args.engine, "device": args.device, "dtype": args.dtype}
    engine = engines.load(args.model, image_size=args.image_size, **options)
    print_notes(args.model, engine.notes)
    source, files = open_faces(args.input), engines.model_files(args.model)
    source.check()
    provenance = about(engine, args.flip, files, source)
    stored = {"about": provenance, "dtype": args.output_dtype, "cluster": cluster}
    count, dimension = embed_to(args.output, engine, source, args.flip, files, **stored)
    print(f"{args.output}: {count} embeddings of {dimension}; {args.model} in {engine.describe()}")
    if args.compare:
        from ..export.parity import compare_files

        print(f"against {args.compare}: {compare_files(args.output, args.compare, args.bound)}")
