"""How large a photo is decoded for its faces."""

import marked_photos as marked
import numpy as np
import pytest

from insight.detect.candidates import Candidates, _measure
from insight.detect.face import Face
from insight.detect.photo import Photo
from insight.detect.settings import AlignSettings
from insight.faces.alignment import template

CROP = template((112, 112)).astype(np.float64)


def face(scale, left, top):
    """A face ``scale`` times as large as its crop."""
    box = np.array([left, top, left + 112 * scale, top + 112 * scale])
    return Face(box, CROP * scale + [left, top], 0.9)


@pytest.mark.parametrize(("multi", "expected"), [("largest", [4]), ("all", [4, 1])])
def test_a_face_that_is_not_taken_costs_no_larger_decoding(monkeypatch, multi, expected):
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), np.uint8)
    photo = Photo(marked.encoded(noise, "JPEG"))
    decodings, decoded = [], Photo._decoded

    def note(self, denominator):
        decodings.append(denominator)
        return decoded(self, denominator)

    monkeypatch.setattr(Photo, "_decoded", note)
    candidates = Candidates()
    _measure(photo, [face(1.2, 1300, 20), face(5, 200, 300)], candidates, AlignSettings(multi=multi))
    assert decodings == expected
    large, small = candidates.faces
    assert large is candidates.main and large.crop
    assert bool(small.crop) == (multi == "all") and small.measures.sharpness > 0
