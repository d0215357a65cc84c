"""A small sound set in the layout of face2rec or im2rec, into which tests plant faults."""

from __future__ import annotations

from made_faces import encode, face

from insight.formats.property import Property, write_property
from insight.formats.recordio import RecordWriter

PEOPLE, EACH = 4, 3
IMAGES = PEOPLE * EACH
CLEAN = [encode(face(i)) for i in range(IMAGES)]


class Rec:
    """A set under construction: lists of [key, payload, label, id] in the order of face2rec."""

    def __init__(self, folder, layout="indexed"):
        self.folder, self.declared = folder, Property(PEOPLE, 112, 112)
        if layout == "plain":
            self.rows = [[i, data, i // EACH, i] for i, data in enumerate(CLEAN)]
            return
        self.rows = [[i + 1, data, (i // EACH, 1), i + 1] for i, data in enumerate(CLEAN)]
        first = IMAGES + 1
        self.rows.append([0, b"", (first, first + PEOPLE), 0])
        for i in range(PEOPLE):
            self.rows.append([first + i, b"", (1 + i * EACH, 1 + (i + 1) * EACH), first + i])

    def write(self):
        with RecordWriter(str(self.folder / "train.rec")) as out:
            for row in self.rows:
                out.write(*row)
        if self.declared is not None:
            write_property(self.folder, self.declared)

    @property
    def rec(self):
        return self.folder / "train.rec"

    @property
    def idx(self):
        return self.folder / "train.idx"

    def edit_idx(self, change):
        lines = [line.split("\t") for line in self.idx.read_text().splitlines()]
        change(lines)
        self.idx.write_text("".join(f"{key}\t{offset}\n" for key, offset in lines))

    def offset(self, key):
        return dict(line.split("\t") for line in self.idx.read_text().splitlines())[str(key)]
