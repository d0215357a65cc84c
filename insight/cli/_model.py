"""Shared by the commands that open a model: options of engine and image size, and the notes on what was assumed."""

from ._types import positive_size


def add_image_size(parser):
    """``--image-size``."""
    parser.add_argument(
        "--image-size",
        type=positive_size,
        metavar="H,W",
        help="height,width of the images that the network was trained on, if its file does not state them",
    )


def add_device(parser):
    """``--device``."""
    parser.add_argument(
        "--device",
        metavar="D",
        help="cpu (default), gpu or gpu:1, which evaluates the model; on a GPU MXNet does a checkpoint, and ONNX "
        "Runtime's build for GPUs an .onnx file",
    )


def add_engine(parser):
    """``--batch-size``, ``--engine``, ``--device``, ``--dtype`` and ``--image-size``, as ``embed`` has them."""
    parser.add_argument("--batch-size", type=int, help="images at a time; else as in `embed`")
    parser.add_argument("--engine", default="auto", help="runtime of the model, as in `embed`")
    add_device(parser)
    parser.add_argument("--dtype", default="float32", help="float32; or bfloat16, as in `embed`")
    add_image_size(parser)


def print_notes(model, notes, file=None):
    """A line for each note on a model.

    Print to stdout before the work, because stderr is reserved for the one line of an error; to stderr after the work.
    """
    for note in notes:
        print(f"note: {model}: {note}", file=file)


def embedder(model, batch_size, image_size=None, cluster=None):
    """Open a model, print the notes on it, and return a function from the path of a .rec or .bin to its embeddings,
    batch by batch; the workers of a cluster compute them, if one is given.
    """
    from ..engines import load
    from ..faces.embed import stream
    from ..faces.sources import image_source

    engine = load(model, batch_size=batch_size, image_size=image_size)
    print_notes(model, engine.notes)
    options = {"image_size": engine.image_size, "batch_size": engine.batch_size, "cluster": cluster}
    return lambda path: stream(engine, image_source(path), **options)
