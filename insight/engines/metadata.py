"""Read the metadata of an exported file: facts about its network that are not in the graph.

ONNX files store it as metadata properties, OpenVINO's .xml under ``rt_info``.
"""

from __future__ import annotations

import re
from typing import Dict, Mapping, NamedTuple, Optional, Tuple
from xml.etree import ElementTree

from ..errors import InsightError

ORDERS = ("RGB", "BGR")
QUANTISATION, WEIGHT_BITS = "quantisation", "weight_bits"  # of 8-bit files
ASSUMED = "assumed"  # property of conversions in memory; exported files do not have it


class Facts(NamedTuple):
    """Facts from metadata; None if not stated.

    Attributes
    ----------
    normalises : bool or None
        Whether the network takes raw pixels, 0..255, and normalises them itself.
    image_size : (int, int) or None
        Height and width.
    color_order : str
        ``RGB`` by default, or ``BGR``.
    weight_bits : int or None
        7 or 8, of the int8 weights of a file that ``export-onnx --int8`` wrote; None for other files.
    notes : tuple of str
        What was assumed about a checkpoint that was converted in memory.
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
    """Facts that metadata states about the images of a network.

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
    """Bits of the weights; 8 for quantised files without the entry, which older releases wrote."""
    if QUANTISATION not in metadata:
        return None
    return {"7": 7, "8": 8}.get(metadata.get(WEIGHT_BITS, "8"))


def _rt_info(path: str) -> Dict[str, str]:
    try:
        entries = ElementTree.parse(path).iterfind("rt_info//*[@value]")
    except (ElementTree.ParseError, OSError):  # OpenVINO's own reader accepts more, and reports errors
        return {}
    return {entry.tag: entry.attrib["value"] for entry in entries}
