"""FaceScrub's images (probes) are searched among 10 to 1,000,000 of MegaFace's (distractors): each image of a person
finds each other one of the person, as the only mate, or a distractor that is more similar. Images are aligned faces.

Features come from --model, or from --feature-dir-input, the matrix files of MegaFace's development kit
(facescrub/Adam_Sandler/Adam_Sandler_1.png_insightface.bin). --output writes such files as gen_megaface.py does;
--feature-dir-out as remove_noises.py does, with the noise lists applied: a noisy probe becomes the direction of the
person's other images, a noisy distractor is moved far away. The figures printed are without noise where the lists are
given.

Embeddings are kept in the folder --embeddings. A run that was killed resumes when the same command is given again.
"""

from ._model import add_engine, print_notes
from ._types import numbers

HELP = "MegaFace: rank-1 among 10 to 1M distractors, TAR at FAR; features for its development kit"
EXAMPLES = (
    (
        "from aligned faces, without noise",
        "insight megaface --model models/y1s,0 --facescrub-root facescrub_images --megaface-root megaface_images "
        "--facescrub-noises facescrub_noises.txt --megaface-noises megaface_noises.txt --json megaface.json",
    ),
    (
        "from the matrix files of another program",
        "insight megaface --feature-dir-input feature_out --algo insightface --sizes 1000,1000000",
    ),
)


def add_arguments(parser):
    images = parser.add_argument_group("images and features")
    images.add_argument("--facescrub-root", metavar="DIR", help="folder of the probes; needed with --model")
    images.add_argument("--megaface-root", metavar="DIR", help="folder of the distractors; needed with --model")
    images.add_argument(
        "--facescrub-lst",
        metavar="F",
        help="list of the probes: paths, or the kit's facescrub_features_list.json; else all in the folder",
    )
    images.add_argument("--megaface-lst", metavar="F", help="list of the distractors, likewise")
    images.add_argument("--facescrub-noises", metavar="F", help="list of noisy probes")
    images.add_argument("--megaface-noises", metavar="F", help="list of noisy distractors")
    images.add_argument("--feature-dir-input", metavar="DIR", help="read features from its facescrub and megaface")
    images.add_argument("--algo", default="insightface", help="name in the names of matrix files")
    model = parser.add_argument_group("model")
    model.add_argument("--model", help="what `embed` takes; several, separated by |, are concatenated")
    model.add_argument(
        "--flip", choices=["sum", "none"], default="sum", help="sum: add the embedding of the mirror image"
    )
    add_engine(model)
    figures = parser.add_argument_group("figures")
    figures.add_argument(
        "--sizes", type=numbers, default="10,100,1000,10000,100000,1000000", help="numbers of distractors"
    )
    figures.add_argument(
        "--distractor-lists",
        default="",
        metavar="DIR",
        help="the kit's templatelists, with megaface_features_list.json_SIZE_SET; else distractors are drawn at random",
    )
    figures.add_argument("--set", type=int, default=1, help="SET, with --distractor-lists")
    figures.add_argument("--seed", type=int, default=0, help="of the distractors drawn and of replaced probes")
    figures.add_argument("--ranks", type=numbers, default="1,10", help="ranks of the identification")
    figures.add_argument("--far", default="1e-6,1e-5", help="false accept rates of the verification")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--embeddings", default="megaface_embeddings", metavar="DIR", help="folder that keeps the embeddings"
    )
    output.add_argument("--output", metavar="DIR", help="write all features as matrix files to this new folder")
    output.add_argument("--feature-dir-out", metavar="DIR", help="write features without noise to this new folder")
    output.add_argument("--json", metavar="F", help="also write the figures to this file, which `report` takes")


def run(args):
    from ..files import atomic
    from ..identify import megaface_run, protocol

    options, ending = _checked(args)
    if args.json:
        atomic.check_output(args.json, "--json")
    probes, distractors, models = _faces(args, ending)
    if args.output:
        megaface_run.write_raw(args.output, probes, distractors, ending)
        print(f"{args.output}: {len(probes.names)} features of probes, {len(distractors.names)} of distractors")
    noisy = int(probes.noisy.sum())
    cleaned = megaface_run.clean(probes, args.seed)
    if args.feature_dir_out:
        megaface_run.write_clean(args.feature_dir_out, cleaned, distractors, ending)
        replaced = f"{noisy} probes replaced, {int(distractors.noisy.sum())} distractors moved far away"
        print(f"{args.feature_dir_out}: features without noise; {replaced}")
    result = megaface_run.result(cleaned, distractors, options, models, noisy)
    if args.json:
        protocol.write_json(args.json, result)
    print("\n".join(result.lines()))


