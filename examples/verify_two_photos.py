"""Do two photos show the same person?

    python examples/verify_two_photos.py --model y1.onnx a.jpg b.jpg
    python examples/verify_two_photos.py --model models/y1,40 a.jpg b.jpg --threshold 0.29

The largest face of each photo is found (extra `detect`), aligned by its five points, and embedded together with its
mirror image. The threshold is a cosine that `insight verification` printed for the model.
"""

import argparse
import sys
from pathlib import Path

from insight.detect.choose import by_size
from insight.detect.find import Finder, finder
from insight.detect.photo import Photo
from insight.errors import InsightError
from insight.face_embedding import FaceEmbedding


def five_points(find: Finder, path: str):
    """(5, 2) points of the largest face of a photo, x and y in pixels."""
    found = find.find(Photo(Path(path).read_bytes()))
    if not found.faces:
        raise InsightError(f"{path}: no face was found; want a photo of a face")
    return by_size(found.faces)[0].points


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs=2, metavar="PHOTO")
    parser.add_argument("--model", required=True, help="prefix,epoch of a checkpoint, or an exported file")
    parser.add_argument("--threshold", type=float, help="cosine above which the photos show one person")
    args = parser.parse_args(argv)
    try:
        find, faces = finder("mtcnn"), FaceEmbedding(args.model)
        points = [five_points(find, path) for path in args.photos]
        cosine = faces.similarity(*faces.embed_many(args.photos, points))
    except (InsightError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"cosine {cosine:.4f}")
    if args.threshold is not None:
        print("same person" if cosine > args.threshold else "different people")
    return 0


if __name__ == "__main__":
    sys.exit(main())
