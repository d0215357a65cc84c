"""Conversion of image files to the payloads of record sets and verification sets.

A complete, upright 3-channel JPEG of the target size is copied byte for byte. Its markers are sufficient to recognize
it; the decoder detects damaged data. All other images are decoded, converted and encoded again, and the changes are
reported. If the target is ``.png``, plain PNG files of the target size are copied too.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple, Union

from ..errors import InsightError
from ..formats.lst import Entry
from ..images.header import is_plain_png, read_jpeg_head, suffix_of
from ..images.kind import HEAD_BYTES, kind_of

DEFAULT_SIZE = (112, 112)
SKIP, KEEP, FAIL = "skip", "keep", "fail"  # policies for images that decode with a warning
DECODE, HEADERS = "decode", "headers"  # checks of images that are copied
_DEFAULT_QUALITY = {".jpg": 95, ".png": 3}
RESIZED = "resized from"


class Skip(InsightError):
    """The image cannot be used; the message is the reason, without the path."""


class ImageTarget:
    """The size of all prepared images, and the encoding of those that are converted.

    (A plain class: importing ``dataclasses`` takes longer than packing a small set.)

    Attributes
    ----------
    size : (int, int)
        (height, width) in pixels, 8..4096 each.
    suffix : str
        ``.jpg`` or ``.png``.
    quality : int
        JPEG quality, 1..100 (default 95), or PNG compression level, 0..9 (default 3).

    Raises
    ------
    InsightError
        A value is out of range.
    """

    def __init__(self, size: Tuple[int, int] = DEFAULT_SIZE, suffix: str = ".jpg", quality: Optional[int] = None):
        if suffix not in _DEFAULT_QUALITY:
            raise InsightError(f"--encoding {suffix}: want {' or '.join(_DEFAULT_QUALITY)}")
        if not all(8 <= side <= 4096 for side in size):
            raise InsightError(f"--image-size {size[0]},{size[1]}: want height,width of 8..4096 pixels each")
        low, high = (0, 9) if suffix == ".png" else (1, 100)
        if quality is not None and not low <= quality <= high:
            raise InsightError(f"--quality {quality}: want {low}..{high} for {suffix}")
        self.size = size
        self.suffix = suffix
        self.quality = _DEFAULT_QUALITY[suffix] if quality is None else quality


class Damaged(Skip):
    """The image decodes with a warning; the message is the decoder's."""


class Prepared(NamedTuple):
    """An encoded image, the changes made to it (empty if it was copied), and the decoder's warning ("" if none)."""

    payload: bytes
    changes: Tuple[str, ...] = ()
    damage: str = ""


Outcome = Union[Prepared, Skip]


def under_policy(outcome: Outcome, damaged: str) -> Outcome:
    """Return the outcome, or a :class:`Damaged` if the image is damaged and the policy is not ``keep``."""
    if isinstance(outcome, Prepared) and outcome.damage and damaged != KEEP:
        return Damaged(outcome.damage)
    return outcome


def stops(skip: Skip, on_error: str, damaged: str) -> str:
    """Return the option that would skip an unusable image, if the policies raise for it; otherwise ""."""
    if isinstance(skip, Damaged):
        return "--damaged skip, or keep to pack it unchanged" if damaged == FAIL else ""
    return "--on-error skip" if on_error == FAIL else ""


def verbatim(data: bytes, target: ImageTarget) -> bool:
    """Whether a file can be copied unchanged into a record. Raises :class:`Skip` for a truncated JPEG."""
    head = read_jpeg_head(data)
    if head is None:
        return target.suffix == ".png" and is_plain_png(data, target.size)
    if not head.complete:
        raise Skip("JPEG without its end marker: the file was truncated")
    return head.plain and (head.height, head.width) == target.size


def convert(data: bytes, entry: Entry, target: ImageTarget) -> Prepared:
    """Decode an image, rotate it upright, align or resize it, and encode it. Raises :class:`Skip` if that fails."""
    from ..images import pixels as image

    warnings: list = []
    try:
        pixels, changes = image.upright_bgr(data, "", warnings.append)
    except InsightError as error:
        kind = kind_of(data[:HEAD_BYTES])
        if kind and not kind.decoded:
            raise Skip(f"{kind.name}, which OpenCV does not decode: convert it to JPEG or PNG") from None
        raise _without_name(error) from None
    suffix = suffix_of(data)
    if suffix != ".jpg" and suffix != target.suffix:
        changes.insert(0, suffix[1:])
    if not entry.aligned:
        from ..faces.alignment import warp

        try:
            pixels = warp(pixels, entry.landmarks, target.size)
        except InsightError as error:
            raise _without_name(error) from None
        changes.append("aligned by landmarks")
    elif pixels.shape[:2] != target.size:
        changes.append(f"{RESIZED} {pixels.shape[0]}x{pixels.shape[1]}")
        pixels = image.fit(pixels, target.size)
    payload = image.encode_bgr(pixels, target.suffix, target.quality)
    return Prepared(payload, tuple(changes) or ("encoded again",), "".join(warnings))


def damage_of(data: bytes) -> str:
    """Return the decoder's warning about a copied image, or "". Raises :class:`Skip` if it does not decode."""
    from ..images import decoding

    if not decoding.quick_warning(data):
        return ""
    from ..images import pixels as image

    warnings: list = []
    try:
        image.decode_bgr(data, "", warnings.append)
    except InsightError as error:
        raise _without_name(error) from None
    return "".join(warnings)


def _without_name(error: InsightError) -> Skip:
    """Return a Skip with the reason only: without the name before it and the remedy after it."""
    return Skip(str(error).lstrip(": ").partition(";")[0])
