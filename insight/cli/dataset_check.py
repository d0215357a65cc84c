"""SET is a folder, .rec file or prefix; it may be damaged. It is not modified.

Checks: header, .idx and identity records against the .rec; property against labels and
images; label gaps and labels out of range; empty, truncated and foreign payloads; unusual sizes
and encodings; exact duplicates. --deep also decodes every image: undecodable, damaged (with the
decoder's warning) and blank images, near duplicates, the mean face. Each finding has a code, its
rule, the first keys, and what to do.

Exit status: 0 without errors (there may be warnings and notes), 1 with errors, 2 if SET is not
a set.
"""

from ._cluster import add_cluster, workers_of
from ._images import add_workers

HELP = "find what is wrong with a record set"
EXAMPLES = (
    ("the quick checks, in the order of the files", "insight dataset-check work/set"),
    (
        "every image decoded, and compared with the test sets; the findings as a page",
        "insight dataset-check work/set --deep --exclude lfw.bin,agedb_30.bin --html check.html",
    ),
)

COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
SHOWN = 8  # keys of a finding


def add_arguments(parser):
    checks = parser.add_argument_group("what is checked")
    checks.add_argument("set", metavar="SET", help="folder, .rec file or prefix of a set")
    checks.add_argument("--deep", action="store_true", help="decode every image; find near duplicates; mean face")
    checks.add_argument(
        "--exclude",
        default="",
        metavar="X,..",
        help="comma-separated verification .bin files and sets that must share no image with this one "
        "(with --deep: nor a near duplicate)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="F.json", help="write the report for programs")
    output.add_argument("--html", metavar="F.html", help="write the report as one page, with samples of what is wrong")
    machine = parser.add_argument_group("machine")
    add_workers(machine, "threads; the report does not depend on it")
    add_cluster(machine)


def run(args):
    import sys

    from insight.check.check import check
    from insight.files.text import between_commas

    report = check(
        args.set,
        deep=args.deep,
        exclude=between_commas(args.exclude),
        workers=workers_of(args),
        json_path=args.json,
        html_path=args.html,
    )
    print("\n".join(_facts(report.summary)))
    if report.findings and not (sys.stdout.isatty() and _print_table(report)):
        print("\n".join(_lines(report)))
    print(report.closing_line())
    return 0 if report.ok else 1


def _facts(summary):
    """Summary of the set in a few lines."""
    if not summary["images"]:
        yield f"{summary['records']} records, no images"
        return
    size = "x".join(map(str, summary["image_size"])) if summary["image_size"] else "unknown size"
    per, data = summary["images_per_identity"], summary["payload_bytes"]
    yield f"{summary['images']} images of {summary['identities']} identities, {size}, {summary['layout']} layout"
    yield (
        f"  images per identity  min {per['min']}, median {per['median']:g}, max {per['max']}; "
        f"{per['single']} identities of one image"
    )
    yield f"  bytes per image      min {data['min']}, median {data['median']:g}, max {data['max']}"
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary["kinds"].items())
    yield f"  formats              {kinds}"
    if summary["mean_rgb"]:
        yield "  mean colour (RGB)    {:.1f} {:.1f} {:.1f}".format(*summary["mean_rgb"])


def _details(finding):
    """Keys of a finding, and what was found at the first one."""
    keys = [str(sample.key) for sample in finding.samples if sample.key is not None]
    first = finding.samples[0].found
    if not keys:
        return first
    more = ", .." if finding.count > min(len(keys), SHOWN) else ""
    return f"key{'' if len(keys) == 1 else 's'} {', '.join(keys[:SHOWN])}{more}; the first: {first}"


def _lines(report):
    """Plain text: aligned columns; rule, place and remedy on separate lines."""
    width = max(len(finding.code) for finding in report.findings)
    for finding in report.findings:
        yield f"{finding.severity:<7}  {finding.code:<{width}}  {finding.count}"
        yield f"{'':<9}rule: {finding.rule.rule}"
        yield f"{'':<9}{_details(finding)}"
        yield f"{'':<9}-> {finding.remedy}"


def _print_table(report):
    """Print a table on a terminal; False if rich is not installed."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "code", "count", "found"):
        table.add_column(title, no_wrap=title != "found", justify="right" if title == "count" else "left")
    for finding in report.findings:
        details = Text(_details(finding))
        details.append(f"\nrule: {finding.rule.rule}", style="dim")
        details.append(f"\n→ {finding.remedy}", style="bold")
        mark = Text(finding.severity, style=COLOURS[finding.severity])
        table.add_row(mark, finding.code, str(finding.count), details)
    Console().print(table)
    return True
