"""Parameters of a made-up person that are constant over all pictures; nothing is rendered here.

Each draw has its own random stream, keyed by (seed, what, identity, image), so a picture does not depend on which other
pictures are made.

Lengths are in units of the mean face's interocular distance (35.24 pixels in a 112 x 112 crop, about 62 mm on a
person); x points to the image's right, y down, z towards the camera, with the origin between the eyes. Colours are sRGB
in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Optional, Tuple, Type, TypeVar

import numpy as np

Part = TypeVar("Part")

_STREAMS = {"identity": 1, "texture": 2, "shot": 3, "scene": 4}  # do not renumber: the numbers are part of the key


def stream(seed: int, what: str, *index: int) -> np.random.Generator:
    """The random stream for one purpose: ``stream(0, "shot", identity, image)``."""
    return np.random.default_rng([seed, _STREAMS[what], *index])


def _span(low: float, high: float, meaning: str):
    return field(metadata={"range": (low, high), "meaning": meaning})


def _draw(part: Type[Part], rng: np.random.Generator) -> Part:
    return part(**{f.name: float(rng.uniform(*f.metadata["range"])) for f in fields(part)})  # type: ignore[arg-type]


@dataclass
class Shape:
    """The skull and the soft outline; fractions are relative to the head's radius at that position."""

    width: float = _span(0.88, 1.10, "of the head, relative to the mean")
    length: float = _span(0.93, 1.08, "of the head, relative to the mean")
    jaw: float = _span(-0.06, 0.12, "fullness at the jaw's angle")
    chin: float = _span(0.02, 0.20, "chin, forwards and down")
    chin_width: float = _span(0.22, 0.52, "half width of the chin")
    cheek: float = _span(0.0, 0.11, "cheekbones")
    hollow: float = _span(-0.05, 0.08, "hollow below the cheekbones")
    forehead: float = _span(-0.06, 0.06, "bulge of the forehead")
    ridge: float = _span(0.0, 0.05, "brow ridge")
    muzzle: float = _span(0.02, 0.10, "mouth region, forwards")
    fold: float = _span(0.0, 0.030, "depth of the folds from nose to mouth")
    ears: float = _span(0.09, 0.22, "how far the ears stand off")
    lift: float = _span(-0.02, 0.02, "one half of the face sits higher")


@dataclass
class Skin:
    """Surface of the skin."""

    melanin: float = _span(0.0, 1.0, "0 palest, 1 darkest")
    warmth: float = _span(-1.0, 1.0, "pink to olive")
    blush: float = _span(0.0, 0.35, "redness of cheeks and nose")
    blotch: float = _span(0.01, 0.05, "unevenness over centimetres")
    pores: float = _span(0.01, 0.05, "unevenness over a millimetre")
    circles: float = _span(0.0, 0.40, "darkness under the eyes")
    shine: float = _span(0.05, 0.30, "oiliness")


@dataclass
class Eyes:
    """Eyes and lids."""

    spacing: float = _span(0.435, 0.565, "from the middle to an eye's centre")
    height: float = _span(-0.05, 0.05, "centre, down")
    width: float = _span(0.42, 0.60, "corner to corner")
    opening: float = _span(0.13, 0.25, "lid to lid at rest")
    tilt: float = _span(-0.18, 0.20, "outer corner up, radians")
    peak: float = _span(-0.35, 0.35, "where the upper lid is highest, towards the outside")
    crease: float = _span(0.02, 0.14, "from the lid's edge to its fold")
    shadow: float = _span(0.0, 0.7, "darkness of the lid and its fold")
    lashes: float = _span(0.015, 0.045, "thickness of the upper line")
    bags: float = _span(0.0, 0.03, "below the eye")
    depth: float = _span(0.03, 0.11, "how deep the sockets are")
    iris: float = _span(0.085, 0.105, "radius of the iris")


@dataclass
class Brows:
    """Eyebrows."""

    height: float = _span(0.27, 0.46, "above the eye's centre")
    length: float = _span(0.52, 0.80, "inner to outer end")
    inner: float = _span(0.13, 0.30, "inner end, from the middle of the face")
    thickness: float = _span(0.045, 0.15, "at its thickest")
    arch: float = _span(0.0, 0.16, "height of the arch")
    apex: float = _span(0.35, 0.85, "where the arch is highest, along the brow")
    tilt: float = _span(-0.22, 0.22, "outer end up, radians")
    density: float = _span(0.45, 1.0, "opacity")
    taper: float = _span(0.2, 0.9, "how thin the outer end gets")


