"""--meta holds the lists of InsightFace's evaluation: ijbc_face_tid_mid.txt, ijbc_name_5pts_score.txt and
ijbc_template_pair_label.txt; for 1:N ijbc_1N_gallery_G1.csv, ijbc_1N_gallery_G2.csv and ijbc_1N_probe_mixed.csv (IJB-B:
S1, S2). --images holds the photos that they name (loose_crop). Faces are aligned by their five points and embedded with
their mirror images. A template is the mean over each medium, then the sum over media.

1:1 is that of ijb_11.py: TAR at the point of the ROC whose FAR is nearest to the requested one. 1:N is printed by both
published definitions: `galleries joined` is ijb_1n.py's, each gallery and both are ijb_evals.py's.

The embeddings are kept in --embeddings. A run that was killed resumes when the same command is given again; later runs
read the file and take seconds, with other switches too.
"""

from ._model import add_engine, print_notes

HELP = "IJB-B and IJB-C: TAR at FAR of templates, 1:N rank and TPIR, by InsightFace's lists"
EXAMPLES = (
    (
        "both protocols, with InsightFace's weights of images",
        "insight ijb --meta IJBC/meta --images IJBC/loose_crop --model models/y1s,0 --target IJBC --json ijbc.json",
    ),
    (
        "other switches, by the embeddings that the first run kept",
        "insight ijb --meta IJBC/meta --target IJBC --embeddings IJBC-models-y1s-0.npz --no-detector-score "
        "--protocol 1:1",
    ),
)


def add_arguments(parser):
    test = parser.add_argument_group("set")
    test.add_argument("--meta", required=True, metavar="DIR", help="folder of the lists")
    test.add_argument("--target", required=True, choices=["IJBB", "IJBC"], help="which of the two sets it is")
    test.add_argument("--images", metavar="DIR", help="folder of the photos; needed with --model")
    model = parser.add_argument_group("model")
    model.add_argument("--model", help="what `embed` takes; not needed if --embeddings exists")
    model.add_argument(
        "--embeddings",
        metavar="F.npz",
        help="file that keeps the embeddings; else the target and the model's name, in the working directory",
    )
    add_engine(model)
    figures = parser.add_argument_group("figures")
    figures.add_argument("--protocol", choices=["1:1", "1:N", "both"], default="both", help="which figures, and lists")
    figures.add_argument(
        "--flip",
        choices=["sum", "none"],
        default="sum",
        help="sum: add the embedding of the mirror image; none: only the image's own, in half the time",
    )
    figures.add_argument(
        "--no-detector-score", action="store_true", help="do not weight images by the score of the detector"
    )
    figures.add_argument(
        "--no-feature-norm",
        action="store_true",
        help="normalise each embedding first, so that its length is not a weight of the image",
    )
    figures.add_argument("--json", metavar="F", help="also write the figures to this file, which `report` takes")


def run(args):
    import os

    from ..errors import InsightError
    from ..faces import embed
    from ..faces.kept import kept_name
    from ..files import atomic
    from ..identify import ijb_figures, protocol
    from ..identify.ijb_set import read_set

    if not args.model and not args.embeddings:
        raise InsightError("--model: missing; give it with --images, or --embeddings of an earlier run")
    if bool(args.model) != bool(args.images):
        missing, given = ("--images", "--model") if args.model else ("--model", "--images")
        raise InsightError(f"{missing}: missing; {given} needs it")
    path = args.embeddings or f"{kept_name(args.target, args.model)}.npz"
    if args.json:
        atomic.check_output(args.json, "--json", [path])
    ijb_set = read_set(args.meta, args.target, args.protocol)
    if args.model:
        _embed(args, ijb_set, path)
    elif not os.path.isfile(path):
        raise InsightError(f"--embeddings {path}: no such file; give --model and --images to write it")
    weights = ijb_figures.Weights(args.flip == "sum", not args.no_detector_score, not args.no_feature_norm)
    result = ijb_figures.evaluate(ijb_set, embed.load(path, mirrored=weights.flip), weights, path)
    if args.json:
        protocol.write_json(args.json, result)
    print("\n".join(result.lines()))


def _embed(args, ijb_set, path):
    from ..engines import load, model_files
    from ..faces.alignment import template
    from ..faces.kept import embed_once
    from ..faces.listed import PhotoSource
    from ..files import atomic

    files = model_files(args.model)
    atomic.check_output(path, "--embeddings", files)
    source = PhotoSource(args.images, ijb_set.names, ijb_set.points)
    options = {"batch_size": args.batch_size, "engine": args.engine, "device": args.device, "dtype": args.dtype}
    engine = load(args.model, image_size=args.image_size, **options)
    template(engine.image_size)
    print_notes(args.model, engine.notes)
    new = embed_once(path, engine, source, "both" if args.flip == "sum" else "none", files, "--embeddings")
    print(f"{path}: {len(source)} images; {'' if new else 'embedded earlier by '}{args.model} in {engine.describe()}")
