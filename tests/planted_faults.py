"""Faults of record sets: each changes a :class:`planted_set.Rec`, and may return what changes its files afterwards."""

import struct

from planted_set import IMAGES, PEOPLE

from insight.formats.property import Property


def a_length_over_the_next_record(made):
    def lengthen(made):
        data = bytearray(made.rec.read_bytes())
        struct.pack_into("<I", data, int(made.offset(5)) + 4, int(made.offset(7)) - int(made.offset(5)) - 20)
        made.rec.write_bytes(data)

    return lengthen


def a_cut_rec(made):
    return lambda made: made.rec.write_bytes(made.rec.read_bytes()[: int(made.offset(8)) + 100])


def a_rec_cut_between_records(made):
    return lambda made: made.rec.write_bytes(made.rec.read_bytes()[: int(made.offset(15))])


def no_idx(made):
    return lambda made: made.idx.unlink()


def a_key_twice(made):
    return lambda made: made.edit_idx(lambda lines: lines[4].__setitem__(0, "4"))


def an_idx_of_another_set(made):
    def shift(lines):
        for line in lines[1:]:
            line[1] = str(int(line[1]) - 4)

    return lambda made: made.edit_idx(shift)


def an_offset_inside_a_record(made):
    return lambda made: made.edit_idx(lambda lines: lines[2].__setitem__(1, str(int(lines[2][1]) + 8)))


def two_keys_on_one_record(made):
    return lambda made: made.edit_idx(lambda lines: lines[5].__setitem__(1, lines[4][1]))


def swapped_offsets(made):
    def swap(lines):
        lines[0][1], lines[1][1] = lines[1][1], lines[0][1]

    return lambda made: made.edit_idx(swap)


def no_header(made):
    made.rows.pop(IMAGES)


def a_header_backwards(made):
    made.rows[IMAGES][2] = (17, 13)


def an_identity_lost(made):
    made.rows.pop()


def a_range_too_long(made):
    made.rows[IMAGES + 2][2] = (4, 8)


def an_image_lost(made):
    made.rows.pop(4)


def no_property(made):
    made.declared = None


def a_bad_property(made):
    return lambda made: (made.folder / "property").write_text("many,112,112")


def a_wrong_size_in_property(made):
    made.declared = Property(PEOPLE, 112, 96)


def too_few_classes(made):
    made.declared = Property(PEOPLE - 1, 112, 112)


def half_a_label(made):
    made.rows[4][2] = 1.5


def labels_below_zero(made):
    for row in made.rows:
        row[2] -= 1
    made.declared = Property(PEOPLE - 1, 112, 112)
