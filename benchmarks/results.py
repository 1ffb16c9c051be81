"""What a run gives: every figure of every round, and where and when it was measured. Kept as one JSON file."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.contenders import BARE
from benchmarks.figures import median

SCHEMA: Final = 1
LIBRARIES: Final = ("pyzmq", "msgpack", "numpy")


@dataclass
class Results:
    """One run.

    Attributes:
        date: when it began, UTC.
        machine: what it ran on.
        load_averages: before each round, and after the last; none where the system does not tell.
        contenders: by name, their title, version and what they can do.
        left_out: those that could not take part, and why.
        rounds: how many times everything was done.
        share: of the usual duration of each workload.
        figures: by workload, contender and metric, one figure of each round that did not fail.
        failures: what did not work: workload, contender, round and error.
    """

    rounds: int
    share: float
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    machine: dict[str, Any] = field(default_factory=lambda: this_machine())
    contenders: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    figures: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    load_averages: list[float] = field(default_factory=list)
    schema: int = SCHEMA

    def add(self, workload: str, contender: str, report: dict[str, float]) -> None:
        """Take in what one measurement gave."""
        figures = self.figures.setdefault(workload, {}).setdefault(contender, {})
        for metric, figure in report.items():
            figures.setdefault(metric, []).append(figure)

    def note_load(self) -> None:
        """Take down how much the machine has to do, by us and by others."""
        if hasattr(os, "getloadavg"):
            self.load_averages.append(round(os.getloadavg()[0], 2))

    def of(self, workload: str, contender: str, metric: str) -> list[float]:
        """One figure of each round; empty where there is none."""
        return self.figures.get(workload, {}).get(contender, {}).get(metric, [])

    def ratios(self, workload: str, contender: str, metric: str, to: str = BARE) -> list[float]:
        """Each figure of one contender, divided by that of another one in the same round."""
        here, there = self.of(workload, contender, metric), self.of(workload, to, metric)
        if not here or not there or 0 in there:
            return []
        if len(here) != len(there):  # One of them failed in one round.
            there = [median(there)] * len(here)
        return [figure / other for figure, other in zip(here, there, strict=True)]

    def save(self, path: Path) -> None:
        """Write it down."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ValueError: it is something else.
        """
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if text.startswith("{") else None
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise ValueError(f"{path} holds no results of this version of the benchmarks")
        return cls(**data)


def this_machine() -> dict[str, Any]:
    """What a run ran on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
