"""Each probe is searched in the gallery. Closed set: the share of probes whose own identity is among the first 1 or 5
results. Open set: the first result must also exceed a threshold. FPIR is the share of the probes whose identity is not
in the gallery that exceed it; TPIR is the share of the other probes whose own identity is first and exceeds it.

Gallery and probes are two folder trees with a folder per identity, two .rec sets with common labels, or two files that
`embed` wrote. Identities are matched by folder name, or by label if there are no folders. The search is exact and runs
in blocks: it needs about 200 MB in addition to the embeddings, whatever the size of the gallery.
"""

from ._model import add_device, add_image_size, print_notes

HELP = "1:N search: rank-1/5, and TPIR at FPIR"
EXAMPLES = (
    (
        "folders of aligned faces, a folder per person in both",
        "insight identification --model y1.onnx --gallery enrolled --probes seen",
    ),
    (
        "embeddings that are stored, at two rates of false alarms",
        "insight identification --gallery gallery.npz --probes probes.npz --fpir 0.01,0.001",
    ),
)


def add_arguments(parser):
    faces = parser.add_argument_group("faces")
    faces.add_argument("--gallery", required=True, help="known identities: folder, .rec, or .npz that `embed` wrote")
    faces.add_argument("--probes", required=True, help="faces to search for: likewise")
    model = parser.add_argument_group("model")
    model.add_argument("--model", help="what `embed` takes; not needed if both are .npz")
    model.add_argument(
        "--flip",
        choices=["sum", "none"],
        help="sum: add the embedding of the mirror image; else as recorded in the other input, if an .npz, or sum",
    )
    model.add_argument("--engine", default="auto", help="runtime of the model, as in `embed`")
    add_device(model)
    model.add_argument("--batch-size", type=int, help="images at a time; else as in `embed`")
    add_image_size(model)
    figures = parser.add_argument_group("figures")
    figures.add_argument("--ranks", default="1,5", help="ranks of the closed set")
    figures.add_argument("--fpir", default="0.1,0.01,0.001", help="false positive identification rates of the open set")
    figures.add_argument("--json", default="", help="write the figures to this file too")


def run(args):
    from ..files import atomic
    from ..identify import identification

    ranks = _numbers("--ranks", args.ranks, int)
    fpirs = _numbers("--fpir", args.fpir, float)
    identification.check_options(ranks, fpirs)  # before hours of embedding
    if args.json:
        atomic.check_output(args.json, "--json", [args.gallery, args.probes])
    gallery, probes = _embeddings(args)
    ids = identification.match_identities(gallery, probes)
    result = identification.identify(
        gallery.embeddings, ids[0], probes.embeddings, ids[1], ranks, fpirs, what="searching"
    )
    print(identification.report(result, args.json))


def _numbers(option, text, kind):
    from ..errors import InsightError

    try:
        return [kind(field) for field in text.rstrip(", ").split(",")]
    except ValueError:
        raise InsightError(f"{option} {text}: want comma-separated numbers") from None


def _embeddings(args):
    import os

    from ..errors import InsightError
    from ..faces import embed
    from ..faces.sources import UNKNOWN
    from ..identify import identification
    from ._source import open_faces

    paths = (args.gallery, args.probes)
    if os.path.realpath(paths[0]) == os.path.realpath(paths[1]):
        raise InsightError(
            f"--probes {paths[1]}: is the gallery itself, so each face would match itself; give other images"
        )
    images = {path: open_faces(path) for path in paths if os.path.isdir(path) or not path.lower().endswith(".npz")}
    for option, path in zip(("--gallery", "--probes"), paths):
        if path in images and (images[path].labels == UNKNOWN).all():  # reported before hours of embedding
            raise InsightError(
                f"{option} {path}: has no identities, like any verification .bin; "
                "give a folder per identity, a .rec with labels, or an .npz of either"
            )
        if path in images:
            images[path].check()
    engine = None
    if args.image_size and not images:
        raise InsightError("--image-size: applies to images only, and both inputs are embeddings; leave it out")
    if images:
        from ..engines import load

        if not args.model:
            raise InsightError(f"--model: missing; the images of {next(iter(images))} must be embedded")
        options = {"batch_size": args.batch_size, "engine": args.engine, "device": args.device}
        engine = load(args.model, image_size=args.image_size, **options)
        print_notes(args.model, engine.notes)
    embeddings = {path: embed.load(path) for path in paths if path not in images}
    flip = args.flip or _flip_of(embeddings.values())
    for path, source in images.items():
        embeddings[path] = _embedded(args.model, engine, source, flip)
    for note in identification.differences(*((path, embeddings[path].about) for path in paths)):
        print(f"note: {note}")
    return [embeddings[path] for path in paths]


def _flip_of(files):
    """The flip mode recorded in an .npz input, or the default."""
    return next((file.about["flip"] for file in files if file.about and file.about.get("flip")), "sum")


def _embedded(model, engine, source, flip):
    from ..engines import model_files
    from ..faces import embed, parts

    embeddings = embed.embed(engine, source, engine.image_size, flip, engine.batch_size)
    return embeddings._replace(about=parts.about(engine, flip, model_files(model)))
