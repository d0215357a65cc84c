"""Read the metadata of exported files: properties of the network that are not in its graph.

ONNX files store them as metadata properties, OpenVINO's .xml files under ``rt_info``.
"""

from __future__ import annotations

import re
from typing import Dict, Mapping, NamedTuple, Optional, Tuple
from xml.etree import ElementTree

from ..errors import InsightError

ORDERS = ("RGB", "BGR")
QUANTISATION, WEIGHT_BITS = "quantisation", "weight_bits"  # properties of int8 files
ASSUMED = "assumed"  # property of checkpoints that are converted in memory; exported files do not have it


class Facts(NamedTuple):
    """Properties of a network, from metadata; None where the metadata does not state them.

    Attributes
    ----------
    normalises : bool or None
        Whether the network takes raw pixels, 0..255, and normalises them itself.
    image_size : (int, int) or None
        Height and width of the images.
    color_order : str
        ``RGB`` (default) or ``BGR``.
    weight_bits : int or None
        Bits of the int8 weights of a file written by ``export-onnx --int8``, 7 or 8; None for other files.
    notes : tuple of str
        Assumptions about a checkpoint that was converted in memory.
    """

    normalises: Optional[bool] = None
    image_size: Optional[Tuple[int, int]] = None
    color_order: str = "RGB"
    weight_bits: Optional[int] = None
    notes: Tuple[str, ...] = ()


def read(path: str) -> Dict[str, str]:
    """The metadata of a .onnx or .xml file; empty for other files."""
    if path.lower().endswith(".xml"):
        return _rt_info(path)
    if not path.lower().endswith(".onnx"):
        return {}
    import onnx

    return of_onnx(onnx.load(path, load_external_data=False))


def of_onnx(model) -> Dict[str, str]:
    """The metadata of an ``onnx.ModelProto``."""
    return {entry.key: entry.value for entry in model.metadata_props}


def facts(spec: str, metadata: Mapping[str, str]) -> Facts:
    """Extract properties of a network from metadata.

    Raises
    ------
    InsightError
        ``color_order`` is neither RGB nor BGR.
    """
    order = metadata.get("color_order", ORDERS[0]).strip().upper()
    if order not in ORDERS:
        raise InsightError(f"{spec}: its metadata states color_order {order!r}; want {' or '.join(ORDERS)}")
    inside = {"inside": True, "outside": False}.get(metadata.get("normalisation", ""))
    size = re.fullmatch(r"\s*([1-9]\d*)\s*,\s*([1-9]\d*)\s*", metadata.get("input_size", ""))
    notes = tuple(metadata[ASSUMED].split("\n")) if ASSUMED in metadata else ()
    sides = (int(size.group(1)), int(size.group(2))) if size else None
    return Facts(inside, sides, order, _weight_bits(metadata), notes)


def _weight_bits(metadata: Mapping[str, str]) -> Optional[int]:
    """Bits of the weights of a quantised file; 8 if the property is missing, as in files of older releases."""
    if QUANTISATION not in metadata:
        return None
    return {"7": 7, "8": 8}.get(metadata.get(WEIGHT_BITS, "8"))


def _rt_info(path: str) -> Dict[str, str]:
    try:
        entries = ElementTree.parse(path).iterfind("rt_info//*[@value]")
    except (ElementTree.ParseError, OSError):  # OpenVINO's own reader accepts more, and reports errors
        return {}
    return {entry.tag: entry.attrib["value"] for entry in entries}
