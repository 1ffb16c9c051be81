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
class Pair:
    """One figure of ours in two runs.

    Attributes:
        workload: whose figure it is.
        metric: which of its figures.
        before: of each round then: ratios to bare pyzmq if both runs have them, and otherwise as it was measured.
        after: likewise now.
        is_ratio: which of the two it is.
    """

    workload: Workload
    metric: Metric
    before: list[float]
    after: list[float]
    is_ratio: bool

    @property
    def is_change(self) -> bool:
        """Whether the medians are further apart than the spreads of both runs together, and than a tenth."""
        difference = abs(median(self.after) - median(self.before))
        noise = spread(self.before) + spread(self.after)
        return difference > max(LEAST_CHANGE * abs(median(self.before)), noise)

    @property
    def is_worse(self) -> bool:
        """Whether it went in the bad direction, noise or not."""
        return (median(self.after) > median(self.before)) is (self.metric.better == "lower")

    def __str__(self) -> str:
        word = "worse" if self.is_worse else "better"
        of = " of bare" if self.is_ratio else ""
        change = f"{median(self.before):.4g} → {median(self.after):.4g}{of}"
        return f"{word}: {self.workload.title}, {self.metric.title}: {change}"


def pairs(old: Results, new: Results) -> Iterator[Pair]:
    """All figures of ours that both runs have, and of which we know what is good."""
    for workload in WORKLOADS.values():
        for name, metric in workload.metrics.items():
            if not metric.better:
                continue
            before, after = (results.ratios(workload.name, OURS, name) for results in (old, new))
            is_ratio = bool(before and after)
            if not is_ratio:
                before, after = (results.of(workload.name, OURS, name) for results in (old, new))
            if before and after:
                yield Pair(workload, metric, before, after, is_ratio)


def failed_now(old: Results, new: Results) -> list[str]:
    """Workloads that the old run measured of us, and the new one should have and has not, because it failed."""
    failed = {failure["workload"] for failure in new.failures if failure["contender"] == OURS}
    return sorted(
        name for name in failed if OURS in old.figures.get(name, {}) and OURS not in new.figures.get(name, {})
    )
