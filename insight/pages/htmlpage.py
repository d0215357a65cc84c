"""Style sheet of the HTML pages, and images as data URIs, so that a page is one self-contained file."""

from __future__ import annotations

import base64
from typing import Optional

from ..images.header import suffix_of

_MIME = {".jpg": "image/jpeg", ".png": "image/png", ".bmp": "image/bmp", ".webp": "image/webp"}

STYLE = """
:root { color-scheme: light; --ink: #1d2129; --soft: #5c6370; --line: #dfe2e7; --back: #f5f6f8;
  --error: #b3261e; --warning: #8a5a00; --note: #2f5d8a; --good: #1b6e3c; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .75rem; }
h3 { font-size: 1rem; margin: 0; }
.verdict { margin: .25rem 0 1.5rem; font-weight: 600; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 1rem; margin-bottom: .75rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem 1.25rem; margin: 0; }
.facts dt { color: var(--soft); font-size: .85rem; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: .75rem; }
.charts .card { margin: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.head { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: baseline; }
.badge { font-size: .8rem; font-weight: 600; }
.error { color: var(--error); } .warning { color: var(--warning); } .note { color: var(--note); }
.good { color: var(--good); }
.soft { color: var(--soft); }
.samples { display: flex; flex-wrap: wrap; gap: .75rem; margin: .85rem 0 0; padding: 0; list-style: none; }
.samples li { width: 11rem; font-size: .85rem; overflow-wrap: anywhere; line-height: 1.35; }
.pictures { display: flex; gap: .25rem; margin-bottom: .25rem; }
.pictures img, .blank { width: 5.3rem; height: 5.3rem; object-fit: contain; background: #eceef1; border-radius: 4px; }
.blank { display: grid; place-items: center; text-align: center; font-size: .75rem; color: var(--soft); }
@media (max-width: 30rem) { .samples li { width: calc(50% - .4rem); } .pictures { flex-wrap: wrap; } }
"""


def data_uri(data: bytes) -> Optional[str]:
    """The data URI of an encoded image; None unless it is a JPEG, PNG, BMP or WebP, which browsers support."""
    mime = _MIME.get(suffix_of(data))
    return mime and f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
