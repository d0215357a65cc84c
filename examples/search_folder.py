"""Who is on this photo? Searches a folder of aligned faces, a folder per person, for the face of a photo.

    insight align-faces photos faces --model models/y1,40
    python examples/search_folder.py --model models/y1,40 --folder faces unknown.jpg --top 5

Prints the most similar faces, best first. The folder is embedded in each run: for a large one, embed it once with
`insight embed --flip sum`, and take `embeddings` and `keys` of its file.
"""

import argparse
import sys

import numpy as np
from verify_two_photos import five_points

from insight.detect.find import finder
from insight.errors import InsightError
from insight.face_embedding import FaceEmbedding
from insight.faces.sources import image_source


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", metavar="PHOTO")
    parser.add_argument("--folder", required=True, metavar="DIR", help="aligned faces, a folder per person")
    parser.add_argument("--model", required=True, help="prefix,epoch of a checkpoint, or an exported file")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="number of faces to print (5)")
    args = parser.parse_args(argv)
    try:
        faces, gallery = FaceEmbedding(args.model), image_source(args.folder)
        rows = faces.embed_many(item.data for item in gallery)
        wanted = faces.embed(args.photo, five_points(finder("mtcnn"), args.photo))
    except (InsightError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    cosines = faces.similarity(rows, wanted)
    for i in np.argsort(-cosines, kind="stable")[: args.top]:
        print(f"{cosines[i]:.4f}  {gallery.keys[i]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
