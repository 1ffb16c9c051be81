"""What got slower from one run to another, beyond the noise of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.contenders import OURS
from benchmarks.figures import median, spread
from benchmarks.results import Results
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.workload import Metric, Workload

LEAST_CHANGE: Final = 0.1
"""Less than a tenth is not told apart from noise by a few rounds, however close together they were."""


@dataclass(frozen=True)
class Change:
    """One figure that is not what it was.

    Attributes:
        workload: whose figure it is.
        metric: which of its figures.
        old: its median then: as a ratio to bare pyzmq if both runs have that, and otherwise as it was measured.
        new: likewise now.
        is_ratio: which of the two it is.
    """

    workload: Workload
    metric: Metric
    old: float
    new: float
    is_ratio: bool

    @property
    def is_worse(self) -> bool:
        """Whether this is the bad direction."""
        return (self.new > self.old) is (self.metric.better == "lower")

    def __str__(self) -> str:
        word = "worse" if self.is_worse else "better"
        of = " of bare" if self.is_ratio else ""
        return f"{word}: {self.workload.title}, {self.metric.title}: {self.old:.4g} → {self.new:.4g}{of}"


def changes(old: Results, new: Results) -> Iterator[Change]:
    """What changed of us, in the figures that both runs have.

    A change counts when the medians are further apart than the spreads of both runs together, and than a tenth.
    """
    for workload in WORKLOADS.values():
        for name, metric in workload.metrics.items():
            if not metric.better:
                continue
            before, after = (results.ratios(workload.name, OURS, name) for results in (old, new))
            is_ratio = bool(before and after)
            if not is_ratio:
                before, after = (results.of(workload.name, OURS, name) for results in (old, new))
            if before and after and _differ(before, after):
                yield Change(workload, metric, median(before), median(after), is_ratio)


def incomparable(old: Results, new: Results) -> list[str]:
    """Workloads that the old run measured of us, and the new one should have and has not, because it failed."""
    failed = {failure["workload"] for failure in new.failures if failure["contender"] == OURS}
    return sorted(
        name for name in failed if OURS in old.figures.get(name, {}) and OURS not in new.figures.get(name, {})
    )


def _differ(before: list[float], after: list[float]) -> bool:
    difference = abs(median(after) - median(before))
    return difference > max(LEAST_CHANGE * abs(median(before)), spread(before) + spread(after))
