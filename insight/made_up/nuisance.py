"""Nuisance parameters: everything that differs between two pictures of one person."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Tuple

import numpy as np

from ..errors import InsightError
from .people import stream

Range = Tuple[float, float]


@dataclass
class Nuisance:
    """Ranges of everything that differs between two pictures of one person. Each is (lowest, highest).

    A range with equal ends fixes the value; :meth:`none` gives a frontal, evenly lit, sharp picture.
    """

    yaw: Range = (-20.0, 20.0)  # degrees, positive turns the face to the image's right
    pitch: Range = (-10.0, 10.0)  # degrees, positive looks down
    roll: Range = (-14.0, 14.0)  # degrees; removed from aligned crops by the alignment
    light_azimuth: Range = (-50.0, 50.0)  # degrees from the camera's axis, positive from the image's right
    light_elevation: Range = (-15.0, 60.0)  # degrees above the face
    key: Range = (0.55, 1.25)  # strength of the main light
    ambient: Range = (0.28, 0.65)  # strength of the ambient light
    warmth: Range = (-0.25, 0.25)  # colour temperature: log gain of red against blue
    tint: Range = (-0.08, 0.08)  # log gain of green
    exposure: Range = (-0.6, 0.6)  # stops, relative to the camera's metering on the face
    contrast: Range = (0.8, 1.3)  # factor around mid grey
    gamma: Range = (0.75, 1.35)  # exponent after the sRGB curve
    saturation: Range = (0.45, 1.2)  # 0 grey, 1 as lit
    smile: Range = (-0.2, 0.8)  # 0 neutral, 1 broad
    mouth_open: Range = (-0.6, 0.6)  # 0 and below closed, 1 wide
    eye_open: Range = (0.7, 1.25)  # 1 is the person's eyes at rest
    brow_raise: Range = (-0.5, 1.0)  # 0 at rest, 1 a tenth of the interocular distance
    gaze: Range = (-1.0, 1.0)  # 1 turns the iris to its limit
    blur: Range = (0.0, 0.7)  # Gaussian sigma, pixels of the aligned crop
    resolution: Range = (0.65, 1.3)  # below 1 the crop is scaled down to that fraction and up again
    noise: Range = (0.0, 6.0)  # sigma, grey levels of 0..255
    jpeg: Range = (35.0, 95.0)  # quality of an earlier compression
    crop_shift: Range = (-1.5, 1.5)  # pixels of the aligned crop, in x and in y
    crop_scale: Range = (0.95, 1.05)  # factor
    crop_turn: Range = (-3.0, 3.0)  # degrees

    def __post_init__(self) -> None:
        for f in fields(self):
            low, high = getattr(self, f.name)
            if not low <= high:
                raise InsightError(f"nuisance {f.name}: want (lowest, highest), got ({low}, {high})")

    @classmethod
    def none(cls) -> Nuisance:
        """No nuisance: only the identity, and the random background and clothes, remain."""
        still = {f.name: (0.0, 0.0) for f in fields(cls)}
        still.update(key=(1.0, 1.0), ambient=(0.45, 0.45), contrast=(1.0, 1.0), gamma=(1.0, 1.0), saturation=(1.0, 1.0))
        still.update(eye_open=(1.0, 1.0), resolution=(1.3, 1.3), jpeg=(95.0, 95.0), crop_scale=(1.0, 1.0))
        still.update(light_elevation=(25.0, 25.0))
        return cls(**still)


@dataclass
class Shot:
    """One draw from :class:`Nuisance`: a value for each of its ranges, and a random stream for the rest."""

    values: dict
    rng: np.random.Generator  # for the background and the noise
    clothes: int  # seed of the shirt

    def __getattr__(self, name: str) -> float:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None


def draw_shot(seed: int, identity: int, image: int, nuisance: Nuisance) -> Shot:
    """The nuisance values of picture ``image`` of person ``identity``."""
    rng = stream(seed, "shot", identity, image)
    names = [f.name for f in fields(nuisance)]
    values = {name: float(rng.uniform(*getattr(nuisance, name))) for name in names}
    for axis in ("gaze", "crop_shift"):  # two directions each
        values[f"{axis}_y"] = float(rng.uniform(*getattr(nuisance, axis)))
    return Shot(values, rng, clothes=int(rng.integers(2**32)))
