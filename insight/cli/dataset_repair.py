"""SET is a folder, .rec file or prefix. The .rec is read from front to back; the .idx, the property, the header and
identity records and the labels are not trusted. SET itself is not changed, except for the .idx and property beside the
.rec.

Without --output the .rec is not changed: the new .idx has the records' own ids as keys if they are distinct, the
property the size of the images. If records are damaged, the .idx lists the others, and the remaining faults are
printed (exit status 1).

With --output the set in DIR passes dataset-check without an error. If the records are sound, DIR/train.rec is a hard
link to the .rec (a copy on another disk). Otherwise usable images are copied, byte for byte, in the order of their
keys, with new header and identity records. Skipped, and listed with offset, key, label and reason in
DIR/repair.csv: damaged records, a truncated end, empty and foreign payloads, truncated images, images of another size
than most (or than --image-size), labels below 0 or not whole. Labels 0, 1, 2, .. without a gap stay; others are
renumbered, and DIR/labels.csv lists old and new. For a set on a read-only disk, link its .rec into a folder of your
own and repair that.

Exit status: 0 done, 1 faults of the .rec remain, 2 SET is not a set, or nothing in it can be used.
"""

from ._images import add_workers
from ._types import image_size

HELP = "rebuild .idx and property, or a sound set from a damaged one"
EXAMPLES = (
    ("write .idx and property if they are missing", "insight dataset-repair work/set"),
    ("and replace them if they are wrong", "insight dataset-repair work/set --overwrite"),
    ("write a sound set into another folder", "insight dataset-repair work/set --output work/good"),
)


def add_arguments(parser):
    images = parser.add_argument_group("set and its images")
    images.add_argument("set", metavar="SET", help="folder, .rec file or prefix of a set")
    images.add_argument(
        "--image-size", type=image_size, metavar="H,W", help="height,width of the images to keep; else the commonest"
    )
    images.add_argument(
        "--deep", action="store_true", help="decode every image, and skip those that are truncated or undecodable"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output", metavar="DIR", help="folder of a new set; else .idx and property beside the .rec")
    output.add_argument("--keep-labels", action="store_true", help="do not renumber labels that have gaps")
    output.add_argument("--group", action="store_true", help="put the images of each label together, by label")
    output.add_argument("--dry-run", action="store_true", help="report what would be done; write nothing")
    output.add_argument("--overwrite", action="store_true", help="replace existing files: a wrong .idx, an output")
    add_workers(parser.add_argument_group("machine"), "threads; the set does not depend on it")


def run(args):
    from ..repair.repair import repair

    report = repair(
        args.set,
        args.output,
        size=args.image_size,
        keep_labels=args.keep_labels,
        group=args.group,
        deep=args.deep,
        workers=args.num_workers,
        dry_run=args.dry_run,
        overwrite=args.overwrite,
    )
    print("\n".join(report.lines()))
    return 0 if report.ok else 1
