r"""Compare two photos: do they show one person? An example of ``FaceEmbedding``, the class for use in services.

    python deploy/face_embedding.py --model models/y1s,0 a.jpg b.jpg --threshold 0.29
    python deploy/face_embedding.py --model y1.onnx raw.jpg aligned.jpg \
        --landmarks 98,110,150,108,124,141,104,171,147,169 -

Photos are aligned faces of the network's size, or are given with five landmarks: x1,y1,...,x5,y5 of left eye, right
eye, nose, left and right mouth corner. The threshold is a cosine from `insight verification` for that model.
"""

import argparse
import sys

from insight.cli._types import image_size
from insight.errors import InsightError
from insight.face_embedding import FaceEmbedding

__all__ = ["FaceEmbedding"]


def points(text):
    """Parse ``x1,y1,...,x5,y5`` to (5, 2); ``-`` to None."""
    numbers = [] if text == "-" else [float(number) for number in text.split(",")]
    if len(numbers) not in (0, 10):
        raise ValueError
    return [numbers[i : i + 2] for i in range(0, 10, 2)] if numbers else None


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="prefix,epoch, or a file that `insight embed` takes")
    parser.add_argument("photos", nargs=2, metavar="PHOTO")
    parser.add_argument("--landmarks", nargs=2, type=points, metavar="X,Y", help="of each photo; - if aligned")
    parser.add_argument("--threshold", type=float, help="cosine above which the photos show one person")
    parser.add_argument(
        "--image-size", type=image_size, metavar="H,W", help="height,width of aligned faces, if the model has none"
    )
    parser.add_argument("--engine", default="auto", help="the runtime; by default the fastest installed one")
    args = parser.parse_args(argv)
    try:
        faces = FaceEmbedding(args.model, engine=args.engine, image_size=args.image_size)
        a, b = faces.embed_many(args.photos, args.landmarks)
    except InsightError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    for note in faces.notes:
        print(f"note: {args.model}: {note}", file=sys.stderr)
    cosine = faces.similarity(a, b)
    print(f"{faces.describe()}\ncosine {cosine:.4f}, squared L2 {max(0.0, 2 - 2 * cosine):.4f}")
    if args.threshold is not None:
        print("same person" if cosine > args.threshold else "different people")
    return 0


if __name__ == "__main__":
    sys.exit(main())
