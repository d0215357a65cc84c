"""Images that decode with a complaint of the decoder: each is counted once, and named in one line."""

from __future__ import annotations

import threading
from typing import Callable, Dict, List, Tuple

NAMED = 5  # in a line


class Damage:
    """Damaged images by their position in a source. Several threads may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words: Dict[int, str] = {}

    def add(self, position: int, words: str) -> bool:
        """Note an image and the decoder's words; whether it is new."""
        with self._lock:
            new = position not in self._words
            self._words.setdefault(position, words)
        return new

    def __len__(self) -> int:
        return len(self._words)

    def items(self) -> List[Tuple[int, str]]:
        """Positions and words, in the order of the source."""
        with self._lock:
            return sorted(self._words.items())

    def line(self, source: str, total: int, name: Callable[[int], str]) -> str:
        """``lfw.bin: 2 of 12000 images damaged, used as they decode: image 3 (Corrupt JPEG data: …), …``."""
        found = self.items()
        named = ", ".join(f"{name(position)} ({words})" for position, words in found[:NAMED])
        more = f", and {len(found) - NAMED} others" if len(found) > NAMED else ""
        return f"{source}: {len(found)} of {total} images damaged, used as they decode: {named}{more}"
