"""The report and its lines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OK, WARN, FAIL = "ok", "warn", "fail"
GIB = 1 << 30


@dataclass(frozen=True)
class Check:
    """One line of the report: the check, its status (``ok``, ``warn`` or ``fail``), what was found, and the remedy."""

    section: str
    name: str
    status: str
    found: str
    remedy: str = ""


@dataclass
class DoctorReport:
    """All checks, and the devices (``cpu``, ``gpu(0)``) on which a training step has run."""

    checks: list[Check]
    trains_on: list[str]

    def as_dict(self) -> dict[str, Any]:
        return {"can_train": bool(self.trains_on), **asdict(self)}
