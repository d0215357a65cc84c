"""RAW has a folder per person, with photos of any format, name and depth in it; it is only read. OUT gets a folder per
person with aligned faces, ready for dir2lst, and faces.csv, with a row per face that was found and per photo without
one: what was decided and why, box, five points, scores, measures.

Of a photo with several faces, the largest is taken; of nearly as large ones, the one nearest to the middle. With
--model, the faces of a folder in which a photo has several are embedded, and the person of most photos is taken;
folders in which two people are equally likely are listed as ambiguous.

Give the same command again to resume: folders that are done with the same options and photos are skipped, also after a
kill. Crops that were made with other options are replaced only with --overwrite.
"""

from ._cluster import add_cluster, workers_of
from ._images import add_workers
from ._types import positive_size

HELP = "find the faces of raw photos and align them"
EXAMPLES = (
    ("the largest face of each photo", "insight align-faces photos faces"),
    (
        "the face on which the photos of a folder agree, by the embeddings of a model",
        "insight align-faces photos faces --model models/y1,40",
    ),
    ("every face, of photos without identities", "insight align-faces crowd faces --flat"),
    (
        "no detector: the landmarks of another run, or a .lst of glint2lst",
        "insight align-faces photos faces --landmarks other/faces.csv",
    ),
)


def add_arguments(parser):
    photos = parser.add_argument_group("photos")
    photos.add_argument("raw", metavar="RAW", help="folder of a folder of photos per person; with --flat, of photos")
    photos.add_argument("--detector", metavar="NAME", help="mtcnn (default), yunet:FILE, or scrfd:FILE")
    photos.add_argument(
        "--landmarks", metavar="FILE", help="faces from a faces.csv or a .lst with landmarks, instead of a detector"
    )
    which = parser.add_argument_group("which face is meant")
    which.add_argument(
        "--model", help="choose faces with this network: prefix,epoch of a checkpoint, or a file that embed takes"
    )
    which.add_argument("--flat", action="store_true", help="photos without identities: every face is taken")
    which.add_argument(
        "--multi",
        choices=["skip", "largest", "all"],
        help="photos with several faces: take none, one, or all; largest, or all with --flat",
    )
    rejected = parser.add_argument_group("faces that are rejected")
    rejected.add_argument(
        "--min-eyes", type=float, default=10.0, metavar="PX", help="reject faces with eyes nearer in the photo"
    )
    rejected.add_argument(
        "--min-sharpness", type=float, metavar="V", help="reject blurred faces, such as those below 10"
    )
    rejected.add_argument(
        "--max-outside", type=float, metavar="SHARE", help="reject faces with more of the crop outside the photo: 0.3"
    )
    rejected.add_argument("--min-score", type=float, metavar="S", help="reject faces below this score of the detector")
    output = parser.add_argument_group("output")
    output.add_argument("out", metavar="OUT", help="folder of the aligned faces; made, or continued")
    output.add_argument("--image-size", type=positive_size, default="112,112", metavar="H,W", help="112,112 or 112,96")
    output.add_argument("--encoding", choices=[".jpg", ".png"], default=".jpg", help="of the crops; JPEG at quality 95")
    output.add_argument(
        "--overwrite",
        action="store_true",
        help="replace crops that were made with other options, and remove those of photos that are gone",
    )
    machine = parser.add_argument_group("machine")
    add_workers(machine, "processes; the result does not depend on it")
    add_cluster(machine)


def run(args):
    from ..detect.align import align
    from ..detect.settings import AlignSettings
    from ..errors import InsightError

    if args.landmarks and args.detector:
        raise InsightError(f"--detector {args.detector}: is not used with --landmarks; give one of the two")
    settings = AlignSettings(
        detector=args.detector or "mtcnn",
        landmarks=args.landmarks,
        model=args.model,
        image_size=args.image_size,
        flat=args.flat,
        multi=args.multi or ("all" if args.flat else "largest"),
        encoding=args.encoding,
        min_eyes=args.min_eyes,
        min_sharpness=args.min_sharpness,
        max_outside=args.max_outside,
        min_score=args.min_score,
    )
    print("\n".join(align(args.raw, args.out, settings, workers_of(args), args.overwrite)))
