"""A figure as SVG for an HTML page: with real text, and ids that are unique in the page."""

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
    """Draw a matplotlib Figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Prefix of all ids in the SVG: letters, digits, dashes; unique in the page.
    title : str
        Description for screen readers.

    Returns
    -------
    str
        An ``svg`` element with the width of its container. The same figure gives the same text.
    """
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "insight"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    document = out.getvalue()
    element = document[document.index("<svg") + len("<svg") :]  # without the header of a separate file
    attributes, _, content = _ID.sub(rf"\g<1>{name}-", _NOT_NEEDED.sub("", element)).partition(">")
    attributes = _ATTRIBUTE.sub("", attributes)
    return (
        f'<svg{attributes} role="img" aria-labelledby="{name}-title"><title id="{name}-title">{escape(title)}</title>'
        + content.rstrip()
    )
