"""Settings of ``align-faces``, and the detector, landmarks and network that a worker opens for them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..errors import InsightError

VERSION = 1  # to be raised when the same settings and photos give other crops; recorded in the output
QUALITY = {".jpg": 95, ".png": 3}  # JPEG quality, PNG compression level


class AlignSettings(NamedTuple):
    """Settings of a run, which determine the crops of given photos.

    Attributes
    ----------
    detector : str
        Specification for :func:`insight.detect.find.finder`; not used with ``landmarks``.
    landmarks : str, optional
        File with the faces, for :class:`insight.detect.landmarks.Landmarks`.
    model : str, optional
        Embedding network for :func:`insight.detect.choose.agreement`.
    image_size : (int, int)
        (height, width) of the crops.
    flat : bool
        Whether the raw folder has no identity folders.
    multi : str
        Rule for photos with several faces: ``skip``, ``largest`` or ``all``.
    encoding : str
        Format of the crops, ``.jpg`` or ``.png``.
    min_eyes : float
        Lowest distance of the eyes, in pixels of the photo.
    min_sharpness, max_outside, min_score : float, optional
        Limits of :class:`insight.detect.crop.Measures` and of the detector's score; None for no limit.
    raw_spelled : str
        The raw folder as the user gave it, if workers get another path; lists of landmarks may use this spelling.
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
        """Raise InsightError if a value is out of range or two options exclude each other. Opens no file."""
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
        """Paths of the files that the settings name."""
        from ..engines import model_files

        detector = [] if self.landmarks else [self.detector.partition(":")[2]]
        return [*filter(None, [*detector, self.landmarks]), *map(str, model_files(self.model) if self.model else [])]

    def absolute(self, raw: str) -> AlignSettings:
        """A copy with absolute paths, for a process in another folder; ``raw`` is the folder as the user gave it."""
        name, _, file = self.detector.partition(":")
        detector = f"{name}:{os.path.abspath(file)}" if file else self.detector
        landmarks, model = (path and os.path.abspath(path) for path in (self.landmarks, self.model))
        return self._replace(detector=detector, landmarks=landmarks, model=model, raw_spelled=raw)


class AlignTools:
    """Detector, landmarks and network of settings, each opened at its first use. For use by one thread."""

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
        """The :class:`insight.detect.landmarks.Landmarks` of the file, shared by all threads."""
        return _landmarks(str(self.settings.landmarks), self._raw, self.settings.raw_spelled)

    @property
    def network(self):
        """The engine of the model. It uses one thread, so that embeddings do not depend on the number of cores.

        Raises
        ------
        InsightError
            The model cannot be opened, or takes images of another size than the crops.
        """
        if self._network is None:
            from ..engines import AUTO, load

            size = self.settings.image_size
            try:
                self._network = load(str(self.settings.model), threads=1, engine=AUTO, image_size=size)
            except InsightError as error:  # the remedy in its message does not apply to this command
                raise InsightError(str(error).replace("leave the option out", "give that as --image-size")) from None
        return self._network

    def identity(self) -> Dict[str, Any]:
        """The settings as JSON values, with files replaced by digests. Opens all files.

        Raises
        ------
        InsightError
            A file or a package is missing, or a value is invalid.
        """
        from ..faces.alignment import template
        from ..faces.parts import digest

        settings = self.settings
        template(settings.image_size)
        described: Dict[str, Any] = {"version": VERSION}
        if settings.landmarks:
            self.landmarks  # noqa: B018  # raises if the file is damaged
            described["--landmarks"] = digest([Path(settings.landmarks)])
        else:
            described["--detector"] = self.finder.identity
        if settings.model:
            from ..engines import model_files

            described.update({"--model": digest(model_files(settings.model)), "engine": self.network.describe()})
        named = {name: value for name, value in settings._asdict().items() if name not in _FILES}
        return {**described, **{f"--{name.replace('_', '-')}": _plain(value) for name, value in named.items()}}

    def agree(self, made_with: str) -> None:
        """Check that the settings have the digest ``made_with`` on this machine too.

        Raises
        ------
        InsightError
            A file differs here, or the model is evaluated by another runtime.
        """
        self._digest = self._digest or digest_of(self.identity())
        if self._digest != made_with:
            raise InsightError(
                f"{platform.node()}: its detector, model or runtime is another than the run's, so its crops might "
                "differ; install the same packages and give the same files for all workers"
            )

    def notes(self) -> List[str]:
        """What was assumed about the model because its file does not state it."""
        return [f"{self.settings.model}: {note}" for note in self.network.notes] if self.settings.model else []


_FILES = ("detector", "landmarks", "model", "raw_spelled")
_LOCK = threading.Lock()
_LANDMARKS: Dict[Tuple[str, str, str], Any] = {}
_OPENED_ANEW = [0]  # number of calls of forget_tools
_TOOLS = threading.local()


def digest_of(described: Dict[str, Any]) -> str:
    """SHA-256, in hexadecimal, of settings from :meth:`AlignTools.identity`."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def tools_of(settings: AlignSettings, raw: str) -> AlignTools:
    """The calling thread's tools for the settings, cached for its next call."""
    key = settings, raw, _OPENED_ANEW[0]
    if getattr(_TOOLS, "key", None) != key:
        _TOOLS.value, _TOOLS.key = AlignTools(settings, raw), key
    return _TOOLS.value


def forget_tools() -> None:
    """Drop cached tools: a worker of a cluster may have opened files in an earlier run that were replaced since."""
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
