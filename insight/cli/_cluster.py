"""The options of commands whose work a Dask cluster can do."""


def add_cluster(parser):
    """``--cluster`` and ``--scheduler-file``."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="let the workers of this Dask cluster do it: tcp://host:8786, its scheduler. The result is the same. All "
        "files must be on a file system that the workers share, under the same paths",
    )
    which.add_argument("--scheduler-file", metavar="F", help="the same, by the file that the scheduler wrote")


def cluster_of(args, refusal=""):
    """The cluster that the options name, once it has answered; None without the options.

    ``refusal`` says why the cluster would have nothing to do; then the options are refused.
    """
    if args.cluster is None and args.scheduler_file is None:
        return None
    from ..errors import InsightError
    from ..executor import Cluster
    from ..executor.dask_client import check_cluster
    from ._images import is_default

    if not args.cluster and not args.scheduler_file:  # a shell variable that is not set: not a run without a cluster
        option = "--scheduler-file" if args.cluster is None else "--cluster"
        raise InsightError(f"{option}: is empty; name the scheduler, or leave the option out")
    if not is_default(getattr(args, "num_workers", None)):
        raise InsightError("--num-workers: is for the workers of this machine; leave it out with a cluster")
    cluster = Cluster(args.cluster or "", args.scheduler_file or "")
    if refusal:
        raise InsightError(f"{cluster}: {refusal}")
    check_cluster(cluster)  # before work that does not need it
    return cluster


def workers_of(args):
    """The number of workers of this machine, or the cluster that the options name."""
    return cluster_of(args) or args.num_workers
