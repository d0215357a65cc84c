"""A checkpoint is measured in plain MXNet (its symbol unchanged), in MXNet as our engine rewrites it, and converted to
the plain and the fast graph in each other installed runtime; a model file in every runtime that reads it. Each runtime
is measured in every data type that it computes in. All run on the CPU, each measurement in a separate process, in
interleaved rounds.

median and p99 are milliseconds per call with that number of images. Plain MXNet computes them as one batch; our
engines split them into batches as for `embed`. ratio is the speed by the median relative to the first plain MXNet row,
or to the first row if there is none; cosine is to that row's embeddings, over 32 faces from --input, or made-up faces
without it.
"""

from ._model import add_image_size
from ._types import numbers

WIDTH = 200  # a narrow terminal wraps the lines, which is better than truncated figures
HELP = "speed of a model in each runtime, and its agreement with plain MXNet"
EXAMPLES = (
    ("a checkpoint in every runtime that is installed", "insight benchmark --model models/y1,40"),
    (
        "beside its 8-bit file, on real faces, with one thread; all figures as CSV",
        "insight benchmark --model models/y1,40 y1-int8.onnx --threads 1 --batch 1,8,64 --input lfw.bin --csv y1.csv",
    ),
)


def add_arguments(parser):
    model = parser.add_argument_group("models and runtimes")
    model.add_argument(
        "--model", required=True, nargs="+", metavar="M", help="prefix,epoch of a checkpoint, or files that embed takes"
    )
    model.add_argument(
        "--engine", metavar="A,B", help="runtimes to measure: mxnet, onnxruntime, openvino, ...; else all"
    )
    add_image_size(model)
    measured = parser.add_argument_group("measurement")
    measured.add_argument("--threads", type=numbers, metavar="1,2", help="threads; else 1 and the physical cores")
    measured.add_argument("--batch", type=numbers, default="1,64", metavar="1,64", help="images per call")
    measured.add_argument(
        "--input", metavar="PATH", help="faces: identity folders, a .rec or a .bin; else made-up ones"
    )
    measured.add_argument("--rounds", type=int, default=3, help="how often each row is measured")
    measured.add_argument(
        "--seconds", type=float, default=0.5, help="per row, threads, batch and round; at least 3 calls"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--csv", metavar="F", help="write all figures to this file too")
    output.add_argument("--overwrite", action="store_true", help="replace the --csv file if it exists")


def run(args):
    from pathlib import Path

    from ..errors import InsightError
    from ..speed.compare import benchmark
    from ..speed.table import write_csv
    from ._source import open_faces

    if args.csv and Path(args.csv).exists() and not args.overwrite:
        raise InsightError(f"--csv {args.csv}: already exists; give another path, or --overwrite")
    if args.input:
        open_faces(args.input)  # lists the skipped files of a folder once, not for each measurement
    runtimes = args.engine.split(",") if args.engine else None
    measured = (args.rounds, args.seconds, args.image_size)
    report = benchmark(args.model, args.threads, args.batch, args.input, runtimes, *measured)
    _print(report)
    if args.csv:
        write_csv(args.csv, report)
    if report.interrupted:
        raise KeyboardInterrupt


def _print(report):
    from rich.console import Console
    from rich.table import Table

    lines = report.lines
    notes = list(dict.fromkeys(line.note for line in lines if line.note))
    names = _names([line.model for line in lines])
    table = Table(box=None, pad_edge=False)
    columns = ["threads", "batch", *(["model"] if len(names) > 1 else []), "runtime"]
    for column in (*columns, "median ms", "p99 ms", "images/s", "ratio", "cosine mean", "lowest"):
        table.add_column(column, justify="left" if column in ("model", "runtime") else "right", no_wrap=True)
    for before, line in zip([lines[0], *lines], lines):
        if (before.threads, before.batch) != (line.threads, line.batch):
            table.add_row()
        model = [names[line.model]] if len(names) > 1 else []
        figures = [f"not measured ({notes.index(line.note) + 1})"] if line.note else _figures(line)
        table.add_row(str(line.threads), str(line.batch), *model, line.title, *figures)
    for note in report.notes:
        print(f"note: {note}")
    print(report.machine)
    print(f"{', '.join(names.values())}; {report.faces}; {max(line.rounds for line in lines)} rounds")
    Console(width=WIDTH, markup=False).print(table)
    print(f"ratio and cosine: to {report.reference}")
    for i, note in enumerate(notes, 1):
        print(f"({i}) {note}")


def _figures(line):
    def cell(value, form):
        return "-" if value is None else format(value, form)

    forms = {"median_ms": ".2f", "p99_ms": ".2f", "images_per_second": ".1f", "ratio": ".2f"}
    forms.update(cosine_mean=".7f", cosine_lowest=".7f")
    return [cell(getattr(line, name), form) for name, form in forms.items()]


def _names(models):
    """{model: its name in the table}: without the folder if the names stay distinct."""
    from os.path import basename

    distinct = list(dict.fromkeys(models))
    short = [basename(model) for model in distinct]
    return dict(zip(distinct, short if len(set(short)) == len(short) else distinct))
