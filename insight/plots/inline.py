"""A figure as SVG inside an HTML page: real text, and ids that no other figure of the page has."""

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
        Begins every id in the drawing: letters, digits, dashes; no other figure of the page may have it.
    title : str
        What the figure shows, for screen readers.

    Returns
    -------
    str
        An ``svg`` element that is as wide as its box. The same figure gives the same text.
    """
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "insight"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    document = out.getvalue()
    drawn = document[document.index("<svg") + len("<svg") :]  # what is before it is only for a file of its own
    attributes, _, content = _ID.sub(rf"\g<1>{name}-", _NOT_NEEDED.sub("", drawn)).partition(">")
    attributes = _ATTRIBUTE.sub("", attributes)
    return (
        f'<svg{attributes} role="img" aria-labelledby="{name}-title"><title id="{name}-title">{escape(title)}</title>'
        + content.rstrip()
    )
