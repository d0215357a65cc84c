"""Convert figures to inline SVG for HTML pages, with text that is not converted to paths, and with unique ids."""

from __future__ import annotations

import io
import re
from html import escape

_ID = re.compile(r'(\bid="|url\(#|href="#)')
_NOT_NEEDED = re.compile(
    r"\s*<metadata>.*?</metadata>|\s*<style\b.*?</style>", re.S
)  # a style would apply to the whole page
_ATTRIBUTE = re.compile(r'\s(?:width|height|version|xmlns(?::xlink)?)="[^"]*"')


def svg(figure, name: str, title: str) -> str:
    """Convert a matplotlib Figure to an ``svg`` element.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Prefix of all ids in the SVG, unique in the page; letters, digits and dashes.
    title : str
        Description for screen readers.

    Returns
    -------
    str
        The element, without width and height, so that it fits its container. The output is deterministic.
    """
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "insight"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    document = out.getvalue()
    element = document[document.index("<svg") + len("<svg") :]  # without the XML header of a file
    attributes, _, content = _ID.sub(rf"\g<1>{name}-", _NOT_NEEDED.sub("", element)).partition(">")
    attributes = _ATTRIBUTE.sub("", attributes)
    return (
        f'<svg{attributes} role="img" aria-labelledby="{name}-title"><title id="{name}-title">{escape(title)}</title>'
        + content.rstrip()
    )
