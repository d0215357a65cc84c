"""Opening the faces that a command was given."""


def open_faces(path):
    """The image source at a path; what of its folder was left out is listed on stderr."""
    import sys

    from ..errors import printable
    from ..faces.sources import image_source

    source = image_source(path)
    for note in source.notes:
        print(f"{printable(path)}: {note}", file=sys.stderr)
    return source
