"""Settings of `align-faces`, and what a worker opens for them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..errors import InsightError

VERSION = 1  # of what the command makes of the same settings and photos; part of the output's settings
QUALITY = {".jpg": 95, ".png": 3}


class AlignSettings(NamedTuple):
    """What decides the crops, besides the photos.

    Attributes
    ----------
    detector : str
        As :func:`insight.detect.find.finder` takes it; not used with ``landmarks``.
    landmarks : str, optional
        File of the faces.
    model : str, optional
        Network for :mod:`insight.detect.agree`.
    image_size : (int, int)
        (height, width) of the crops.
    flat : bool
        A folder without identities.
    multi : str
        ``skip``, ``largest`` or ``all``.
    encoding : str
        ``.jpg`` or ``.png``.
    min_eyes : float
        Pixels of the photo.
    min_sharpness, max_outside, min_score : float, optional
        None: no limit.
    """

    detector: str = "mtcnn"
    landmarks: Optional[str] = None
    model: Optional[str] = None
    image_size: Tuple[int, int] = (112, 112)
    flat: bool = False
    multi: str = "largest"
    encoding: str = ".jpg"
    min_eyes: float = 10.0
    min_sharpness: Optional[float] = None
    max_outside: Optional[float] = None
    min_score: Optional[float] = None

    def check(self) -> None:
        """Raise InsightError for options that exclude one another; opens no file."""
        if self.model and (self.flat or self.multi != "largest"):
            other = "--flat" if self.flat else f"--multi {self.multi}"
            raise InsightError(
                f"--model {self.model}: takes one face of each photo of an identity folder; leave it out with {other}"
            )
        for name, value, most in (
            ("--min-eyes", self.min_eyes, None),
            ("--min-sharpness", self.min_sharpness, None),
            ("--max-outside", self.max_outside, 1),
            ("--min-score", self.min_score, 1),
        ):
            if value is not None and not 0 <= value <= (most or float("inf")):
                raise InsightError(f"{name} {value:g}: want 0 {f'to {most}' if most else 'or more'}")


class AlignTools:
    """Detector, landmarks and network of settings, opened when they are used. Of one thread."""

    def __init__(self, settings: AlignSettings, raw: str):
        self.settings = settings
        self._raw = raw
        self._finder: Any = None
        self._network: Any = None

    @property
    def finder(self):
        """The detector's :class:`insight.detect.find.Finder`."""
        if self._finder is None:
            from .find import finder

            self._finder = finder(self.settings.detector)
        return self._finder

    @property
    def landmarks(self):
        """The :class:`insight.detect.landmarks.Landmarks` of the file; one for all threads."""
        return _landmarks(str(self.settings.landmarks), self._raw)

    @property
    def network(self):
        """The engine of the model; one thread, so that embeddings do not depend on the machine's cores.

        Raises
        ------
        InsightError
            It cannot be opened, or takes images of another size than the crops.
        """
        if self._network is None:
            from ..engines import AUTO, load

            size = self.settings.image_size
            try:
                self._network = load(str(self.settings.model), threads=1, engine=AUTO, image_size=size)
            except InsightError as error:  # its remedy is for commands whose images have a size of their own
                raise InsightError(str(error).replace("leave the option out", "give that as --image-size")) from None
        return self._network

    def identity(self) -> Dict[str, Any]:
        """The settings as JSON has them, with digests for files; opens all of them.

        Raises
        ------
        InsightError
            A file or a package is missing, or a value is not possible.
        """
        from ..faces.alignment import template
        from ..faces.parts import digest

        settings = self.settings
        template(settings.image_size)
        described: Dict[str, Any] = {"version": VERSION}
        if settings.landmarks:
            self.landmarks  # noqa: B018  # raises where the file is bad
            described["--landmarks"] = digest([Path(settings.landmarks)])
        else:
            described["--detector"] = self.finder.identity
        if settings.model:
            from ..engines import model_files

            described.update({"--model": digest(model_files(settings.model)), "engine": self.network.describe()})
        named = {name: value for name, value in settings._asdict().items() if name not in _FILES}
        return {**described, **{f"--{name.replace('_', '-')}": _plain(value) for name, value in named.items()}}

    def notes(self) -> List[str]:
        """What was assumed of the model because its file does not state it."""
        return [f"{self.settings.model}: {note}" for note in self.network.notes] if self.settings.model else []


_FILES = ("detector", "landmarks", "model")
_LOCK = threading.Lock()
_LANDMARKS: Dict[Tuple[str, str], Any] = {}
_TOOLS = threading.local()


def tools_of(settings: AlignSettings, raw: str) -> AlignTools:
    """The calling thread's tools for the settings; kept for its next call."""
    current = getattr(_TOOLS, "value", None)
    if current is None or _TOOLS.key != (settings, raw):
        current, _TOOLS.key = AlignTools(settings, raw), (settings, raw)
        _TOOLS.value = current
    return current


def _landmarks(path: str, raw: str):
    from .landmarks import Landmarks

    with _LOCK:
        if (path, raw) not in _LANDMARKS:
            _LANDMARKS.clear()
            _LANDMARKS[path, raw] = Landmarks(path, raw)
        return _LANDMARKS[path, raw]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
