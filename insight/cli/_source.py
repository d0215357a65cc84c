"""Open the faces named on the command line."""


def open_faces(path):
    """The image source at a path. Files of its folder that are skipped are listed on stderr."""
    import sys

    from ..errors import printable
    from ..faces.sources import image_source

    source = image_source(path)
    for note in source.notes:
        print(f"{printable(path)}: {note}", file=sys.stderr)
    return source
