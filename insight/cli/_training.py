"""Shared by the commands that train: --estimate, and a run from its options."""


def add_estimate(parser):
    """The option that only estimates."""
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="take a few steps and print the estimated duration of the run; write nothing",
    )


def start(options, estimated: bool) -> None:
    """Train, or estimate how long that would take."""
    if estimated:
        from ..train.estimate import estimate

        estimate(options)
        return
    from ..train.loop import train

    result = train(options)
    if result.rank == 0:
        print(f"{result.steps} steps done")
