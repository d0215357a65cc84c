"""Embeddings that a command keeps in a file: computed once, resumed after a kill, and reused by later runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Sequence

from ..errors import InsightError
from .embed import load
from .parts import about, embed_to
from .sources import ImageSource

_OTHER = {
    "model": "another model",
    "model_sha256": "another model",
    "input": "other images, or images that have changed",
}


def kept_name(title: str, spec: str) -> str:
    """Default name of the file: ``IJBC-y1-model-0`` for title ``IJBC`` and model ``models/y1/model,0``."""
    name = re.sub(r"[^\w.-]+", "-", "-".join(Path(spec).parts[-2:]))
    return f"{title}-{name.strip('-.')}"


def embed_once(path, engine, source: ImageSource, flip: str, model_files: Sequence[Path], option: str) -> bool:
    """Embed a source into an .npz, or check that an existing file has the embeddings of this source and model.

    Parameters
    ----------
    path : path
        The .npz. Parts are kept beside it until it is complete; see :func:`insight.faces.parts.embed_to`.
    engine : insight.engines.engine.Engine
    source : ImageSource
    flip : str
        As in :func:`insight.faces.embed.embed`.
    model_files : sequence of path
        The network's files.
    option : str
        The option that names the file, for messages.

    Returns
    -------
    bool
        Whether the embeddings were computed; False if the file existed.

    Raises
    ------
    InsightError
        The file has embeddings of another model, input or option, or an image is missing or cannot be used.
    """
    missing = not os.path.exists(path)
    if missing:
        source.check()
    facts = {**about(engine, flip, model_files), "input": source.digest()}
    if missing:
        embed_to(path, engine, source, flip, model_files, about=facts)
        return True
    stored = load(path).about or {}
    different = [name for name, value in facts.items() if stored.get(name) != value]
    if different:
        name = different[0]
        other = _OTHER.get(name, f"{name} {stored.get(name)}, not {facts[name]}")
        raise InsightError(f"{path}: has embeddings of {other}; give {option} with another name, or remove the file")
    return False
