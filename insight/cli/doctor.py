"""Versions, shared libraries, GPUs, and a trial: each device computes and takes real training steps
in a separate process, with a time limit. Each problem is printed with its remedy.

Exit status: 0 when training can run on at least one device, else 1.
"""

HELP = "report what this machine can run, and what to do about the rest"
EXAMPLES = (
    ("every device, at most five minutes each", "insight doctor"),
    ("for a bug report, or a slow first use of a GPU", "insight doctor --json --timeout 1200"),
)

MARKS = {"ok": "ok", "warn": "WARN", "fail": "FAIL"}
COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def add_arguments(parser):
    report = parser.add_argument_group("report")
    report.add_argument("--json", action="store_true", help="print the report as JSON")
    report.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="time limit in seconds for trying one device"
    )


def run(args):
    import json
    import sys

    from ..doctor import examine
    from ..errors import InsightError

    if not args.timeout > 0:
        raise InsightError(f"--timeout {args.timeout}: must be above 0, in seconds")
    log = (lambda text: print(text, file=sys.stderr)) if sys.stderr.isatty() else (lambda text: None)
    report = examine(args.timeout, log)
    if args.json:
        print(json.dumps(report.as_dict(), indent=2))
    elif not (sys.stdout.isatty() and _print_table(report)):
        print("\n".join(_lines(report)))
    return 0 if report.trains_on else 1


def _verdict(report):
    return f"Training runs on: {', '.join(report.trains_on)}" if report.trains_on else "Training cannot run here."


def _lines(report):
    """Plain text: aligned columns, the remedy on a separate line."""
    width = max((len(check.name) for check in report.checks), default=0)
    for check in report.checks:
        yield f"{MARKS[check.status]:<4}  {check.section:<9}  {check.name:<{width}}  {check.found}"
        if check.remedy:
            yield f"{'':<15}  {'':<{width}}  -> {check.remedy}"
    yield _verdict(report)


def _print_table(report):
    """Print a table on a terminal; False if rich is not installed."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "", "", "found"):
        table.add_column(title, no_wrap=not title)
    section = None
    for check in report.checks:
        details = Text(check.found)
        if check.remedy:
            details.append(f"\n→ {check.remedy}", style="bold")
        mark = Text(MARKS[check.status], style=COLOURS[check.status])
        table.add_row(mark, Text(check.section if check.section != section else "", style="dim"), check.name, details)
        section = check.section
    console = Console()
    console.print(table)
    console.print(Text(_verdict(report), style="bold green" if report.trains_on else "bold red"))
    return True
