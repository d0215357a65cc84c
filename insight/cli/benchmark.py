"""A checkpoint runs in plain MXNet (its symbol as it is), in MXNet as our engine rewrites it, and converted in each
other runtime that is installed, as the plain and the fast graph; a file in every runtime that takes it. In each type
that the runtime computes in. All on the CPU, each measurement in a process of its own, rounds interleaved.

  insight benchmark --model models/y1,40
  insight benchmark --model models/y1,40 y1-int8.onnx --threads 1 --batch 1,8,64 --input lfw.bin --csv y1.csv

median and p99 are of a call with so many images, in milliseconds. Plain MXNet takes them at once; the others are our
engines, which cut them into batches as they do for `embed`. ratio says how many times as fast as the first plain MXNet
row (else the first row) a row is, by the median; cosine is to that row's embeddings, over 32 faces: of --input, else
made up.
"""

from ._model import add_image_size
from ._types import numbers

WIDTH = 200  # a narrow terminal breaks the lines, which is better than figures cut short
HELP = "how fast a model is in each runtime, and how near to plain MXNet"


def add_arguments(parser):
    parser.add_argument(
        "--model", required=True, nargs="+", metavar="M", help="prefix,epoch of a checkpoint, or files that embed takes"
    )
    parser.add_argument("--threads", type=numbers, metavar="1,2", help="threads; else 1 and the physical cores")
    parser.add_argument("--batch", type=numbers, default="1,64", metavar="1,64", help="images per call")
    parser.add_argument("--input", metavar="PATH", help="faces: identity folders, a .rec or a .bin; else made-up ones")
    add_image_size(parser)
    parser.add_argument("--engine", metavar="A,B", help="only these: mxnet, onnxruntime, openvino, ...; else all")
    parser.add_argument("--rounds", type=int, default=3, help="times that each row is measured")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="per row, threads, batch and round; 3 calls at least"
    )
    parser.add_argument("--csv", metavar="F", help="write all figures to this file too")
    parser.add_argument("--overwrite", action="store_true", help="replace a --csv that is there")


def run(args):
    from pathlib import Path

    from ..errors import InsightError
    from ..speed.compare import benchmark
    from ..speed.table import write_csv
    from ._source import open_faces

    if args.csv and Path(args.csv).exists() and not args.overwrite:
        raise InsightError(f"--csv {args.csv}: is there already; give another, or --overwrite")
    if args.input:
        open_faces(args.input)  # what is left out of a folder is listed once, not by every measurement
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
    """{model: how the table calls it}: without its folder, where that tells them apart."""
    from os.path import basename

    distinct = list(dict.fromkeys(models))
    short = [basename(model) for model in distinct]
    return dict(zip(distinct, short if len(set(short)) == len(short) else distinct))