@dataclass
class Nose:
    """Nose."""

    length: float = _span(0.49, 0.67, "eye line to tip")
    width: float = _span(0.22, 0.39, "half width at the wings")
    bridge: float = _span(0.01, 0.11, "height of the bridge, of the head's radius")
    tip: float = _span(0.13, 0.25, "height of the tip, of the head's radius")
    hump: float = _span(-0.025, 0.04, "bend of the bridge")
    ridge: float = _span(0.075, 0.155, "half width of the ridge")
    ball: float = _span(0.0, 0.07, "roundness of the tip")
    nostrils: float = _span(0.35, 1.0, "darkness of the nostrils")
    skew: float = _span(-0.025, 0.025, "tip off the middle")


@dataclass
class Mouth:
    """Mouth."""

    height: float = _span(1.06, 1.25, "eye line to the line of the lips")
    width: float = _span(0.32, 0.50, "half width")
    upper: float = _span(0.045, 0.15, "thickness of the upper lip")
    lower: float = _span(0.075, 0.19, "thickness of the lower lip")
    bow: float = _span(0.0, 0.5, "dip in the middle of the upper lip")
    corner: float = _span(-0.04, 0.04, "corners down")
    red: float = _span(0.05, 1.0, "how far the lips' colour is from the skin's")
    pink: float = _span(0.0, 1.0, "brownish to rose")
    philtrum: float = _span(0.0, 0.025, "groove above the upper lip")


@dataclass
class Hair:
    """Hair on the head; ``style`` is an index into HAIR_STYLES."""

    hairline: float = _span(0.78, 1.18, "height above the eye line, without a fringe")
    recede: float = _span(-0.10, 0.30, "corners of the hairline, up")
    part: float = _span(-0.75, 0.75, "where the hair parts, to the right")
    thick: float = _span(0.7, 1.35, "volume, relative to the style's")
    wave: float = _span(0.0, 1.0, "straight to curly")
    strands: float = _span(0.15, 0.5, "contrast between strands")
    streaks: float = _span(0.0, 0.5, "broad lighter streaks")


@dataclass
class HairStyle:
    """A hair style: volume, length and coverage."""

    name: str
    thick: float  # above the skull, of the head's radius
    fringe: float  # hairline comes down by this
    slant: float  # fringe falls from the parting's side to the other by this
    sides: float  # how far down it covers in front of the ears
    long: float  # how far down it hangs behind, 0 for short
    curls: float  # size of relief


HAIR_STYLES = (
    HairStyle("shaved", 0.012, 0.0, 0.0, 0.15, 0.0, 0.0),
    HairStyle("crop", 0.06, 0.05, 0.0, 0.20, 0.0, 0.3),
    HairStyle("side part", 0.13, 0.12, 0.28, 0.25, 0.0, 0.2),
    HairStyle("quiff", 0.20, -0.02, 0.05, 0.15, 0.0, 0.3),
    HairStyle("curly", 0.24, 0.08, 0.0, 0.30, 0.0, 1.0),
    HairStyle("afro", 0.42, 0.02, 0.0, 0.35, 0.0, 1.0),
    HairStyle("fringe and bob", 0.15, 0.50, 0.04, 1.20, 1.5, 0.1),
    HairStyle("long, middle part", 0.11, 0.04, 0.0, 1.30, 3.2, 0.1),
    HairStyle("long, side part", 0.15, 0.20, 0.42, 1.10, 3.0, 0.2),
    HairStyle("long and wavy", 0.19, 0.10, 0.12, 1.20, 2.7, 0.6),
    HairStyle("tied back", 0.05, 0.0, 0.0, 0.10, 0.0, 0.1),
)

# Natural hair, dark to light, then grey and white, sRGB.
HAIR_COLOURS = (
    (0.07, 0.06, 0.06),
    (0.14, 0.09, 0.07),
    (0.24, 0.15, 0.10),
    (0.36, 0.22, 0.13),
    (0.46, 0.20, 0.09),
    (0.58, 0.40, 0.22),
    (0.74, 0.58, 0.36),
    (0.50, 0.49, 0.48),
    (0.78, 0.77, 0.75),
)
IRIS_COLOURS = (
    (0.15, 0.09, 0.06),
    (0.28, 0.16, 0.08),
    (0.40, 0.28, 0.14),
    (0.33, 0.38, 0.22),
    (0.30, 0.42, 0.36),
    (0.30, 0.45, 0.60),
    (0.45, 0.55, 0.64),
)


