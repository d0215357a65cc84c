"""Collect images that decode with a warning, and report them in one line."""

from __future__ import annotations

import threading
from typing import Callable, Dict, List, Tuple

NAMED = 5  # images that the report names


class Damage:
    """Images of a source that decoded with a warning, by position; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._warnings: Dict[int, str] = {}

    def add(self, position: int, warning: str) -> bool:
        """Add an image and the decoder's warning, unless the image was added before; returns whether it was added."""
        with self._lock:
            new = position not in self._warnings
            self._warnings.setdefault(position, warning)
        return new

    def __len__(self) -> int:
        return len(self._warnings)

    def items(self) -> List[Tuple[int, str]]:
        """Positions and warnings, in the order of the source."""
        with self._lock:
            return sorted(self._warnings.items())

    def line(self, source: str, total: int, name: Callable[[int], str]) -> str:
        """The report: ``lfw.bin: 2 of 12000 images damaged, used as decoded: image 3 (Corrupt JPEG data: …), …``."""
        damaged = self.items()
        named = ", ".join(f"{name(position)} ({warning})" for position, warning in damaged[:NAMED])
        more = f", and {len(damaged) - NAMED} others" if len(damaged) > NAMED else ""
        return f"{source}: {len(damaged)} of {total} images damaged, used as decoded: {named}{more}"
