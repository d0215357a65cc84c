"""What the commands that open a model have in common: the size of its images, and what had to be assumed."""

from ._types import positive_size


def add_image_size(parser):
    """``--image-size``."""
    parser.add_argument(
        "--image-size",
        type=positive_size,
        metavar="H,W",
        help="height,width of the images that the network was trained on, where its file does not state them",
    )


def print_notes(model, notes, file=None):
    """A line for each note on a model.

    On stdout where the work comes after it, since the one line on stderr is that of an error; on stderr where the work
    is done.
    """
    for note in notes:
        print(f"note: {model}: {note}", file=file)


def embedder(model, batch_size, image_size=None):
    """Open a model, print what had to be assumed about it, and give a function from the path of a .rec or .bin to its
    embeddings, batch by batch.
    """
    from ..engines import load
    from ..faces.embed import stream
    from ..faces.sources import image_source

    engine = load(model, batch_size=batch_size, image_size=image_size)
    print_notes(model, engine.notes)
    return lambda path: stream(engine, image_source(path), engine.image_size, batch_size=engine.batch_size)
