"""Without NAME: all networks, with their default options. With NAME (y1, r50, gluoncv:mobilenet0.25): its stages, with
the output shape, parameters and work of each.

Parameters are the learned numbers. MFLOPs are millions of multiply-adds of convolutions and fully connected layers
for one 112x112 image. MB (10^6 bytes) is the float32 size of all arrays, including running statistics.
"""

HELP = "list networks and their sizes, in total and by stage"
EXAMPLES = (
    ("all networks", "insight networks"),
    ("the stages of one, with an option of its own", "insight networks r50 --version-se 1"),
    (
        "a backbone of gluoncv, as JSON",
        "insight networks gluoncv:mobilenet0.25 --emb-size 128 --json size.json",
    ),
)

OWN = ("name", "emb_size", "json")  # names of this command's own arguments


def add_arguments(parser):
    from insight import nets

    network = parser.add_argument_group("network")
    network.add_argument("name", nargs="?", metavar="NAME", help="the network")
    network.add_argument("--emb-size", type=int, default=0, help="embedding length; 0: the network's own")
    own = parser.add_argument_group("options of networks")
    for option in nets.options(OWN):
        option.add_to(own)
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="F.json", help="write the figures for programs")


def run(args):
    import json
    from pathlib import Path

    from insight import nets
    from insight.errors import InsightError
    from insight.files import atomic
    from insight.nets import summary
    from insight.options import given

    options = given(nets.options(OWN), vars(args))
    if args.emb_size < 0:
        raise InsightError(f"--emb-size {args.emb_size}: must be above 0, or 0 for the network's own")
    if args.name:
        summaries = [summary.summarize(args.name, args.emb_size, **options)]
        _print_stages(summaries[0])
    elif options or args.emb_size:
        raise InsightError("options apply to one network: name it, for example insight networks r50 --version-se 1")
    else:
        summaries = summary.overview()
        _print_overview(summaries)
    if args.json:
        text = json.dumps([network.as_dict() for network in summaries], indent=1) + "\n"
        with atomic.temporary_beside(Path(args.json)) as partial:
            partial.write_text(text, encoding="utf-8")


def _print_overview(summaries):
    rows = [
        (network.name, network.embedding_size, *_figures(network), f"{network.file_bytes / 1e6:.1f}")
        for network in summaries
    ]
    _print_table(("network", "E", "parameters (M)", "MFLOPs", "MB"), rows)
    print("and gluoncv:NAME, any of gluoncv's classification backbones")


def _print_stages(network):
    rows = [(stage.title, "x".join(map(str, stage.shape)), *_figures(stage)) for stage in network.stages]
    rows.append((network.name, str(network.embedding_size), *_figures(network)))
    _print_table(("stage", "output", "parameters (M)", "MFLOPs"), rows)
    print(f"{network.file_bytes / 1e6:.1f} MB in float32")


def _figures(part):
    return f"{part.parameters / 1e6:.3f}", f"{part.multiply_adds / 1e6:.1f}"


def _print_table(columns, rows):
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
