"""Where somebody else is ahead of us, beyond the noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.contenders import BARE, OURS
from benchmarks.figures import median
from benchmarks.results import Results
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.workload import Metric, Workload


@dataclass(frozen=True)
class Behind:
    """One figure in which peers are ahead: all of their figures are better than all of ours.

    Attributes:
        workload: whose figure it is.
        metric_name: in `remarks.toml`, behind the workload's name and a dot.
        metric: which figure.
        ours: our median.
        ahead: the medians of those who are ahead, by title, the best first.
    """

    workload: Workload
    metric_name: str
    metric: Metric
    ours: float
    ahead: dict[str, float]

    @property
    def name(self) -> str:
        """Its key in `remarks.toml`."""
        return f"{self.workload.name}.{self.metric_name}"


def behind(results: Results) -> Iterator[Behind]:
    """All of them, in the order of the workloads. Bare pyzmq is no peer: the goals say how near to it we want to be."""
    for workload in WORKLOADS.values():
        for name, metric in workload.metrics.items():
            ours = results.of(workload.name, OURS, name)
            if not ours or not metric.better:
                continue
            ahead = {
                contender["title"]: median(figures)
                for key, contender in results.contenders.items()
                if key not in (OURS, BARE)
                and (figures := results.of(workload.name, key, name))
                and _better(figures, ours, metric)
            }
            if ahead:
                order = sorted(ahead.items(), key=lambda item: item[1], reverse=metric.better == "higher")
                yield Behind(workload, name, metric, median(ours), dict(order))


def _better(theirs: list[float], ours: list[float], metric: Metric) -> bool:
    return max(theirs) < min(ours) if metric.better == "lower" else min(theirs) > max(ours)