@dataclass
class Marks:
    """Marks on the skin. Positions are (x, y); beard, moustache, stubble and freckles are opacities."""

    moles: Tuple[Tuple[float, float, float], ...]  # x, y, radius
    scar: Optional[Tuple[float, float, float, float]]  # x, y, angle, length
    freckles: float
    beard: float
    moustache: float
    stubble: float


@dataclass
class Person:
    """A made-up person. Draw one with :func:`draw_identity`."""

    seed: int
    index: int
    shape: Shape
    skin: Skin
    eyes: Eyes
    brows: Brows
    nose: Nose
    mouth: Mouth
    hair: Hair
    marks: Marks
    style: HairStyle
    hair_colour: Tuple[float, float, float]
    brow_colour: Tuple[float, float, float]
    iris_colour: Tuple[float, float, float]


def draw_identity(seed: int, index: int) -> Person:
    """Draw person ``index`` of ``seed``; the same arguments always give the same person."""
    rng = stream(seed, "identity", index)
    parts = {
        name: _draw(part, rng)
        for name, part in (
            ("shape", Shape),
            ("skin", Skin),
            ("eyes", Eyes),
            ("brows", Brows),
            ("nose", Nose),
            ("mouth", Mouth),
            ("hair", Hair),
        )
    }
    bearded = rng.random() < 0.5
    style = HAIR_STYLES[rng.integers(0, 6) if bearded else rng.integers(1, len(HAIR_STYLES))]
    marks = _draw_marks(rng, bearded)
    dark = parts["skin"].melanin
    hair_colour = _pick(rng, HAIR_COLOURS, _weights(dark, (3, 3, 2, 2, 1, 1, 1, 1, 1), 5), 0.05)
    brow_colour = np.array(hair_colour) * rng.uniform(0.45, 0.9)  # brows are darker than hair
    iris_colour = _pick(rng, IRIS_COLOURS, _weights(dark, (2, 2, 2, 1, 1, 2, 1), 3), 0.04)
    colours = {"hair_colour": hair_colour, "brow_colour": tuple(brow_colour), "iris_colour": iris_colour}
    return Person(seed, index, marks=marks, style=style, **colours, **parts)


def _weights(melanin: float, weights: Tuple[float, ...], darks: int) -> np.ndarray:
    """Probabilities of colours: the lighter ones, from index ``darks``, become rare with dark skin."""
    index = np.arange(len(weights))
    products = np.array(weights, float) * np.where(index >= darks, max(0.08, 1 - 1.4 * melanin), 1.0)
    return products / products.sum()


def _pick(rng: np.random.Generator, colours, probabilities: np.ndarray, spread: float) -> Tuple[float, float, float]:
    natural = np.array(colours[rng.choice(len(colours), p=probabilities)])
    return tuple(np.clip(natural + rng.normal(0.0, spread / 3, 3) + rng.normal(0.0, spread), 0.02, 0.95))


def _draw_marks(rng: np.random.Generator, bearded: bool) -> Marks:
    moles = tuple(
        (float(rng.uniform(-0.85, 0.85)), float(rng.uniform(-0.6, 1.45)), float(rng.uniform(0.018, 0.045)))
        for _ in range(rng.integers(0, 4))
    )
    scar = None
    if rng.random() < 0.2:
        scar = (
            float(rng.uniform(-0.7, 0.7)),
            float(rng.uniform(-0.5, 1.0)),
            float(rng.uniform(0, 3.1)),
            float(rng.uniform(0.15, 0.35)),
        )
    freckles = float(rng.uniform(0.3, 1.0)) if rng.random() < 0.25 else 0.0
    beard, moustache, stubble = rng.random(3) < (0.35, 0.45, 0.5)
    strength = rng.uniform(0.45, 1.0, 3)
    if not bearded:
        beard = moustache = stubble = False
    return Marks(moles, scar, freckles, *(float(s) * bool(b) for s, b in zip(strength, (beard, moustache, stubble))))
