"""SET is a folder, .rec file or prefix. The .rec is read front to back, and neither the .idx, the property, the
header and identity records nor the labels are trusted. SET itself is never changed but for files that are written
beside it.

  insight dataset-repair work/set                      write .idx and property where they are missing
  insight dataset-repair work/set --overwrite          and replace them where they are wrong
  insight dataset-repair work/set --output work/good   write a sound set into another folder

Without --output the .rec stays as it is, however large: the new .idx has the records' own numbers as keys, where
they differ, the property the size of the images. Where records are damaged the .idx names the others, and what
remains is printed (exit status 1).

With --output the set in DIR passes dataset-check without an error. If the records are sound, DIR/train.rec is a hard
link to the .rec (a copy on another disk). Otherwise usable images are copied, byte for byte, in the order of their
keys, with new header and identity records. Left out, and listed with offset, key, label and reason in
DIR/repair.csv: damaged records, a cut end, empty and foreign payloads, cut images, images of another size than most
(or --image-size), labels below 0 or not whole. Labels 0, 1, 2, .. without a gap stay; others are numbered anew, and
DIR/labels.csv has old and new. A set on a disk that is read-only: link its .rec into a folder of your own and repair
that.

Exit status: 0 done, 1 faults of the .rec remain, 2 no set, or nothing of it can be used.
"""

from ._images import add_workers
from ._types import image_size

HELP = "make .idx and property anew, or a sound set from a damaged one"


def add_arguments(parser):
    parser.add_argument("set", metavar="SET", help="folder, .rec file or prefix of a set")
    parser.add_argument("--output", metavar="DIR", help="folder of a new set; else .idx and property beside the .rec")
    parser.add_argument(
        "--image-size", type=image_size, metavar="H,W", help="height,width of the images to keep; else the commonest"
    )
    parser.add_argument("--keep-labels", action="store_true", help="do not number labels anew, whatever gaps they have")
    parser.add_argument("--group", action="store_true", help="put the images of each label together, by label")
    parser.add_argument(
        "--deep", action="store_true", help="decode every image, and leave out those that are cut or do not decode"
    )
    add_workers(parser, "threads; the set does not depend on it")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; write nothing")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist: a wrong .idx, an output")


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
