"""Settings of `align-faces`, and what a worker opens for them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
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
        Network for :func:`insight.detect.choose.agreement`.
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
    raw_spelled : str
        How the user spelled the raw folder, where that is not the path that workers get; lists of landmarks may too.
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
    raw_spelled: str = ""

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

    def files(self) -> List[str]:
        """The files that the settings name."""
        from ..engines import model_files

        detector = [] if self.landmarks else [self.detector.partition(":")[2]]
        return [*filter(None, [*detector, self.landmarks]), *map(str, model_files(self.model) if self.model else [])]

    def absolute(self, raw: str) -> AlignSettings:
        """The same with absolute paths, for a process in another folder; ``raw`` is the raw folder as it was given."""
        name, _, file = self.detector.partition(":")
        detector = f"{name}:{os.path.abspath(file)}" if file else self.detector
        landmarks, model = (path and os.path.abspath(path) for path in (self.landmarks, self.model))
        return self._replace(detector=detector, landmarks=landmarks, model=model, raw_spelled=raw)


class AlignTools:
    """Detector, landmarks and network of settings, opened when they are used. Of one thread."""

    def __init__(self, settings: AlignSettings, raw: str):
        self.settings = settings
        self._raw = raw
        self._finder: Any = None
        self._network: Any = None
        self._digest = ""

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
        return _landmarks(str(self.settings.landmarks), self._raw, self.settings.raw_spelled)

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

    def agree(self, made_with: str) -> None:
        """Check that the run's settings have the digest ``made_with`` here, too.

        Raises
        ------
        InsightError
            A file is another one here, or the model is evaluated by another runtime.
        """
        self._digest = self._digest or digest_of(self.identity())
        if self._digest != made_with:
            raise InsightError(
                f"{platform.node()}: its detector, model or runtime is another than the run's, so its crops might "
                "differ; install the same packages and give the same files for all workers"
            )

    def notes(self) -> List[str]:
        """What was assumed of the model because its file does not state it."""
        return [f"{self.settings.model}: {note}" for note in self.network.notes] if self.settings.model else []


_FILES = ("detector", "landmarks", "model", "raw_spelled")
_LOCK = threading.Lock()
_LANDMARKS: Dict[Tuple[str, str, str], Any] = {}
_OPENED_ANEW = [0]  # number of times
_TOOLS = threading.local()


def digest_of(described: Dict[str, Any]) -> str:
    """SHA-256, as hex, of described settings."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def tools_of(settings: AlignSettings, raw: str) -> AlignTools:
    """The calling thread's tools for the settings; kept for its next call."""
    key = settings, raw, _OPENED_ANEW[0]
    if getattr(_TOOLS, "key", None) != key:
        _TOOLS.value, _TOOLS.key = AlignTools(settings, raw), key
    return _TOOLS.value


def forget_tools() -> None:
    """Let a run open its files anew: a worker of a cluster has served others, whose files may have been replaced."""
    with _LOCK:
        _LANDMARKS.clear()
        _OPENED_ANEW[0] += 1


def _landmarks(path: str, raw: str, spelled: str):
    from .landmarks import Landmarks

    with _LOCK:
        if (path, raw, spelled) not in _LANDMARKS:
            _LANDMARKS.clear()
            _LANDMARKS[path, raw, spelled] = Landmarks(path, raw, spelled)
        return _LANDMARKS[path, raw, spelled]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
