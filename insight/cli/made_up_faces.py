"""Writes a folder per person with aligned 112x112 faces into OUT, ready for dir2lst and face2rec.

None of the people exists. Pictures of one person differ in pose, light, expression, sharpness and background.
A picture depends only on the seed, the person's number and its own number: more people or pictures
do not change the others. faces.csv has the box and the five points of every face of a photograph,
including bystanders, who belong to no folder.
"""

from ._types import positive

HELP = "draw a licence-free set of faces to try everything with"
EXAMPLES = (
    ("64 people, 20 pictures of each", "insight made-up-faces faces"),
    ("raw photographs of ten of them, with faces.csv", "insight made-up-faces photos --photos --identities 10"),
)
PHOTOS = 5  # per person without --images; a photograph takes ten times as long as a crop
CROPS = 20


def add_arguments(parser):
    faces = parser.add_argument_group("faces")
    faces.add_argument("output", metavar="OUT", help="folder to make; must not exist or be empty")
    faces.add_argument("--identities", type=positive, default=64, metavar="N", help="people")
    faces.add_argument(
        "--images", type=positive, metavar="N", help=f"images per person ({CROPS}; {PHOTOS} with --photos)"
    )
    faces.add_argument("--seed", type=int, default=0, help="another seed draws other people")
    faces.add_argument("--photos", action="store_true", help="photographs with one to three faces, not aligned crops")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--num-workers", type=positive, metavar="N", help="processes (all physical cores)")


def run(args):
    from insight.made_up.writer import write_aligned, write_photos

    write, images = (write_photos, PHOTOS) if args.photos else (write_aligned, CROPS)
    written = write(args.output, args.identities, args.images or images, args.seed, workers=args.num_workers)
    print("\n".join(written.lines()))
