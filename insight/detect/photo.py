"""Photos that are decoded upright and only at the size that is needed.

A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that is large enough, as its header tells. For a photo of 12
megapixels, this reduces detection and alignment to a quarter of the time and a tenth of the memory. Other formats are
decoded at full size and halved.
"""

from __future__ import annotations

from typing import Optional, Tuple

import cv2
import numpy as np

from ..errors import InsightError
from ..faces.alignment import LONGEST
from ..images.decoding import reduced_jpeg
from ..images.header import exif_orientation, image_size
from ..images.kind import HEAD_BYTES, JPEG, kind_of
from ..images.pixels import turned_upright, upright_bgr
from .face import to_scale
from .halving import halved

MOST_PIXELS = 1 << 28  # 268 megapixels, 805 MB if the photo must be decoded at full size
_DENOMINATORS = (8, 4, 2, 1)


class Photo:
    """An encoded image of any format that OpenCV decodes; of an animation, the first frame.

    The constructor reads the header; pixels are decoded on demand, as RGB uint8 (H, W, 3), upright by the EXIF
    orientation. Grey images are repeated in all channels, 16 bits are scaled to 8, transparent parts become black, and
    CMYK is converted.

    Parameters
    ----------
    data : bytes
        The file.

    Attributes
    ----------
    size : (int, int)
        (width, height) of the upright image.
    warning : str
        The decoder's warning about damaged data, known after pixels were decoded; "" for none.

    Raises
    ------
    InsightError
        The data is empty, not an image, of a kind that is not decoded (HEIC, GIF, …), or has more than 2**28 pixels.
        The message contains no path. A damaged file raises it when its pixels are decoded.
    """

    def __init__(self, data: bytes):
        self.warning = ""
        self._data = data
        self._last: Optional[Tuple[np.ndarray, int]] = None  # pixels and their denominator
        head = data[:HEAD_BYTES]
        kind = kind_of(head)
        if not data:
            raise InsightError("the file is empty; remove or replace it")
        if kind is None:
            raise InsightError(f"not a readable image (it starts with {head[:8]!r}); remove or replace it")
        if not kind.decoded:
            raise InsightError(f"{kind.name}, which OpenCV does not decode; convert it to JPEG or PNG")
        self._is_jpeg = kind is JPEG
        self._orientation = exif_orientation(data)
        stored = image_size(data)
        if stored is None:  # the decoder may know a variant of the header
            self._orientation, self._last = 1, (self._whole(), 1)
            stored = self._last[0].shape[:2]
        if stored[0] * stored[1] > MOST_PIXELS:
            raise InsightError(f"{stored[1]} x {stored[0]} pixels, more than {MOST_PIXELS}; scale it down")
        self.size = (stored[0], stored[1]) if self._orientation >= 5 else (stored[1], stored[0])

    def at_most(self, longest: int) -> Tuple[np.ndarray, float]:
        """The photo with its longest side at most ``longest`` pixels.

        Returns
        -------
        pixels : np.ndarray
            RGB uint8 (H, W, 3); never enlarged.
        scale : float
            Size of ``pixels`` divided by the size of the photo. A point (x, y) of the photo is at
            ``((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5)``.

        Raises
        ------
        InsightError
            The data does not decode.
        """
        pixels, denominator = self._at_least(longest)
        scale = 1 / denominator
        while max(pixels.shape[:2]) >= 2 * longest and min(pixels.shape[:2]) > 1:
            pixels, scale = halved(pixels), scale / 2
        wanted = longest / max(self.size)
        if wanted < scale:
            pixels, scale = self._at_scale(wanted, pixels, scale), wanted
        return pixels, scale

    def for_crop(self, points: np.ndarray, longest_needed: float) -> Tuple[np.ndarray, np.ndarray]:
        """Pixels for the crop of a face, decoded at the smallest size that is large enough.

        Parameters
        ----------
        points : np.ndarray
            (5, 2) x, y in the photo.
        longest_needed : float
            Length that the longest side must have so that the crop does not enlarge the face, in pixels.

        Returns
        -------
        pixels : np.ndarray
            RGB uint8 (H, W, 3); the whole photo, at 1/1, 1/2, 1/4 or 1/8 of its size.
        points : np.ndarray
            (5, 2) float64, in coordinates of ``pixels``.

        Raises
        ------
        InsightError
            The data does not decode.
        """
        pixels, denominator = self._at_least(longest_needed)
        return pixels, to_scale(np.asarray(points, np.float64), 1 / denominator)

    def _at_scale(self, wanted: float, pixels: np.ndarray, scale: float) -> np.ndarray:
        """Scale the photo to exactly ``wanted`` in x and y, from pixels of at most twice that size."""
        size = tuple(max(1, round(side * wanted)) for side in self.size)
        if max(pixels.shape[:2]) > LONGEST:  # too long for a warp: the photo is one pixel wide
            return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        ratio = wanted / scale
        matrix = np.array([[ratio, 0, (ratio - 1) / 2], [0, ratio, (ratio - 1) / 2]])
        return cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def at_hand(self, points: np.ndarray) -> Optional[Tuple[np.ndarray, np.ndarray]]:
        """As :meth:`for_crop`, but with the pixels that were decoded last; None if none were."""
        if self._last is None:
            return None
        pixels, denominator = self._last
        return pixels, to_scale(np.asarray(points, np.float64), 1 / denominator)

    def _at_least(self, longest: float) -> Tuple[np.ndarray, int]:
        """(pixels, denominator): the smallest decoding with a longest side of at least ``longest``, or full size."""
        denominator = next(d for d in _DENOMINATORS if d == 1 or (self._divisible(d) and max(self.size) >= d * longest))
        if self._last is None or self._last[1] != denominator:
            self._last = None  # free the memory before decoding again
            self._last = self._decoded(denominator)
        return self._last

    def _divisible(self, denominator: int) -> bool:
        """Whether the blocks of a reduced JPEG start at the top left corner of the upright photo.

        They start at the top left corner of the stored image, and the last ones may extend beyond its edge. If the
        orientation moves that edge to the left or top, its side must be divisible by the denominator.
        """
        if not self._is_jpeg:
            return False
        from_right, from_bottom = self._orientation in (2, 3, 6, 7), self._orientation in (3, 4, 7, 8)
        return not ((from_right and self.size[0] % denominator) or (from_bottom and self.size[1] % denominator))

    def _decoded(self, denominator: int) -> Tuple[np.ndarray, int]:
        if self._is_jpeg:
            pixels = reduced_jpeg(self._data, denominator)
            if pixels is not None:
                return turned_upright(pixels, self._orientation), denominator
            self._is_jpeg = False  # damaged, or of a kind that TurboJPEG does not convert
        return self._whole(), 1

    def _whole(self) -> np.ndarray:
        warnings: list = []
        try:
            pixels, _ = upright_bgr(self._data, "", warnings.append)
        except InsightError as error:
            raise InsightError(str(error).partition(": ")[2]) from None
        self.warning = "".join(warnings)
        self.size = (pixels.shape[1], pixels.shape[0])  # a damaged header may state another
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
