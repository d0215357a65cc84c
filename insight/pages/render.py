"""Render reports from the templates in ``templates/``. Requires Jinja and matplotlib (the extra ``plots``)."""

from __future__ import annotations

import re
from html import escape

from ..errors import InsightError
from ..verify.lines import COLUMNS
from .changes import CHANGE_COLUMNS
from .htmlpage import STYLE

REMEDY = "run: pip install -e '.[plots]'"
_MARKDOWN = re.compile(r"([\\`*\[\]<|]|(?<!\w)_|_(?!\w))")  # an underscore within a word is literal


def require() -> None:
    """Raise InsightError if Jinja or matplotlib is not installed."""
    _load("Jinja", "jinja2")
    _load("matplotlib", "matplotlib.figure")


def _load(package: str, module: str) -> None:
    try:
        __import__(module)
    except ImportError as error:
        raise InsightError(f"{package} is not installed, or does not load ({error}); {REMEDY}") from None


def render(template: str, **values: object) -> str:
    """Render an HTML page. The template gets :data:`STYLE` as ``style``, and all values are escaped.

    Raises
    ------
    InsightError
        Jinja is not installed.
    """
    _load("Jinja", "jinja2")
    return _environment(True).get_template(template).render(style=STYLE, **values)


def page(report) -> str:
    """Render the HTML page of a :class:`~insight.pages.model_report.ModelReport`."""
    return render("page.html", report=report, columns=COLUMNS, change_columns=CHANGE_COLUMNS)


def card(report) -> str:
    """Render the model card of a report, in Markdown."""
    template = _environment(False).get_template("card.md")
    text = template.render(report=report, columns=COLUMNS, change_columns=CHANGE_COLUMNS)
    return re.sub(r"\n{3,}", "\n\n", text)


def _environment(html: bool):
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("insight.pages"),
        autoescape=html,
        finalize=None if html else _escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = _breakable
    environment.filters["code"] = _code
    return environment


def _code(text: str) -> str:
    """Text as HTML, with text between backticks as ``code`` elements."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))


def _breakable(name: str) -> str:
    """A name as HTML, in which lines may break after a slash or an underscore."""
    return re.sub("([/_])", r"\1<wbr>", escape(name))


def _escaped(value: object) -> object:
    """Text on one line, escaped for Markdown and its table cells; other values unchanged."""
    if not isinstance(value, str) or hasattr(value, "__html__"):  # numbers, and text that is marked as safe
        return value
    return _MARKDOWN.sub(r"\\\1", " ".join(value.split()))