def _checked(args):
    """The options of the galleries, and the ending of matrix files; raises before hours of embedding."""
    import os

    from ..errors import InsightError
    from ..files.text import between_commas
    from ..identify import featurefiles, megaface_run

    roots = {"--facescrub-root": args.facescrub_root, "--megaface-root": args.megaface_root}
    if bool(args.model) == bool(args.feature_dir_input):
        raise InsightError("--model or --feature-dir-input: give one of them, from which the features come")
    for option, root in roots.items():
        if bool(root) != bool(args.model):
            rule = "missing; --model needs it" if args.model else "applies with --model only; leave it out"
            raise InsightError(f"{option}: {rule}")
    if args.feature_dir_out and not (args.facescrub_noises or args.megaface_noises):
        raise InsightError("--feature-dir-out: needs --facescrub-noises or --megaface-noises; or give --output")
    for option, path in (("--output", args.output), ("--feature-dir-out", args.feature_dir_out)):
        if path and os.path.exists(path) and (not os.path.isdir(path) or os.listdir(path)):
            raise InsightError(f"{option} {path}: exists and is not an empty folder; give another output")
    try:
        fars = [float(rate) for rate in between_commas(args.far)]
    except ValueError:
        raise InsightError(f"--far {args.far}: want comma-separated rates, like 1e-6,1e-5") from None
    megaface_run.check_options(args.sizes, args.ranks, fars)
    options = (args.sizes, args.distractor_lists, args.set, args.seed, args.ranks, fars)
    return megaface_run.GalleryOptions(*options), featurefiles.ending_of(args.algo)


def _faces(args, ending):
    """Probes and distractors with their features, and the provenance of these."""
    import os

    from ..identify import facelist, featurefiles, megaface_run

    faces, sources = {}, {}
    given = {
        featurefiles.FACESCRUB: (args.facescrub_lst, args.facescrub_root),
        featurefiles.MEGAFACE: (args.megaface_lst, args.megaface_root),
    }
    for part, (path, root) in given.items():
        root = root or os.path.join(args.feature_dir_input, part)
        listed = facelist.read_list(path) if path else facelist.list_files(root, "" if args.model else ending)
        faces[part], sources[part] = listed, path or root
        featurefiles.check_names(part, listed.names)
    identities = megaface_run.identities_of(faces[featurefiles.FACESCRUB], sources[featurefiles.FACESCRUB])
    names = [faces[part].names for part in given]
    noisy = [megaface_run.noise_of(*pair) for pair in zip(names, (args.facescrub_noises, args.megaface_noises))]
    if args.model:
        features, models = _embedded(args, dict(zip(given, names)))
    else:
        read = featurefiles.read_features
        features, models = [read(args.feature_dir_input, part, faces[part].names, ending) for part in given], []
    noisy[1] |= megaface_run.marked_noise(features[1])
    probes = megaface_run.Probes(names[0], features[0], identities, noisy[0])
    distractors = megaface_run.Distractors(names[1], features[1], noisy[1])
    megaface_run.check_features(probes, distractors)
    return probes, distractors, models


def _embedded(args, names):
    """Features of each part's images, of all models, and the provenance of each model."""
    import os

    from ..engines import load, model_files
    from ..faces import embed
    from ..faces.kept import embed_once, kept_name
    from ..faces.listed import ListedSource
    from ..identify import megaface_run

    roots = dict(zip(names, (args.facescrub_root, args.megaface_root)))
    sources = {part: ListedSource(roots[part], names[part]) for part in names}
    rows, models = {part: [] for part in names}, []
    for spec in args.model.split("|"):
        options = {"batch_size": args.batch_size, "engine": args.engine, "device": args.device, "dtype": args.dtype}
        engine = load(spec, image_size=args.image_size, **options)
        print_notes(spec, engine.notes)
        for part, source in sources.items():
            path = os.path.join(args.embeddings, f"{kept_name(part, spec)}.npz")
            new = embed_once(path, engine, source, args.flip, model_files(spec), "--embeddings")
            print(f"{path}: {len(source)} images; {'' if new else 'embedded earlier by '}{spec} in {engine.describe()}")
            kept = embed.load(path)
            rows[part].append(kept.embeddings)
        models.append(dict(kept.about))
    return [megaface_run.fused(passes) for passes in rows.values()], models
