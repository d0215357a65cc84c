"""OUT gets a folder per person with aligned 112x112 faces, ready for dir2lst and face2rec:

  insight made-up-faces faces                      64 people, 20 pictures of each
  insight made-up-faces photos --photos            raw photographs of the same people, with faces.csv

Nobody drawn exists. Pictures of one person differ in pose, light, expression, sharpness and background.
A picture depends on the seed, the person's number and its own number alone: more people or pictures
leave the others as they are. faces.csv has the box and the five points of every face of a photograph;
bystanders in it belong to no folder.
"""

from ._types import positive

HELP = "draw a licence-free set of faces to try everything with"
PHOTOS = 5  # of each person, where --images is left out; a photograph takes ten times as long as a crop
CROPS = 20


def add_arguments(parser):
    parser.add_argument("output", metavar="OUT", help="folder to make; must not exist or be empty")
    parser.add_argument("--identities", type=positive, default=64, metavar="N", help="people")
    parser.add_argument(
        "--images", type=positive, metavar="N", help=f"of each person ({CROPS}; {PHOTOS} with --photos)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other people")
    parser.add_argument("--photos", action="store_true", help="photographs with one to three faces, not aligned crops")
    parser.add_argument("--num-workers", type=positive, metavar="N", help="processes (all physical cores)")


def run(args):
    from insight.made_up.writer import write_aligned, write_photos

    write, images = (write_photos, PHOTOS) if args.photos else (write_aligned, CROPS)
    written = write(args.output, args.identities, args.images or images, args.seed, workers=args.num_workers)
    print("\n".join(written.lines()))
